"""The page itself: put together from its sections, with its style and its script inside."""

import base64
import hashlib
from importlib.resources import files

from vitreous.show.inspect._data import embed, packed_size, page_data
from vitreous.show.inspect._html import safe
from vitreous.show.inspect._sections import READING_UNIT, sections_of
from vitreous.show.inspect.content import MEGABYTE, InspectContent
from vitreous.show.plots.flow_map import Flows, attention_flows

ATTENTION_LIMIT = 4 * MEGABYTE


def write_inspect_page(content: InspectContent, attention_limit: int = ATTENTION_LIMIT) -> str:
    """Write the page as one string of HTML, which needs no network and no scripts.

    content          what is on it
    attention_limit  bytes that the attention between all tokens may take in the page; beyond that it is left out, and
                     the page says so

    Every section has a figure and the same in words or as a table. With scripts the figures of most sections give way
    to drawings that can be asked; on paper they come back. A policy in the page forbids it to load anything.
    """
    attention = content.attention is not None and packed_size(content.attention) <= attention_limit
    flows = flows_of(content)
    sections = sections_of(content, flows, attention, attention_limit)
    links = "".join(f'<li><a href="#{name}">{safe(title)}</a></li>' for name, title, _ in sections)
    body = "\n".join(html for _, _, html in sections)
    script = _resource("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    before = f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="color-scheme" content="light dark">
<title>Vitreous: inside {safe(content.model)}, {safe(content.title)}</title>
<style>{_resource("page.css")}</style></head>
<body><a class="skip" href="#main">Skip to the content</a>
<main id="main">
<h1>Inside {safe(content.model)}: {safe(content.title)}</h1>
<nav aria-label="Sections"><ul>{links}</ul></nav>
{body}
<p class="small">This page is one file of """
    after = f""". It loads nothing.</p>
</main>
<script type="application/json" id="data">{embed(page_data(content, READING_UNIT, attention, flows))}</script>
<script>{script}</script>
</body></html>
"""
    return f"{before}{(len(before.encode()) + len(after.encode())) / MEGABYTE:.1f} MB{after}"


def flows_of(content: InspectContent) -> Flows | None:
    """Follow the reading down the blocks, if the page was given what that needs."""
    if content.attention is None or content.reading is None:
        return None
    return attention_flows(
        content.attention,
        content.reading,
        content.grid,
        names=content.tokens,
        suffix=len(content.suffix),
        first=content.first,
    )


def _resource(name: str) -> str:
    """Read a file that comes with this package."""
    return files("vitreous.show.inspect").joinpath(name).read_text(encoding="utf-8")
