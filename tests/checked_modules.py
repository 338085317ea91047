"""Writes the modules whose shapes and types are checked at run time in tests: all but those that stand in the hot path.

    pytest --jaxtyping-packages="$(python tests/checked_modules.py)"

A check costs as much as the small function that it checks. The modules below run, or define functions anew, for every
operator of every pass and handle no tensors of a known shape; checking them takes half the time of all tests, and what
they hand on is checked where it arrives. mypy checks them all the same.
"""

import sys
from pathlib import Path

UNCHECKED = {
    "vitreous.vit.tap",
    "vitreous.vit.handwritten",
    "vitreous.vit.body",
    "vitreous.vit.scout",
    "vitreous.vit.watch",
    "vitreous.vit.rules.names",
}
SOURCE = Path(__file__).parents[1] / "src"


def checked() -> list[str]:
    """Name the modules; a package stands for itself, and so does not bring its modules in."""
    files = sorted((SOURCE / "vitreous").rglob("*.py"))
    names = {".".join(file.relative_to(SOURCE).with_suffix("").parts) for file in files if file.stem != "__init__"}
    missing = UNCHECKED - names
    if missing:
        raise SystemExit(f"There are no modules {', '.join(sorted(missing))}: correct {__file__}.")
    return sorted(names - UNCHECKED)


if __name__ == "__main__":
    sys.stdout.write(",".join([*checked(), "beartype.beartype"]))
