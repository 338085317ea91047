"""`vitreous list`: the catalogue of methods, from the registry.

Says the same as docs/methods.md, from the same source (`vitreous._catalogue`), for the version that is
installed.
"""

import typer

from vitreous.apps.cli import _options as options
from vitreous.apps.cli._running import print_json, tell, told_errors


def run(
    pattern: str = typer.Argument("*", help="Only names that match, for instance '*cam*'."),
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """List the explanation methods with what is known about each.

    For each method: what it shows, the unit of its values, whether they depend on the class and can be
    negative, how many passes of the model it costs, its paper, and its parameters with their defaults.

    A pattern that matches nothing is told on standard error; it is no failure.
    """
    with told_errors(debug):
        from vitreous._catalogue import method_facts  # noqa: PLC0415

        found = method_facts(pattern)
        if not found:
            tell(f"No method matches {pattern!r}.")
        for facts in found:
            if as_json:
                print_json(facts)
            else:
                typer.echo(f"{facts['name']:20} {facts['shows']}")
                typer.echo(f"{'':20} unit: {facts['unit']}; {facts['class']}; {facts['sign']}; cost {facts['cost']}")
                parameters = ", ".join(f"{name}={value!r}" for name, value in facts["parameters"].items())
                typer.echo(f"{'':20} paper: {facts['paper'] or 'none'}; parameters: {parameters or 'none'}")
