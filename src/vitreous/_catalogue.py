"""The catalogue of methods, generated from the registry: for the command line, the README and the docs.

What a method declares with `@method` is put into words here, once, so that `vitreous list`, the table of
the README and docs/methods.md cannot say different things. A new method appears in all of them without a
change to this file.
"""

from typing import Any, get_args

from vitreous.methods._method import METHODS, Family
from vitreous.metrics._metric import METRICS, Category


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
        name = f"[`{facts['name']}`]({page}#{facts['name']})"
        cells = [
            name,
            *(facts[key] for key in ("shows", "family", "unit", "class", "sign", "cost")),
            _link(facts["paper"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def metric_facts(pattern: str = "*") -> list[dict[str, Any]]:
    """Give the facts of each metric whose name matches a shell pattern, in words, sorted by name.

    Every value can be written as JSON. The keys of each dict:

    name, measures  what to type, and the first sentence of the metric's file
    category        what it asks: causal, localisation, human relevance …
    better          "higher", "lower" or "neither"
    unit, cost      what a value of 1 means, and the passes that it takes beside the map
    needs           what has to be known about an image; images without it are left out and counted
    over            "images" for a mean over images, or "pooled over the data set"
    paper           "arXiv:…", or None
    parameters      its parameters with their default values
    """
    return [
        {
            "name": name,
            "measures": METRICS[name].title,
            "category": METRICS[name].category,
            "better": METRICS[name].better,
            "unit": METRICS[name].unit,
            "cost": METRICS[name].cost,
            "needs": list(METRICS[name].needs),
            "over": "images" if METRICS[name].pool is None else "pooled over the data set",
            "paper": METRICS[name].paper,
            "parameters": METRICS[name].defaults,
        }
        for name in METRICS.names(pattern)
    ]


def metrics_table() -> str:
    """Lay the metrics out as a Markdown table, category by category, with links to arXiv and to their own words."""
    lines = [
        "| metric | what it measures | category | better | unit | needs | cost | paper |",
        "|---|---|---|---|---|---|---|---|",
    ]
    order = get_args(Category)
    for facts in sorted(metric_facts(), key=lambda facts: order.index(facts["category"])):
        cells = [f"[`{facts['name']}`](#{facts['name']})", facts["measures"], facts["category"], facts["better"]]
        cells += [facts["unit"], ", ".join(facts["needs"]) or "nothing", facts["cost"], _link(facts["paper"])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _link(paper: str | None) -> str:
    return f"[{paper}](https://arxiv.org/abs/{paper.removeprefix('arXiv:')})" if paper else "none"


def _sign(signed: Any) -> str:
    """Say whether a map can be negative; a function means that a parameter of the method decides it."""
    if callable(signed):
        return "signed on request"
    return "signed" if signed else "never negative"
