"""The `vitreous` program: its commands, and what its exit status means."""

import typer

from vitreous.apps.cli import catalogue, compare, demo, doctor, explain

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
app.command("doctor")(doctor.run)
app.command("list")(catalogue.run)


def show_version(wanted: bool | None) -> None:
    """Print the version and stop."""
    if wanted:
        from vitreous._version import __version__  # noqa: PLC0415

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(  # noqa: D103
    version: bool | None = typer.Option(None, "--version", callback=show_version, is_eager=True, help="Print the version."),
) -> None:
    # No docstring: it would take the place of HELP in `vitreous --help`.
    del version


def run() -> None:
    """Run the program; the entry point of the installed command."""
    app()


if __name__ == "__main__":
    run()
