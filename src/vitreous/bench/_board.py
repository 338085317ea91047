"""A leader board as Markdown, LaTeX and one self-contained HTML page."""

import base64
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vitreous.bench._columns import MINUS, NONE, number, one_line, places_of
from vitreous.bench._html import STYLE, safe
from vitreous.bench._section import Cell, Section
from vitreous.bench._text import latex_row, latex_safe, markdown_safe, piped
from vitreous.bench.leader_board import Entry, LeaderBoard

BETTER, WORSE = "+", MINUS
DIRECTIONS = {"higher": "higher is better", "lower": "lower is better", "neither": "no direction is better"}
Pictures = Mapping[tuple[str, str], bytes]
"""Drawings as SVG, by pair and metric: critical differences."""


@dataclass(frozen=True)
class _Grid:
    """One table in words: the first column names methods; `bold` tells rows of best values, by column."""

    title: str
    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bold: frozenset[tuple[int, int]] = frozenset()


def board_markdown(board: LeaderBoard) -> str:
    """Write Markdown, as GitHub reads it."""
    lines = [f"# {markdown_safe(one_line(board.name))}", ""]
    for grid in _grids(board):
        lines += [f"## {markdown_safe(grid.title)}", "", markdown_safe(grid.caption), ""]
        lines += [piped([markdown_safe(text) for text in grid.headings])]
        lines += [piped(["---", *["--:"] * (len(grid.headings) - 1)])]
        lines += [piped(row) for row in _marked(grid, markdown_safe, "**{}**")]
        lines += [""]
    lines += [f"- {markdown_safe(note)}" for note in _notes(board)]
    return "\n".join(lines) + "\n"


def board_latex(board: LeaderBoard) -> str:
    r"""Write LaTeX tables that need the package booktabs and no other, one float for each metric."""
    parts = ["% Needs \\usepackage{booktabs}. Wide tables: put in \\begin{table*}, or turn the page."]
    for grid in _grids(board):
        caption = latex_safe(f"{one_line(board.name)}: {grid.title}. {grid.caption}")
        columns = "l" + "r" * (len(grid.headings) - 1)
        parts += [r"\begin{table}", r"\centering\small", rf"\caption{{{caption}}}", rf"\begin{{tabular}}{{{columns}}}"]
        parts += [r"\toprule", latex_row([latex_safe(text) for text in grid.headings]), r"\midrule"]
        parts += [latex_row(row) for row in _marked(grid, latex_safe, r"\textbf{{{}}}")]
        parts += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join([*parts, *(f"% {latex_safe(note)}" for note in _notes(board))]) + "\n"


def board_html(board: LeaderBoard, pictures: Pictures | None = None) -> str:
    """Write one page that needs neither network nor scripts, for light and dark screens.

    pictures  drawn beside their tables, folded away

    Methods are in the order of their ranks. Nothing is told by colour alone, and marks are spoken as words.
    """
    drawn: dict[str, list[str]] = {}
    for (pair, metric), content in (pictures or {}).items():
        drawn.setdefault(metric, []).append(_picture(pair, metric, content, board))
    grids = list(_grids(board))
    labels = ["", *(entry.metric for entry in board.entries)]
    sections = "\n".join(
        _section(grid, place, drawn.get(label, ()), board)
        for place, (grid, label) in enumerate(zip(grids, labels, strict=True))
    )
    links = "".join(f'<li><a href="#part-{place}">{safe(grid.title)}</a></li>' for place, grid in enumerate(grids))
    notes = "".join(f"<li>{safe(note)}</li>" for note in _general(board))
    facts = "".join(
        f"<h3>{safe(pair)}</h3><dl>"
        + "".join(f"<dt>{safe(key)}</dt><dd>{safe(value)}</dd>" for key, value in told.items())
        + "</dl>"
        for pair, told in board.facts.items()
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{safe(board.name)}: leader board</title><style>{STYLE}{EXTRA_STYLE}</style></head>
<body><main>
<h1>{safe(board.name)}</h1>
<ul class="notes">{notes}</ul>
<nav aria-label="Tables"><ul>{links}</ul></nav>
{sections}
<h2>How these numbers were made</h2>
{facts}
</main></body></html>
"""


def _section(grid: _Grid, place: int, pictures: Sequence[str], board: LeaderBoard) -> str:
    name = f"part-{place}"
    head = "".join(f'<th scope="col">{safe(text)}</th>' for text in grid.headings)
    body = "\n".join(
        f'<tr><th scope="row">{method}</th>{"".join(f"<td>{text}</td>" for text in texts)}</tr>'
        for method, *texts in _marked(grid, lambda text: _spoken(safe(text), board.control), "<strong>{}</strong>")
    )
    folded = f"<details><summary>Average ranks and critical differences</summary>{''.join(pictures)}</details>"
    return f"""<section aria-labelledby="{name}">
<h2 id="{name}">{safe(grid.title)}</h2>
<div class="frame" role="region" aria-labelledby="{name}" tabindex="0">
<table><caption>{safe(grid.caption)}</caption>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody></table></div>
{folded if pictures else ""}
</section>"""


def _spoken(text: str, control: str) -> str:
    """Give a mark at the end of a cell the words that a screen reader says."""
    for mark, word in ((BETTER, "better"), (WORSE, "worse")):
        if text.endswith(f" {mark}"):
            said = safe(f"{word} than {control}").replace('"', "&quot;")
            return f'{text[:-1]}<span role="img" aria-label="{said}" title="{said}">{mark}</span>'
    return text


def _picture(pair: str, metric: str, content: bytes, board: LeaderBoard) -> str:
    ranking = board.sections[pair, metric].ranking
    best = sorted(zip(ranking.ranks, ranking.methods, strict=True))
    told = f"{metric} on {pair}. Average ranks: {', '.join(f'{name} {rank:.2f}' for rank, name in best)}."
    source = base64.b64encode(content).decode()
    return (
        f'<figure><figcaption>{safe(pair)}</figcaption><img alt="{safe(told)}" '
        f'src="data:image/svg+xml;base64,{source}"></figure>'
    )


def _grids(board: LeaderBoard) -> Iterator[_Grid]:
    ranked = tuple((one_line(method), number(rank, 2)) for method, rank in board.overall)
    caption = f"Average rank over {board.counted} rankings, one for each metric with a direction and each pair of "
    yield _Grid("Overall", f"{caption}model and data set. 1 is best.", ("Method", "Average rank"), ranked)
    for entry in board.entries:
        yield _grid(entry, board)


def _grid(entry: Entry, board: LeaderBoard) -> _Grid:
    pairs = [pair for pair in board.pairs if pair in entry.most]
    rows, bold = [], set()
    for row, method in enumerate(entry.methods):
        texts = [one_line(method), number(entry.ranks[method], 2)]
        for column, pair in enumerate(pairs, 2):
            cell = entry.cells[method].get(pair)
            texts.append(NONE if cell is None else _cell(cell, board.sections[pair, entry.metric], entry, pair))
            if cell is not None and cell.best:
                bold.add((row, column))
        rows.append(tuple(texts))
    caption = one_line(f"{entry.title}. Unit: {entry.unit}; {DIRECTIONS[entry.better]}.")
    headings = ("Method", "Rank", *(one_line(pair) for pair in pairs))
    return _Grid(one_line(entry.metric), caption, headings, tuple(rows), frozenset(bold))


def _cell(cell: Cell, section: Section, entry: Entry, pair: str) -> str:
    """Write value, interval, n, and whether it differs from the control."""
    if math.isnan(cell.value):
        return f"{NONE} (n = 0)"
    places = places_of(section)
    interval = "" if math.isnan(cell.low) else f" [{number(cell.low, places)}, {number(cell.high, places)}]"
    some = f" of {entry.most[pair]}" if cell.n < entry.most[pair] else ""
    winner = cell.control.winner(entry.better) if cell.control else ""
    mark = "" if not winner else f" {BETTER}" if winner == cell.method else f" {WORSE}"
    return f"{number(cell.value, places)}{interval} (n = {cell.n}{some}){mark}"


def _marked(grid: _Grid, escape: Callable[[str], str], bold: str) -> Iterator[list[str]]:
    for row, texts in enumerate(grid.rows):
        escaped = [escape(text) for text in texts]
        yield [bold.format(text) if (row, place) in grid.bold else text for place, text in enumerate(escaped)]


def _general(board: LeaderBoard) -> Iterator[str]:
    yield "A cell is the value on the data set, its 95 % bootstrap interval in brackets, and the number n of images."
    yield (
        f"The mark {BETTER} is better and {WORSE} worse than the control {one_line(board.control)}, by a paired test "
        "at 5 %, corrected by Holm over the methods of that metric, model and data set; without a mark they are not "
        "told apart."
    )
    yield "Bold differs from all other methods, by tests of all pairs, corrected likewise."
    yield (
        "Rank: methods are ranked by their values in each column, and ranks are averaged. It depends on which methods "
        "take part, and is no test."
    )
    yield f"A dash ({NONE}) for a rank: the method lacks a value where another has one, or no direction is better."
    yield "There is no interval for fewer than ten images."
    yield "Where n is A of B, other methods have a value on B images, so that values are not of the same ones."
    for pair, reason in board.problems.items():
        yield one_line(f"Missing: {pair}. {reason}")


def _notes(board: LeaderBoard) -> Iterator[str]:
    yield from _general(board)
    for pair, told in board.facts.items():
        yield one_line(f"{pair}: {'; '.join(f'{key}: {value}' for key, value in told.items())}.")


EXTRA_STYLE = """
figure{margin:1rem 0}
img{max-width:100%;background:#fff}
summary{cursor:pointer;padding:.5rem 0}
h3{margin-bottom:.2rem}
"""

BOARD_FORMATS: dict[str, Callable[[LeaderBoard], str]] = {
    "html": board_html,
    "md": board_markdown,
    "tex": board_latex,
}
"""What writes a leader board into a file of which ending."""
