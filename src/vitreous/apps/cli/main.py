"""The `vitreous` program: its commands, and what its exit status means.

Commands are registered here and nowhere else. Without completion, no --help lists options that change the
user's shell; without rich markup, brackets in help texts are printed as they are. Tracebacks are Python's
own.

To add a command, write a file with a function `run` whose parameters are annotated with the types of
`_options`, register it below the others, and describe it in docs/cli.md. It may import torch and this
package's rooms only inside functions.

The exit statuses are constants of `_running`; 2 is Typer's own for a wrong command line.
"""

import typer

from vitreous.apps.cli import benchmark, catalogue, compare, demo, doctor, evaluate, explain, inspect, worlds

HELP = """Show what a Vision Transformer looked at, and record how the picture was made.

Results go to standard output, messages to standard error.

Exit status: 0 everything worked; 1 some photographs failed, the others are done; 2 the command line is wrong;
3 nothing could be done, and the message has a code that docs/errors.md explains; 130 interrupted.
"""

app = typer.Typer(
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(demo.run)
app.command("explain")(explain.run)
app.command("compare")(compare.run)
app.command("inspect")(inspect.run)
app.command("evaluate")(evaluate.run)
app.command("benchmark")(benchmark.run)
app.command("doctor")(doctor.run)
app.command("list")(catalogue.run)
app.add_typer(worlds.app, name="worlds")


def show_version(wanted: bool | None) -> None:
    """Print the version and stop, before other options are looked at; torch is not loaded for it."""
    if wanted:
        from vitreous._version import __version__  # noqa: PLC0415

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(  # noqa: D103
    version: bool | None = typer.Option(
        None, "--version", callback=show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    # No docstring: it would take the place of HELP in `vitreous --help`.
    del version


def run() -> None:
    """Run the program; the entry point of the installed command.

    Ends by SystemExit with the status described in `HELP`.
    """
    app()


if __name__ == "__main__":
    run()
