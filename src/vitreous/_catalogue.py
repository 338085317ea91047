"""The catalogue of methods, generated from the registry: for the command line, the README and the docs."""

from typing import Any

from vitreous.methods._method import METHODS


def method_facts(pattern: str = "*") -> list[dict[str, Any]]:
    """Give the facts of each method whose name matches a shell pattern, in words."""
    found = []
    for name in METHODS.names(pattern):
        method = METHODS[name]
        found.append(
            {
                "name": name,
                "shows": method.title,
                "unit": method.unit,
                "class": "depends on the class" if method.class_specific else "the same for every class",
                "sign": _sign(method.signed),
                "level": method.level,
                "cost": method.cost,
                "paper": method.paper,
                "parameters": method.defaults,
            }
        )
    return found


def methods_table() -> str:
    """Lay the catalogue out as a Markdown table."""
    lines = [
        "| method | what it shows | unit | class | sign | cost | paper |",
        "|---|---|---|---|---|---|---|",
    ]
    for facts in method_facts():
        paper = facts["paper"]
        link = f"[{paper}](https://arxiv.org/abs/{paper.removeprefix('arXiv:')})" if paper else "none"
        lines.append(
            f"| `{facts['name']}` | {facts['shows']} | {facts['unit']} | {facts['class']} | {facts['sign']} "
            f"| {facts['cost']} | {link} |"
        )
    return "\n".join(lines)


def _sign(signed: Any) -> str:
    if callable(signed):
        return "signed on request"
    return "signed" if signed else "never negative"
