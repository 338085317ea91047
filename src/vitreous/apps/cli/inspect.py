"""`vitreous inspect`: what heads, blocks, tokens and objects do while the model predicts a photograph.

The counterpart of `vitreous.inspect_each` for files. Each photograph is written before the next is computed.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitreous.apps.cli import _options as options
from vitreous.apps.cli._running import (
    ModelOptions,
    chosen_fit,
    chosen_target,
    find_photos,
    print_json,
    progress,
    result_names,
    told_errors,
)
from vitreous.apps.cli.explain import DEFAULT_MODEL, finish, report_failure

if TYPE_CHECKING:
    import vitreous as vt

Object = Annotated[
    list[str] | None,
    typer.Option(
        "--object",
        metavar="NAME=BOX|MASK",
        help="An object of the photograph: left,top,right,bottom in its pixels, or a mask file. Repeatable.",
    ),
]


def run(
    photos: options.Photos,
    model: options.Model = DEFAULT_MODEL,
    weights: options.Weights = None,
    target: options.Target = None,
    against: options.Against = None,
    objects: Object = None,
    priors: Annotated[
        Path | None, typer.Option("--priors", help="YAML or JSON file of what is expected to matter, by class.")
    ] = None,
    ablation: Annotated[bool, typer.Option(help="Silence every head in turn; takes most of the time.")] = True,
    draws: Annotated[
        int, typer.Option(min=0, help="Places at which the same shape is removed for comparison; 0 for no removals.")
    ] = 49,
    by_rows: Annotated[
        bool | None,
        typer.Option("--by-rows/--whole", help="Read attention by rows; by free memory if left out."),
    ] = None,
    out: options.Out = Path("vitreous-out"),
    fit: options.Fit = "crop",
    num_classes: options.Classes = None,
    image_size: options.ImageSize = None,
    labels: options.Labels = None,
    device: options.Device = None,
    seed: options.Seed = 0,
    as_json: options.Json = False,
    overwrite: options.Overwrite = False,
    debug: options.Debug = False,
) -> None:
    """Look inside a model while it predicts each photograph: heads, blocks, tokens and objects.

    Writes for each photograph a page (NAME.inspect.html) and its numbers, all but the attention itself
    (NAME.inspect.json), and prints what stands out. A photograph that fails is reported, and the others go on. Without
    --object, the regions of the default method's map are what attention is measured between.

    For example, with two objects, and all of a folder held against what is expected:

    vitreous inspect kitchen.jpg --object cup=120,80,180,160 --object table=table.png

    vitreous inspect xrays/ --priors chest.yaml
    """
    with told_errors(debug):
        import vitreous as vt  # noqa: PLC0415  (torch is loaded only when there is something to do)
        from vitreous.analysis import read_priors  # noqa: PLC0415
        from vitreous.core.errors import InputError  # noqa: PLC0415

        files = find_photos(photos)
        named = chosen_objects(objects)
        if named is not None and len(files) > 1:
            raise InputError(
                f"--object is about one photograph, and there are {len(files)}.", "Inspect them one by one."
            )
        expected = None if priors is None else read_priors(priors)
        wanted, how = chosen_target(target, against), chosen_fit(fit)  # checked before a model is opened for nothing
        vit = ModelOptions(model, weights, num_classes, image_size, labels, device).open()
        results = vt.inspect_each(
            vit, files, wanted, how,
            objects=named, ablation=ablation, draws=draws, priors=expected, by_rows=by_rows, seed=seed,
        )  # fmt: skip
        failures, findings = [], []
        with progress(len(files), "Inspecting") as advance:
            for file, name, result in zip(files, result_names(files), results, strict=True):
                problem = result if isinstance(result, vt.VitreousError) else None
                if not isinstance(result, vt.VitreousError):
                    problem = deliver(result, file, out / f"{name}.inspect", overwrite, as_json)
                    findings.append(result.findings)
                if problem is not None:
                    failures.append((file, problem))
                    report_failure(file, problem, as_json)
                advance()
        if expected is not None and len(findings) > 1:
            tell_violations(findings, as_json)
        finish(failures, len(files))


def chosen_objects(texts: list[str] | None) -> dict[str, Any] | None:
    """Read --object options; None without any. Raises InputError for one that is neither a box nor a file."""
    from vitreous.core.errors import InputError  # noqa: PLC0415

    if texts is None:
        return None
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise InputError(f"--object {text!r} names no object.", "Write NAME=left,top,right,bottom or NAME=FILE.")
        if name in found:
            raise InputError(f"--object {name!r} is given twice.", "Give each object a name of its own.")
        parts = value.split(",")
        try:
            found[name] = tuple(float(part) for part in parts) if len(parts) == 4 else Path(value)
        except ValueError:
            found[name] = Path(value)
        if isinstance(found[name], Path) and not found[name].is_file():
            raise InputError(
                f"--object {text!r}: there is no file {value!r}, and it is no box.",
                "Write NAME=left,top,right,bottom in pixels of the photograph, or NAME=FILE.",
            )
    return found


def deliver(
    inside: "vt.Inspection", file: Path, stem: Path, overwrite: bool, as_json: bool
) -> "vt.VitreousError | None":
    """Write and print the result of one photograph; give the error if that fails, so that the others go on."""
    from vitreous.core.errors import VitreousError  # noqa: PLC0415
    from vitreous.show.inspect.of_inspection import facts_of  # noqa: PLC0415

    try:
        written = inside.save(stem, overwrite)
    except VitreousError as problem:
        return problem
    if as_json:
        print_json({"file": str(file), "written": [str(path) for path in written], **inside.record()})
        return None
    typer.echo(f"{file}\n  target      {inside.provenance.target}, score {inside.provenance.score:.3f}")
    for name, text in facts_of(inside).items():
        typer.echo(f"  {name}: {text}")
    for text in inside.left_out:
        typer.echo(f"  left out: {text}")
    typer.echo(f"  written     {written[0]} and {written[1].suffix}")
    return None


def tell_violations(findings: list[Any], as_json: bool) -> None:
    """Print how often each expectation was violated over all photographs."""
    from dataclasses import asdict  # noqa: PLC0415

    from vitreous.analysis import judge_many  # noqa: PLC0415

    for each in judge_many(findings):
        if as_json:
            typer.echo(json.dumps({"expectation": asdict(each)}))
            continue
        rate = f"{each.rate:.0%} (95 % interval {each.low:.0%} to {each.high:.0%})" if each.images else "unknown"
        typer.echo(
            f"{each.prior} [{each.class_name}]: violated in {each.violated} of {each.images} photographs, {rate}; "
            f"mean share {each.share:.0%}, of even maps {each.area:.0%}; unknown in {each.unknown}"
        )
