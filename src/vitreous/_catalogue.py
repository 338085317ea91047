"""The catalogue of methods, generated from the registry: for the command line, the README and the docs.

What a method declares with `@method` is put into words here, once, so that `vitreous list`, the table of
the README and docs/methods.md cannot say different things. A new method appears in all of them without a
change to this file.
"""

from typing import Any, get_args

from vitreous.methods._method import METHODS, Family


def method_facts(pattern: str = "*") -> list[dict[str, Any]]:
    """Give the facts of each method whose name matches a shell pattern, in words.

    Sorted by name; an empty list if nothing matches. Every value can be written as JSON. The keys of each
    dict:

    name, shows  what to type, and the first sentence of the method's file
    family       what the method is made of: attention, gradients, relevance propagation …
    unit         what one unit of relevance means
    class, sign  whether the map depends on the target, and whether it can be negative
    level        "patch" for one value per patch, "pixel" for one per pixel of the model input
    cost         passes of the model for a batch: "1F1B" is one forward and one backward
    paper        "arXiv:…", or None for a method without a paper
    parameters   its parameters with their default values

    >>> [facts["name"] for facts in method_facts("*gradcam")]
    ['attention_gradcam', 'gradcam']
    """
    found = []
    for name in METHODS.names(pattern):
        method = METHODS[name]
        found.append(
            {
                "name": name,
                "shows": method.title,
                "family": method.family,
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


def methods_table(page: str = "") -> str:
    """Lay the catalogue out as a Markdown table, family by family, with links to arXiv and to each method's own words.

    page  where those words are; empty for the page of the table itself

    `docs/build.py` writes it into README.md and docs/methods.md, and refuses a build in which they differ
    from it.
    """
    lines = [
        "| method | what it shows | family | unit | class | sign | cost | paper |",
        "|---|---|---|---|---|---|---|---|",
    ]
    order = get_args(Family)
    for facts in sorted(method_facts(), key=lambda facts: order.index(facts["family"])):
        paper = facts["paper"]
        link = f"[{paper}](https://arxiv.org/abs/{paper.removeprefix('arXiv:')})" if paper else "none"
        name = f"[`{facts['name']}`]({page}#{facts['name']})"
        cells = [name, *(facts[key] for key in ("shows", "family", "unit", "class", "sign", "cost")), link]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _sign(signed: Any) -> str:
    """Say whether a map can be negative; a function means that a parameter of the method decides it."""
    if callable(signed):
        return "signed on request"
    return "signed" if signed else "never negative"
