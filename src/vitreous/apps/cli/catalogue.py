"""`vitreous list`: the catalogue of methods, or of metrics, from the registry.

Says the same as docs/methods.md and docs/metrics.md, from the same source (`vitreous._catalogue`), for the
version that is installed.
"""

from typing import Annotated, Any

import typer

from vitreous.apps.cli import _options as options
from vitreous.apps.cli._running import print_json, tell, told_errors


def run(
    pattern: str = typer.Argument("*", help="Only names that match, for instance '*cam*'."),
    metrics: Annotated[bool, typer.Option("--metrics", help="List metrics instead of methods.")] = False,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """List the explanation methods, or the metrics, with what is known about each.

    For each method: what it shows, the unit of its values, whether they depend on the class and can be
    negative, how many passes of the model it costs, its paper, and its parameters with their defaults.

    A pattern that matches nothing is told on standard error; it is no failure.
    """
    with told_errors(debug):
        from vitreous._catalogue import method_facts, metric_facts  # noqa: PLC0415

        found = metric_facts(pattern) if metrics else method_facts(pattern)
        if not found:
            tell(f"No {'metric' if metrics else 'method'} matches {pattern!r}.")
        for facts in found:
            if as_json:
                print_json(facts)
            else:
                typer.echo("\n".join(metric_lines(facts) if metrics else method_lines(facts)))


def method_lines(facts: dict[str, Any]) -> list[str]:
    """Put the facts of a method into three lines."""
    return [
        f"{facts['name']:20} {facts['shows']}",
        f"{'':20} unit: {facts['unit']}; {facts['class']}; {facts['sign']}; cost {facts['cost']}",
        f"{'':20} paper: {facts['paper'] or 'none'}; parameters: {_parameters(facts)}",
    ]


def metric_lines(facts: dict[str, Any]) -> list[str]:
    """Put the facts of a metric into three lines."""
    direction = "describes, no direction" if facts["better"] == "neither" else f"{facts['better']} is better"
    needs = ", ".join(facts["needs"]) or "nothing"
    return [
        f"{facts['name']:28} {facts['measures']}",
        f"{'':28} {facts['category']}; unit: {facts['unit']}; {direction}; needs {needs}; cost {facts['cost']}",
        f"{'':28} paper: {facts['paper'] or 'none'}; parameters: {_parameters(facts)}",
    ]


def _parameters(facts: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in facts["parameters"].items()) or "none"
