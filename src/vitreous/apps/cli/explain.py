"""`vitreous explain`: one heatmap for each photograph, by one method.

The counterpart of `vitreous.explain_each` for files. Each photograph is written and printed before the next
batch is computed, so an interrupted run has whole results for those it reached. `compare` and `demo` use
the functions below as well.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vitreous.apps.cli import _options as options
from vitreous.apps.cli._running import (
    SOME_FAILED,
    ModelOptions,
    chosen_fit,
    chosen_parameters,
    chosen_target,
    find_photos,
    print_json,
    progress,
    result_names,
    tell,
    told_errors,
)
from vitreous.core.defaults import DEFAULT_METHOD

if TYPE_CHECKING:
    import vitreous as vt

DEFAULT_MODEL = "timm:deit_tiny_patch16_224"


def run(
    photos: options.Photos,
    model: options.Model = DEFAULT_MODEL,
    weights: options.Weights = None,
    method: str = typer.Option(DEFAULT_METHOD, "--method", "-m", help="Explanation method; see `vitreous list`."),
    settings: options.Parameters = None,
    target: options.Target = None,
    against: options.Against = None,
    out: options.Out = Path("vitreous-out"),
    fit: options.Fit = "crop",
    num_classes: options.Classes = None,
    image_size: options.ImageSize = None,
    labels: options.Labels = None,
    device: options.Device = None,
    batch_size: options.BatchSize = None,
    seed: options.Seed = 0,
    as_json: options.Json = False,
    overwrite: options.Overwrite = False,
    debug: options.Debug = False,
) -> None:
    """Explain what a Vision Transformer predicts for each photograph.

    Prints the top predictions and the regions found, and writes for each photograph an overlay (.png), the
    raw map with its provenance (.vitreous) and the same facts as text (.json). A photograph that fails is
    reported, and the others go on.

    Results are called NAME.METHOD.png and so on, and existing ones are kept unless --overwrite is given.
    Photographs of the same name in different folders get a number.

    For example, all photographs of a folder, and one method with a parameter of its own:

    vitreous explain photos/ --out maps

    vitreous explain cat.jpg --method rollout --set discard=0.9
    """
    with told_errors(debug):
        import vitreous as vt  # noqa: PLC0415  (torch is loaded only when there is something to do)

        files = find_photos(photos)
        parameters = chosen_parameters(settings)
        wanted, how = chosen_target(target, against), chosen_fit(fit)  # checked before a model is opened for nothing
        vit = ModelOptions(model, weights, num_classes, image_size, labels, device).open()
        results = vt.explain_each(
            vit,
            files,
            {method: parameters},
            wanted,
            how,
            batch_size=batch_size,
            seed=seed,
        )
        failures = []
        with progress(len(files)) as advance:
            for file, name, result in zip(files, result_names(files), results, strict=True):
                problem = result if isinstance(result, vt.VitreousError) else None
                if not isinstance(result, vt.VitreousError):
                    problem = deliver_explanation(result[method], file, out / f"{name}.{method}", overwrite, as_json)
                if problem is not None:
                    failures.append((file, problem))
                    report_failure(file, problem, as_json)
                advance()
        finish(failures, len(files))


def deliver_explanation(
    heatmap: "vt.Heatmap", file: Path, stem: Path, overwrite: bool, as_json: bool
) -> "vt.VitreousError | None":
    """Write and print the result of one photograph; give the error if that fails, so that the others go on.

    heatmap    the map of that photograph
    file       the photograph as it was named, for messages
    stem       path of the results without their endings
    overwrite  whether existing results are replaced
    as_json    print one object on one line, instead of text

    Gives None if all went well. Only errors of this package are given back: others are defects, and end the
    program.
    """
    from vitreous.apps.cli._records import finding_lines, prediction_lines, record_of  # noqa: PLC0415
    from vitreous.core.errors import VitreousError  # noqa: PLC0415

    try:
        written = write_results(heatmap, stem, overwrite)
    except VitreousError as problem:
        return problem
    if as_json:
        print_json({**record_of(heatmap), "file": str(file), "written": [str(path) for path in written]})
        return None
    for line in (str(file), *prediction_lines(heatmap), *finding_lines(heatmap)):
        typer.echo(line)
    typer.echo(f"  written     {written[0]} and {', '.join(path.suffix for path in written[1:])}")
    return None


def write_results(heatmap: "vt.Heatmap", stem: Path, overwrite: bool) -> list[Path]:
    """Write overlay, raw map and record of one heatmap beside each other; none of them if one exists.

    Gives their paths: STEM.png, with boxes whose numbers are those of the printed regions, STEM.vitreous
    for `Heatmap.load`, and STEM.json with what `record_of` gives.

    Raises OutputExistsError unless `overwrite` is given, and OutputError if a file cannot be written; the
    files before it then exist. The overlay needs the photograph again: InputError if its pixels changed
    meanwhile.
    """
    from vitreous.apps.cli._records import record_of  # noqa: PLC0415
    from vitreous.core.errors import OutputExistsError  # noqa: PLC0415
    from vitreous.core.heatmap_file import write_whole  # noqa: PLC0415
    from vitreous.show.save import save_png  # noqa: PLC0415

    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in ("png", "vitreous", "json")]
    for path in paths:
        if path.exists() and not overwrite:
            raise OutputExistsError(f"{path} exists already.", "Give another --out, or --overwrite.")
    save_png(heatmap.overlay(boxes=True), paths[0], overwrite)
    heatmap.save(paths[1], overwrite)
    text = json.dumps(record_of(heatmap), ensure_ascii=False, indent=1, allow_nan=False)
    write_whole(paths[2], text.encode(), overwrite)
    return paths


def report_failure(file: Path, problem: "vt.VitreousError", as_json: bool) -> None:
    """Report one photograph that failed: on standard error always, and with --json as an object in its place.

    The object has "file" and "error" with code, cause and fix, so that a program finds one line for each
    photograph.
    """
    if as_json:
        print_json({"file": str(file), "error": {"code": problem.code, "cause": problem.cause, "fix": problem.fix}})
    tell(f"{file}: {problem}")


def finish(failures: "list[tuple[Path, vt.VitreousError]]", total: int) -> None:
    """Say at the end what failed, and stop with the status that says so.

    Status 1, even if every photograph failed: the model was opened, and each failure has been told with its
    reason.
    """
    if not failures:
        return
    tell(f"{len(failures)} of {total} photographs failed: {', '.join(str(file) for file, _ in failures)}")
    raise typer.Exit(SOME_FAILED)
