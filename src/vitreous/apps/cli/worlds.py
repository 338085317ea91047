"""`vitreous worlds`: making data with known truth, and sharing data."""

import os
from typing import Annotated

import typer

from vitreous.apps.cli import _options as options
from vitreous.apps.cli._running import progress, told_errors

app = typer.Typer(help="Make data with known truth.", no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Make data with known truth."""


@app.command("render")
def run(
    out: options.Out,
    count: Annotated[int, typer.Option("--count", min=1, help="How many scenes.")] = 100,
    variant: Annotated[
        str, typer.Option("--variant", help="plain, or a planted shortcut: tag, floor, colour, companion.")
    ] = "plain",
    correlation: Annotated[
        float, typer.Option("--correlation", min=0, max=1, help="How often a shortcut agrees with the class.")
    ] = 0.95,
    seed: Annotated[int, typer.Option("--seed", help="Which world: another seed, other scenes.")] = 0,
    side: Annotated[int, typer.Option("--side", min=32, max=1024, help="Pixels of a picture's side.")] = 96,
    finer: Annotated[
        int, typer.Option("--finer", min=1, max=8, help="How much finer than the picture things are told apart.")
    ] = 4,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Processes; the pictures do not depend on it.")
    ] = min(os.cpu_count() or 1, 4),
    debug: options.Debug = False,
) -> None:
    """Render scenes: pictures, which object is where, every factor, and a card.

    Interrupted, it goes on where it stopped when run again; with a larger --count it adds scenes. The same
    options give the same pictures. Needs pip install 'vitreous[scenes]'.
    """
    with told_errors(debug):
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn  # noqa: PLC0415

        from vitreous.worlds.rendered.write import World, write_world  # noqa: PLC0415

        world = World(seed, variant, correlation, side, finer)
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("scenes", total=count)
            write_world(world, count, out, workers, lambda added: bar.advance(task, added))
        typer.echo(str(out))


@app.command("export")
def export(
    data: Annotated[str, typer.Argument(help="As in `vitreous evaluate`: scenes, or LOADER:PATH.")],
    licence: Annotated[
        str, typer.Option("--licence", help="Under which others may use it: cc0-1.0, cc-by-4.0, other.")
    ],
    out: options.Out,
    title: Annotated[str, typer.Option("--title", help="Of the data card.")] = "",
    sources: Annotated[
        list[str] | None, typer.Option("--source", help="Where photographs and annotations come from. Repeatable.")
    ] = None,
    caveats: Annotated[
        list[str] | None, typer.Option("--caveat", help="What the data are not good for. Repeatable.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first samples.")] = None,
    debug: options.Debug = False,
) -> None:
    """Write a data set with masks, boxes and human maps for others: Parquet, PNG and a data card.

    Hugging Face's `datasets` loads the folder, and so does `vt.worlds.shared`. Photographs are copied: whether those of
    somebody else may be passed on is for you to know. Needs pip install 'vitreous[data]'.
    """
    with told_errors(debug):
        from vitreous.bench.data import open_data  # noqa: PLC0415
        from vitreous.worlds import export as write  # noqa: PLC0415

        samples = open_data(data)[:limit]
        with progress(len(samples), "Exporting") as advance:
            typer.echo(str(write(samples, out, licence, title, sources or (), caveats or (), advance)))
