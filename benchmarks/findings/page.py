"""The page: all sections under one table, from the measured numbers alone."""

from pathlib import Path

from page_blocks import alignment, focus, lens
from page_factors import changes, factors
from page_heads import agreement, roles
from page_objects import context, priors, relations
from words import Found, Section

SECTIONS = (roles, agreement, focus, lens, alignment, factors, changes, relations, context, priors)
COMMANDS = """```
vitreous worlds render --count 300 --seed 4 --finer 2 --out SCENES
python benchmarks/findings run SHARED SCENES OUT
```"""
IMAGES = {
    "What heads look at": ("findings-heads.png", "Mean distance of attention of each head of the scenes model"),
    "How the focus shifts": ("findings-focus.png", "Focus and logit lens of the scenes model by block, with intervals"),
    "Which heads carry which factor": (
        "findings-factors.png",
        "Scores of the heads of DeiT-tiny for factors of scenes",
    ),
}


def page(found: Found) -> str:
    """Write the page in Markdown. What was not measured is named, and left out."""
    sections, missing = [], []
    for build in SECTIONS:
        try:
            sections.append(build(found))
        except KeyError as problem:
            missing.append(f"{build.__name__} ({problem.args[0]})")
    parts = [head(found), table(sections)]
    if missing:
        parts.append(f"Not measured yet: {', '.join(missing)}.")
    for section in sections:
        parts.append(f"## {section.title}")
        if section.title in IMAGES:
            name, words = IMAGES[section.title]
            parts.append(f"![{words}](images/{name})")
        parts += section.text
    parts.append(tail(found))
    return "\n\n".join(parts) + "\n"


def head(found: Found) -> str:
    trial = "\n\n**A trial on few pictures: no finding.**" if any(part["quick"] for part in found.values()) else ""
    return (
        "# Findings\n\nWhat `vitreous.analysis` finds in two models: a DeiT-tiny on photographs and on rendered scenes, and the small model of the package "
        "(`bundled:scenes`, 6 blocks of 3 heads) on scenes that it was not trained on. Every sentence was written from the measured number by a "
        "template, which chooses its words by the interval. Numbers in brackets are 95 % intervals: bootstrap over pictures (percentiles) where nothing "
        "else is said. Blocks and heads are counted from 0; head 3.1 is head 1 of block 3. One model each: other models may differ.\n\n"
        "Attention says what tokens take values with, and a probe what can be read; neither says what the prediction depends on. Words of cause are used "
        f"only where something was taken away or changed.{trial}\n\nAll of it again, from the folder of the package, with SHARED the folder of the DeiT-tiny and "
        f"the photographs:\n\n{COMMANDS}"
    )


def table(sections: list[Section]) -> str:
    lines = [
        "| finding | number (95 % interval) | n | data | held against | what it does not show |",
        "|---|---|--:|---|---|---|",
    ]
    for section in sections:
        for row in section.rows:
            cells = (row.finding, row.number, row.count, row.data, row.against, row.not_shown)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def tail(found: Found) -> str:
    """Say how it was measured: versions, seed, and what each part took."""
    versions = sorted(
        {f"vitreous {part['versions']['vitreous']}, torch {part['versions']['torch']}" for part in found.values()}
    )
    seeds = sorted({str(part["seed"]) for part in found.values()})
    seconds = ", ".join(f"{name} {part['seconds']:.0f}" for name, part in found.items())
    return (
        f"## How it was measured\n\n{'; '.join(versions)}; seed {', '.join(seeds)}; one thread on a shared processor. Photographs and scenes are cropped as the model's own preprocessing does; for "
        "factors scenes are shown whole. COCO are the 128 photographs of coco128, without those that have no object of a quarter of a patch or more; "
        "pets are drawn at random, and so are SOD where n is not 150. Nothing "
        "was left out after a result was seen. The numbers of this page, and those of every head and block, are in OUT/findings.json.\n\n"
        f"Seconds: {seconds}."
    )


def write(found: Found, place: Path) -> None:
    place.write_text(page(found), encoding="utf-8")
