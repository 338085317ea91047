"""`vitreous evaluate`: how far the maps of methods can be trusted, in numbers, on a data set."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from vitreous.apps.cli import _options as options
from vitreous.apps.cli._running import (
    SOME_FAILED,
    ModelOptions,
    chosen_fit,
    chosen_target,
    print_json,
    progress,
    tell,
    told_errors,
)
from vitreous.apps.cli.explain import DEFAULT_MODEL

if TYPE_CHECKING:
    from vitreous.bench._section import Table
    from vitreous.bench.evaluate import Engine

ENDINGS = {"html": "html", "markdown": "md", "latex": "tex", "csv": "csv"}


def run(
    data: Annotated[
        str, typer.Argument(help="scenes, or LOADER:PATH: folder:photos, sod:sets/sod; see docs/evaluating.md.")
    ],
    model: options.Model = DEFAULT_MODEL,
    weights: options.Weights = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method", "-m", help="'rollout' or 'gradcam(plus=True)'. Repeatable; those of one pass if left out."
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", help="'srg' or 'srg(steps=10)'. Repeatable; some quick ones if left out."),
    ] = None,
    target: options.Target = None,
    true_class: Annotated[bool, typer.Option("--true-class", help="Explain each sample's own class.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first samples.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for rows and tables; an interrupted run goes on there."),
    ] = None,
    keep_maps: Annotated[bool, typer.Option("--keep-maps", help="Keep the raw maps as well.")] = False,
    fit: options.Fit = "crop",
    num_classes: options.Classes = None,
    image_size: options.ImageSize = None,
    labels: options.Labels = None,
    device: options.Device = None,
    batch_size: options.BatchSize = None,
    seed: options.Seed = 0,
    engine: Annotated[
        str, typer.Option("--engine", help="local, processes or ray: the same rows to the bit.")
    ] = "local",
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes or actors; as many as fit if left out.")
    ] = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Measure methods by metrics on a data set, beside a random control.

    Prints for each metric a table: value, 95 % interval, n, what was left out and why, and which methods differ
    from the control. With --out the rows are kept as Parquet beside a manifest, with the table as HTML, Markdown,
    LaTeX and CSV; the same command goes on after an interruption.

    For example, two methods on twenty scenes of the package, whose truth is known exactly:

    vitreous evaluate scenes --model bundled:scenes -m attnlrp -m rollout --metric srg --limit 20
    """
    with told_errors(debug):
        import vitreous as vt  # noqa: PLC0415  (torch is loaded only when there is something to do)
        from vitreous.bench.data import open_data  # noqa: PLC0415
        from vitreous.bench.plan import TRUE_CLASS, check_asked  # noqa: PLC0415

        if true_class and target is not None:
            raise typer.BadParameter("give --target or --true-class, not both", param_hint="--true-class")
        check_asked(methods or None, metrics or None)
        asked, how = TRUE_CLASS if true_class else chosen_target(target, None), chosen_fit(fit)
        samples = open_data(data)[:limit]
        for note in samples.notes:
            tell(f"Note: {note}")
        vit = ModelOptions(model, weights, num_classes, image_size, labels, device).open()
        with progress(len(samples), "Evaluating") as advance:
            found = vt.evaluate(
                vit, samples, methods or None, metrics or None, asked, how,
                batch_size=batch_size, seed=seed, out=out, keep_maps=keep_maps, advance=lambda _done, _all: advance(),
                engine=chosen_engine(engine), workers=workers,
            )  # fmt: skip
        table = found.table()
        deliver_table(table, out, as_json)
        failed = sum(row.status == "failed" for row in found.rows)
        if failed:
            tell(f"{failed} of {len(found.rows)} rows failed; their reasons are below the tables.")
            raise typer.Exit(SOME_FAILED)


def chosen_engine(name: str) -> "Engine":
    """Give the engine of that name, or end with the usage."""
    from vitreous.bench.evaluate import Engine  # noqa: PLC0415  (loads torch)

    for known in get_args(Engine):
        if name == known:
            engine: Engine = known
            return engine
    raise typer.BadParameter(f"use one of {', '.join(get_args(Engine))}", param_hint="--engine")


def deliver_table(table: "Table", out: Path | None, as_json: bool) -> None:
    """Print the table, and write it beside the rows in every form."""
    from vitreous.bench.table import FORMATS  # noqa: PLC0415
    from vitreous.core.heatmap_file import write_whole  # noqa: PLC0415

    if out is not None:
        for name, ending in ENDINGS.items():
            write_whole(out / f"table.{ending}", FORMATS[name](table).encode(), overwrite=True)
        tell(f"Written to {out}: table.{', .'.join(ENDINGS.values())}")
    if as_json:
        print_json(json.loads(FORMATS["json"](table)))
    else:
        typer.echo(FORMATS["text"](table))
