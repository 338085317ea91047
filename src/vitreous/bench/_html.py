"""A table as one self-contained HTML file, which needs neither network nor scripts."""

from html import escape as escape_html

from vitreous.bench._columns import caption, columns, one_line
from vitreous.bench._section import Section, Table


def html(table: Table) -> str:
    """Write the page: one real table for each metric, with its caption and notes, for light and dark screens.

    Rows and columns have headings that screen readers speak with each number, and nothing is told by colour alone.
    """
    sections = "\n".join(_section(section, place, table) for place, section in enumerate(table.sections))
    links = "".join(
        f'<li><a href="#metric-{place}">{safe(section.metric)}</a></li>' for place, section in enumerate(table.sections)
    )
    facts = "".join(f"<dt>{safe(name)}</dt><dd>{safe(value)}</dd>" for name, value in table.facts.items())
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Vitreous: evaluation</title><style>{STYLE}</style></head>
<body><main>
<h1>Evaluation</h1>
<nav aria-label="Metrics"><ul>{links}</ul></nav>
{sections}
<h2>How these numbers were made</h2>
<dl>{facts}</dl>
</main></body></html>
"""


def _section(section: Section, place: int, table: Table) -> str:
    name = f"metric-{place}"
    notes = "".join(f"<li>{safe(note)}</li>" for note in section.notes)
    return f"""<section aria-labelledby="{name}">
<h2 id="{name}">{safe(section.metric)}</h2>
{_table(section, table.control, name) if section.cells else f"<p>{safe(caption(section))}</p>"}
<ul class="notes">{notes}</ul>
</section>"""


def _table(section: Section, control: str, name: str) -> str:
    """Write the table in a frame of its own, which scrolls sideways on a small screen, by keys too."""
    found = columns(section, control)
    headings = "".join(f'<th scope="col">{safe(column.heading)}</th>' for column in found)
    lines = []
    for place, cell in enumerate(section.cells):
        method, value, *others = [safe(column.texts[place]) for column in found]
        value = f"<strong>{value}</strong>" if cell.best else value
        numbers = "".join(f"<td>{text}</td>" for text in (value, *others))
        lines.append(f'<tr><th scope="row">{method}</th>{numbers}</tr>')
    body = "\n".join(lines)
    return f"""<div class="frame" role="region" aria-labelledby="{name}" tabindex="0">
<table><caption>{safe(caption(section))}</caption>
<thead><tr>{headings}</tr></thead>
<tbody>
{body}
</tbody></table></div>"""


def safe(text: str) -> str:
    """Write text so that HTML shows it as it is, on one line."""
    return escape_html(one_line(text))


STYLE = """
:root{color-scheme:light dark;--ink:#1b1b1b;--paper:#fff;--soft:#555;--line:#ccc;--link:#0b57a4}
@media(prefers-color-scheme:dark){:root{--ink:#e8e8e8;--paper:#161616;--soft:#b0b0b0;--line:#444;--link:#8ab8f0}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0}
main{max-width:90rem;margin:auto;padding:1.5rem}
a{color:var(--link)}
nav ul{columns:16rem;padding-left:1.2rem}
.frame{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);padding-bottom:.4rem}
th,td{padding:.25rem .8rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
thead th{white-space:normal;vertical-align:bottom}
th:first-child{text-align:left;padding-left:0}
tbody th{font-weight:400}
tbody tr:hover{background:color-mix(in srgb,var(--ink) 7%,var(--paper))}
strong{font-weight:700}
.notes{font-size:.85rem;color:var(--soft);max-width:60rem}
dt{font-weight:600}dd{margin:0 0 .4rem 0;overflow-wrap:anywhere}
"""
