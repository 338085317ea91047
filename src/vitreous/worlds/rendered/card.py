"""The card of a rendered data set: what it is, how it was made, what it is good for."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vitreous._version import __version__

if TYPE_CHECKING:
    from vitreous.worlds.rendered.write import World


def card_of(world: "World", rows: Sequence[dict[str, Any]]) -> str:
    """Write the card, in Markdown, from what was asked for and the factors of all scenes."""
    classes = Counter(row["label"] for row in rows)
    visible = sorted(row["target_visible"] for row in rows)
    correlation = "" if world.variant == "plain" else f" --correlation {world.correlation}"
    shortcut = (
        "No factor depends on the class."
        if world.variant == "plain"
        else f"A shortcut is planted: {world.variant!r} agrees with the class in {100 * world.correlation:g}% of "
        "scenes, and is that of a random class in the others."
    )
    command = (
        f"vitreous worlds render --count {len(rows)} --variant {world.variant}{correlation} --seed {world.seed} "
        f"--side {world.side} --finer {world.finer} --out DIR"
    )
    return f"""# Rendered scenes, variant {world.variant!r}

{len(rows)} scenes of {world.side} x {world.side} pixels. Each holds one target, whose shape is the class, among 3 to 8
things that belong to no class. {shortcut}

Made by vitreous {__version__} with

    {command}

which gives the same pictures again, with any number of workers. Load it with `vt.worlds.scenes("DIR")`.

- Classes: {", ".join(f"{name} {count}" for name, count in sorted(classes.items()))}.
- Visible share of the target: median {visible[len(visible) // 2]:.2f}, least {visible[0]:.2f}.
- `numbers/` holds which thing each point of a grid {world.finer} times as fine sees: 0 background, 1 target, 2 and up
  the others in the order of `visible` and of the scene's things.
- `factors.parquet` holds every factor; its column `scene` is the whole scene as JSON, from which any counterfactual
  can be rendered.

Pictures, masks and factors may be used by anybody for anything (CC0).
"""
