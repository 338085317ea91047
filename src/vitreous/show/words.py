"""Words and numbers for people: safe text, percentages, values."""

_LONGEST_NAME = 200


def safe_text(text: str, most: int = _LONGEST_NAME) -> str:
    """Make any string printable on one line: control characters become spaces, long text is cut.

    Names of files and classes come from anywhere; a line break or a right-to-left mark in one must not
    disturb a legend.
    """
    printable = "".join(character if character.isprintable() else " " for character in text[: 4 * most])
    line = " ".join(printable.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def percent(share: float, digits: int = 0) -> str:
    """Write a share as a percentage; a small one that is not zero does not become zero."""
    least = 10.0 ** (-2 - digits)
    if 0 < share < least:
        return f"less than {least:.{digits}%}".replace("%", " %")
    return f"{share:.{digits}%}".replace("%", " %")


def format_value(value: float) -> str:
    """Write a number with three significant digits and a true minus sign."""
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")
