"""`vitreous compare`: several methods on each photograph, drawn on one scale.

The counterpart of `vitreous.compare` for a folder of photographs. Methods have the same trace and the same
target, so what differs between the panels is the method alone. Methods run with their default parameters
here; `vitreous explain --set` takes others.

For each PHOTO the folder gets NAME.compare.png and NAME.METHOD.vitreous, which `Heatmap.load` reads.
Relevance has another unit in each method; the sheet's common scale is made by `show.sheet`, the files hold
the raw values.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

Methods = Annotated[
    list[str] | None,
    typer.Option("--method", "-m", help="A method to include; repeatable. All that apply if left out."),
]


def run(
    photos: options.Photos,
    model: options.Model = DEFAULT_MODEL,
    weights: options.Weights = None,
    method: Methods = None,
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
    """Explain each photograph by several methods that share one pass of the model.

    Writes one sheet for each photograph (.compare.png) on which all maps have the same scale: multiples of
    the relevance that each patch would have if it were spread evenly. The raw maps are written beside it
    (.METHOD.vitreous). A photograph that fails is reported, and the others go on.

    For example, two methods on a folder, and why the first class rather than the second:

    vitreous compare photos/ -m rollout -m gradcam --target 281 --against 285
    """
    with told_errors(debug):
        import vitreous as vt  # noqa: PLC0415  (torch is loaded only when there is something to do)

        files = find_photos(photos)
        wanted, how = chosen_target(target, against), chosen_fit(fit)
        vit = ModelOptions(model, weights, num_classes, image_size, labels, device).open()
        results = vt.explain_each(
            vit,
            files,
            method or None,
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
                    problem = deliver_comparison(result, file, out / name, overwrite, as_json)
                if problem is not None:
                    failures.append((file, problem))
                    report_failure(file, problem, as_json)
                advance()
        finish(failures, len(files))


def deliver_comparison(
    maps: "dict[str, vt.Heatmap]", file: Path, stem: Path, overwrite: bool, as_json: bool
) -> "vt.VitreousError | None":
    """Write the sheet and the raw maps of one photograph and print what they say; give the error if that fails.

    maps       one heatmap for each method, all of the same photograph
    file       the photograph as it was named, for messages
    stem       path of the results without their endings
    overwrite  whether existing results are replaced; without it nothing is written if one of them exists
    as_json    print one object with all maps, instead of text

    Gives None if all went well. The error is given back rather than raised, so that the photographs after
    it go on.
    """
    from vitreous.apps.cli._records import finding_lines, prediction_lines, record_of  # noqa: PLC0415
    from vitreous.core.errors import OutputExistsError, VitreousError  # noqa: PLC0415
    from vitreous.show.save import save_png  # noqa: PLC0415
    from vitreous.show.sheet import draw_sheet  # noqa: PLC0415

    sheet = stem.with_name(f"{stem.name}.compare.png")
    raw = {name: stem.with_name(f"{stem.name}.{name}.vitreous") for name in maps}
    try:
        for path in (sheet, *raw.values()):
            if path.exists() and not overwrite:
                raise OutputExistsError(f"{path} exists already.", "Give another --out, or --overwrite.")
        save_png(draw_sheet(list(maps.values()), notes=_notes(maps)), sheet, overwrite)
        for name, path in raw.items():
            maps[name].save(path, overwrite)
    except VitreousError as problem:
        return problem
    if as_json:
        written = [str(path) for path in (sheet, *raw.values())]
        print_json({"file": str(file), "written": written, "maps": [record_of(heatmap) for heatmap in maps.values()]})
        return None
    lines = [str(file), *prediction_lines(next(iter(maps.values())))]
    lines += [line for heatmap in maps.values() for line in finding_lines(heatmap)]
    for line in (*lines, f"  written     {sheet}"):
        typer.echo(line)
    return None


def _notes(maps: "dict[str, vt.Heatmap]") -> dict[str, str]:
    """Tell which methods ignore the class: a reader would otherwise take their map for an answer about it."""
    from vitreous.methods._method import METHODS  # noqa: PLC0415

    return {name: "the same for every class" for name in maps if not METHODS[name].class_specific}
