"""Tables as Markdown, LaTeX, plain text, CSV and JSON.

Each format has its own idea of which letters mean something. Labels and reasons come from anywhere, an error message
of another library not least, and are written so that they are read as they are.
"""

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vitreous.bench._columns import Column, caption, columns, one_line
from vitreous.bench._section import Record, Section, Table


def markdown(table: Table) -> str:
    """Write Markdown with tables, as GitHub reads it; nothing in a label is taken for markup."""
    return "\n".join(_markdown_lines(table)) + "\n"


def _markdown_lines(table: Table) -> Iterator[str]:
    """Go through the lines: a heading, a table and a list of notes for each metric, and the facts at the end."""
    for section in table.sections:
        yield from (f"### {markdown_safe(section.metric)}", "", markdown_safe(caption(section)), "")
        if section.cells:
            found = columns(section, table.control)
            yield piped([markdown_safe(column.heading) for column in found])
            yield piped(["---", *["--:"] * (len(found) - 1)])
            for place, cell in enumerate(section.cells):
                texts = [markdown_safe(column.texts[place]) for column in found]
                texts[1] = f"**{texts[1]}**" if cell.best else texts[1]
                yield piped(texts)
            yield ""
        yield from (f"- {markdown_safe(one_line(note))}" for note in section.notes)
        yield ""
    yield from (f"- {markdown_safe(fact)}" for fact in _facts(table))


def piped(texts: Sequence[str]) -> str:
    """Write one row of a Markdown table."""
    return f"| {' | '.join(texts)} |"


def markdown_safe(text: str) -> str:
    """Put a backslash before whatever Markdown, or HTML within it, could read as markup."""
    return re.sub(r"([\\`*_\[\]<>|~#&$!])", r"\\\1", text)


def latex(table: Table) -> str:
    r"""Write LaTeX tables that need the package booktabs and no other, one float for each metric.

    Letters that pdflatex does not know, outside Latin scripts, become question marks.
    """
    head = "% Needs \\usepackage{booktabs}. Wide tables: put in \\begin{table*}, or turn the page.\n"
    return head + "\n".join(_latex_section(section, table) for section in table.sections)


def _latex_section(section: Section, table: Table) -> str:
    lines = [r"\begin{table}", r"\centering\small", rf"\caption{{{latex_safe(caption(section))}}}"]
    if section.cells:
        found = columns(section, table.control)
        lines += [rf"\begin{{tabular}}{{l{'r' * (len(found) - 1)}}}", r"\toprule"]
        lines += [latex_row([latex_safe(column.heading) for column in found]), r"\midrule"]
        for place, cell in enumerate(section.cells):
            texts = [latex_safe(column.texts[place]) for column in found]
            texts[1] = rf"\textbf{{{texts[1]}}}" if cell.best else texts[1]
            lines.append(latex_row(texts))
        lines += [r"\bottomrule", r"\end{tabular}"]
    notes = " ".join(latex_safe(one_line(note)) for note in (*section.notes, *_facts(table)))
    lines += [r"\par\medskip", rf"\parbox{{\linewidth}}{{\footnotesize {notes}}}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def latex_row(texts: Sequence[str]) -> str:
    """Write one row of a LaTeX table."""
    return " & ".join(f"{{{text}}}" for text in texts) + r" \\"  # braces: a row may begin with "[" or "*"


_LATEX = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "\N{MINUS SIGN}": "$-$",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    **{letter: "\\" + letter for letter in "&%$#_{}"},
}


def latex_safe(text: str) -> str:
    """Write text so that LaTeX prints it as it is; a letter that pdflatex does not know becomes a question mark."""
    return "".join(_LATEX.get(letter, letter if _typeset(letter) else "?") for letter in text)


def _typeset(letter: str) -> bool:
    """Whether LaTeX sets the letter without further packages."""
    return ord(letter) < 0x180  # as far as Latin Extended-A


def plain(table: Table) -> str:
    """Write plain text for a terminal, as wide as it needs; an asterisk takes the place of bold.

    Lines are not broken or cut to the width of a window: numbers would no longer stand below one another.
    """
    from rich import box  # noqa: PLC0415 - only this format needs it
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table as Grid  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    written = io.StringIO()
    console = Console(file=written, width=10_000, color_system=None, highlight=False, markup=False, emoji=False)
    for section in table.sections:
        console.print(Text(caption(section)))
        found = columns(section, table.control) if section.cells else []
        grid = Grid(box=box.SIMPLE_HEAD)
        for place, column in enumerate(found):
            grid.add_column(Text(column.heading), justify="right" if place else "left", no_wrap=True)
        for place, cell in enumerate(section.cells):
            grid.add_row(*(Text(_starred(column, place, cell.best)) for column in found))
        if found:
            console.print(grid)
        for note in section.notes:
            console.print(Text(one_line(note)))
        console.print()
    for fact in _facts(table):
        console.print(Text(fact))
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"


def _starred(column: Column, place: int, best: bool) -> str:
    """Put an asterisk before the value of the best."""
    return f"*{column.texts[place]}" if best and column.heading == "Value" else column.texts[place]


def comma_separated(table: Table) -> str:
    """Write CSV, one line for each metric and method, with full precision; a number that there is not is empty."""
    records = [_without_nan(record) for record in table.records()]
    written = io.StringIO(newline="")
    if records:
        writer = csv.DictWriter(written, fieldnames=list(records[0]))
        writer.writeheader()
        writer.writerows(records)
    return written.getvalue()


def json_text(table: Table) -> str:
    """Write JSON: the facts, the records with full precision (null for a number that there is not), and the notes.

    Keys: "control", "facts", "sections" with what is said of each metric, and "records" as of `Table.records`.
    """
    sections = [
        {
            "metric": section.metric,
            "title": section.title,
            "friedman_p": _or_none(section.ranking.p),
            "critical_difference": _or_none(section.ranking.critical),
            "notes": list(section.notes),
        }
        for section in table.sections
    ]
    whole = {
        "control": table.control,
        "facts": dict(table.facts),
        "sections": sections,
        "records": [_without_nan(record) for record in table.records()],
    }
    return json.dumps(whole, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _without_nan(record: Record) -> Mapping[str, Any]:
    """Put None for NaN, which JSON does not have and spreadsheets take for text."""
    return {name: _or_none(value) for name, value in record.items()}


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _facts(table: Table) -> list[str]:
    """Give the facts as sentences, one line each."""
    return [one_line(f"{name}: {value}.") for name, value in table.facts.items()]
