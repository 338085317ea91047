"""Pieces of the page: safe text, tables, figures, sections. Everything that comes from outside goes through `safe`."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from matplotlib.figure import Figure

from vitreous.show.words import safe_text

DOTS = 110  # per inch, of the figures


def safe(text: str, most: int = 400) -> str:
    """Write text so that HTML shows it as it is, on one line, in text and in attributes."""
    return escape(safe_text(text, most))


def inline(png: bytes) -> str:
    """Write a picture as an address that needs no file beside the page."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def still(figure: Figure, described: str, label: str, width: int = 1000, *, lasting: bool = False) -> str:
    """Write a figure as it is for print and for readers without scripts, with a description for those who cannot see.

    described  the companion text of the figure; the first lines of it, since the whole stands below the figure
    label      name of the frame, in which a wide figure scrolls on a small screen; no two of a page alike
    width      pixels beyond which it is not shown larger
    lasting    whether it stays on screens where scripts run, since no drawing of the script replaces it
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS)
    first = " ".join(described.split("\n")[:2])
    wide, high = (round(size * DOTS) for size in figure.get_size_inches())
    return (
        f'<figure class="frame {"lasting" if lasting else "still"}" role="region" aria-label="{safe(label)}: figure"'
        f' tabindex="0"><img src="{inline(buffer.getvalue())}" alt="{safe(first, 360)}" width="{wide}" height="{high}"'
        f' style="width:{min(width, wide)}px;min-width:{round(0.6 * min(width, wide))}px"></figure>'
    )


def told(text: str, name: str) -> str:
    """Write the companion text of a figure as a list that can be opened, one line for each sentence or fact."""
    lines = "".join(f"<li>{safe(line, 4000)}</li>" for line in text.split("\n") if line)
    return f"<details><summary>{safe(name)}: the same in words</summary><ul>{lines}</ul></details>"


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], label: str) -> str:
    """Write a real table in a frame that scrolls sideways on a small screen, by keys too.

    heads  of the columns, the first being that of the row names
    rows   the first cell of each is the name of the row
    label  of the frame, for screen readers
    """
    top = "".join(f'<th scope="col">{safe(head)}</th>' for head in heads)
    body = "\n".join(
        f'<tr><th scope="row">{safe(name)}</th>{"".join(f"<td>{safe(cell)}</td>" for cell in cells)}</tr>'
        for name, *cells in rows
    )
    return (
        f'<div class="frame" role="region" aria-label="{safe(label)}" tabindex="0"><table>'
        f"<caption>{safe(caption)}</caption><thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
    )


def opened(name: str, content: str) -> str:
    """Write content that can be opened, such as a long table."""
    return f"<details><summary>{safe(name)}</summary>{content}</details>"


def facts(pairs: Mapping[str, str]) -> str:
    """Write names with what they stand for."""
    return (
        "<dl>"
        + "".join(f"<dt>{safe(name)}</dt><dd>{safe(value, 2000)}</dd>" for name, value in pairs.items())
        + "</dl>"
    )


def section(name: str, title: str, reading: str, content: str, live: bool = False) -> str:
    """Write a section with its heading and how to read it.

    name  for links and for the script, which fills the empty element and then hides the figure on screens
    live  whether there is something for the script to fill
    """
    empty = f'<div class="live" data-widget="{name}" hidden></div>' if live else ""
    return (
        f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{safe(title)}</h2>'
        f'<p class="reading">{safe(reading, 2000)}</p>{empty}{content}</section>'
    )
