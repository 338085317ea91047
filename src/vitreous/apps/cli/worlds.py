"""`vitreous worlds`: making data with known truth."""

import os
from typing import Annotated

import typer

from vitreous.apps.cli import _options as options
from vitreous.apps.cli._running import told_errors

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
