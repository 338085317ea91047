"""Words and numbers for people: safe text, percentages, values.

Numbers are rounded as far as a reader can use them; the exact ones are in the record of the picture.
"""

from vitreous.core.heatmap import Heatmap
from vitreous.methods._method import METHODS

_LONGEST_NAME = 200


def safe_text(text: str, most: int = _LONGEST_NAME) -> str:
    """Make any string printable on one line: control characters become spaces, long text is cut.

    Names of files and classes come from anywhere; a line break or a right-to-left mark in one must not
    disturb a legend. Gives at most `most` characters, the last of them an ellipsis if something was cut.

    >>> safe_text("a" + chr(10) + "b"), safe_text("abcdef", 4)
    ('a b', 'abc…')
    """
    printable = "".join(character if character.isprintable() else " " for character in text[: 4 * most])
    line = " ".join(printable.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def speaks_of_target(heatmap: Heatmap) -> bool:
    """Whether the sign of a map's values says for or against the target: not where the method looks at none.

    A method that is not registered, as that of an old file may be, is taken to look at it.
    """
    method = heatmap.provenance.method
    return method not in METHODS or METHODS[method].class_specific


def percent(share: float, digits: int = 0) -> str:
    """Write a share as a percentage; a small one that is not zero does not become zero.

    >>> percent(0.1234), percent(0.1234, 1), percent(0.0001)
    ('12 %', '12.3 %', 'less than 1 %')
    """
    least = 10.0 ** (-2 - digits)
    if 0 < share < least:
        return f"less than {least:.{digits}%}".replace("%", " %")
    return f"{share:.{digits}%}".replace("%", " %")


def format_value(value: float) -> str:
    """Write a number with three significant digits and a true minus sign.

    Very large and very small ones get a power of ten.

    >>> format_value(0.012345), format_value(123456.0)
    ('0.0123', '1.23e+05')
    """
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")
