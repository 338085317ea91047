"""The sections of the page, in their order; each is there only if it was given something to show."""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from vitreous.show.inspect._html import facts, inline, opened, safe, section, still, table, told
from vitreous.show.inspect.content import MEGABYTE, InspectContent
from vitreous.show.plots.block_series import block_series_text, draw_block_series
from vitreous.show.plots.factor_chart import draw_factor_chart, factor_chart_text, factor_order
from vitreous.show.plots.flow_map import Flows, draw_flow_map, flow_map_text
from vitreous.show.plots.head_grid import draw_head_grid, head_grid_text
from vitreous.show.plots.head_heatmap import draw_head_heatmap, head_heatmap_text
from vitreous.show.plots.numbers import BlockSeries
from vitreous.show.plots.parallel_coordinates import (
    draw_parallel_coordinates,
    heads_as_lines,
    parallel_coordinates_text,
)
from vitreous.show.plots.patch_map import draw_patch_map, patch_map_text
from vitreous.show.plots.relation_chord import draw_relation_chord
from vitreous.show.plots.relation_matrix import draw_relation_matrix, mean_mass, relation_text
from vitreous.show.plots.token_query import draw_token_query, token_query_text
from vitreous.show.plots.trajectory import draw_trajectory, trajectory_text
from vitreous.show.words import format_value, percent, safe_text

READING_UNIT = "share of attention"
CONVERGING_UNIT = "share of all heads that have the patch among those they attend to most"
ABSENT = {
    "numbers": "numbers of heads",
    "parallel": "parallel coordinates",
    "flow": "the flow map",
    "trajectory": "the trajectory of the focus",
    "agreement": "agreement of heads",
    "lens": "the logit lens",
    "query": "the query of a token",
    "relations": "relations between objects",
    "factors": "heads by factors",
}
Section = tuple[str, str, str]  # name, title, HTML


def sections_of(content: InspectContent, flows: Flows | None, attention: bool, limit: int) -> list[Section]:
    """Write all sections that have something to show, and last how the page was made and what it does not show.

    flows      of the flow map, or None
    attention  whether the attention between all tokens is in the page
    limit      bytes that it may take
    """
    photo = np.asarray(Image.open(io.BytesIO(content.photo)).convert("RGB"))
    found = [_overview(content), _heads(content, photo)]
    if content.numbers:
        found += [_numbers(content), _parallel(content)]
    if flows is not None:
        found.append(_flow(content, flows, photo))
    if content.focus is not None or content.series:
        found.append(_trajectory(content, photo))
    if content.agreement or content.converging is not None:
        found.append(_agreement(content, photo))
    if content.lens:
        found.append(_lens(content))
    if content.attention is not None:
        found.append(_query(content, photo, attention, limit))
    if content.relations is not None:
        found.append(_relations(content))
    if content.factors is not None:
        found.append(_factors(content))
    names = {name for name, _, _ in found}
    return [*found, _made(content, [words for name, words in ABSENT.items() if name not in names])]


def head_name(content: InspectContent, block: int, head: int) -> str:
    """Name a head as all figures do, counting from 0."""
    return f"block {content.first + block} head {head}"


def _overview(content: InspectContent) -> Section:
    rows = [
        (each.name, "not given" if each.probability is None else percent(each.probability, 1), format_value(each.score))
        for each in content.predictions
    ]
    predictions = table(
        "What the model predicts, strongest first.", ("Class", "Probability", "Score"), rows, "Predictions"
    )
    picture = f'<img id="photo" src="{inline(content.photo)}" alt="The photograph as the model saw it">'
    grid = f"{content.grid[0]} x {content.grid[1]} patches"
    html = (
        f'<div class="two"><figure>{picture}<figcaption>As the model saw it: {grid}.</figcaption></figure>'
        f"<div>{predictions}<p>Explained here: <b>{safe(content.target)}</b>.</p></div></div>{facts(content.facts)}"
    )
    reading = "Everything below is about this one photograph, unless it says otherwise."
    title = "What the model saw and predicted"
    return "overview", title, section("overview", title, reading, html)


def _heads(content: InspectContent, photo: UInt8[np.ndarray, "H W 3"]) -> Section:
    """Write the small maps of all heads."""
    title = "What each head attends to"
    reading = (
        f"Attention of the {content.reads} to the patches, one map for each block and head, all on one scale: equal"
        " colours are equal values. A bright map shows where a head takes values from. It does not show that the"
        " prediction depends on them."
    )
    words = head_grid_text(content.readings, READING_UNIT, first=content.first)
    figure = draw_head_grid(content.readings, READING_UNIT, photo=photo, first=content.first, title=title)
    return "heads", title, section("heads", title, reading, still(figure, words, title) + told(words, title), live=True)


def _numbers(content: InspectContent) -> Section:
    """Write the tables of coloured cells."""
    title = "Numbers of the heads"
    reading = (
        "One number for each block and head. Each number has its own unit and its own scale, which stands below it."
    )
    words = head_heatmap_text(content.numbers, content.first)
    figure = draw_head_heatmap(content.numbers, content.first, title)
    values, names, axes = heads_as_lines(content.numbers, content.first)
    rows = [
        (name, *("\u2013" if np.isnan(value) else format_value(float(value)) for value in line))
        for name, line in zip(names, values, strict=True)
    ]
    heads = ("Head", *(f"{name} ({unit})" for name, unit in axes))
    every = opened(f"{title}: all values", table("All numbers of all heads.", heads, rows, "All numbers of all heads"))
    return (
        "numbers",
        title,
        section("numbers", title, reading, still(figure, words, title) + told(words, title) + every, live=True),
    )


def _parallel(content: InspectContent) -> Section:
    """Write the lines of all heads across their numbers, the best of each of the first four numbers in front."""
    title = "Heads across their numbers"
    reading = (
        "One line for each head. Lines that run together are heads that are alike; each axis has its own range, printed"
        " at its ends."
    )
    values, names, axes = heads_as_lines(content.numbers, content.first)
    best = [names[int(np.nanargmax(column))] for column in values.T[:4] if not np.isnan(column).all()]
    best = list(dict.fromkeys(best))
    words = parallel_coordinates_text(values, names, axes, highlight=best)
    figure = draw_parallel_coordinates(values, names, axes, highlight=best, title=title)
    return (
        "parallel",
        title,
        section("parallel", title, reading, still(figure, words, title) + told(words, title), live=True),
    )


def _flow(content: InspectContent, flows: Flows, photo: UInt8[np.ndarray, "H W 3"]) -> Section:
    """Write the flow map."""
    title = "How attention flows through the blocks"
    reading = (
        f"All mass begins with what the model reads, the {content.reads}, at the right. In each block half of a token's"
        " mass stays where it is, for the skip connection, and half goes where its attention, averaged over heads,"
        " points. This is attention rollout taken apart. It ignores values and MLPs: it shows where something could"
        " have come from, not what the prediction depends on."
    )
    words = flow_map_text(flows, reads=f"the {content.reads}")
    figure = draw_flow_map(flows, photo=photo, reads=content.reads, title=title)
    return (
        "flow",
        title,
        section("flow", title, reading, still(figure, words, title, 1400) + told(words, title), live=True),
    )


def _trajectory(content: InspectContent, photo: UInt8[np.ndarray, "H W 3"]) -> Section:
    """Write how focus and other numbers change with depth."""
    title = "How the focus moves with depth"
    reading = (
        "The centre of attention in each block and how far attention spreads around it, in patches. A centre in the"
        " middle with a large spread means attention everywhere, not attention to the middle."
    )
    if content.focus is None:
        reading = "Numbers of each block; depth runs to the right."
        words = block_series_text(content.series, content.first)
        figure = draw_block_series(content.series, content.first, title)
    else:
        words = trajectory_text(content.focus, content.grid, series=content.series, first=content.first)
        figure = draw_trajectory(
            content.focus, content.grid, photo=photo, series=content.series, first=content.first, title=title
        )
    html = still(figure, words, title) + told(words, title)
    return "trajectory", title, section("trajectory", title, reading, html, live=True)


def _agreement(content: InspectContent, photo: UInt8[np.ndarray, "H W 3"]) -> Section:
    """Write whether heads agree, and where they come together."""
    title = "Whether heads agree"
    reading = " ".join(f"{name}: {each.meaning}" for name, each in content.agreement.items())
    html, last = "", ""
    if content.agreement:
        words = block_series_text(content.agreement, content.first)
        html = still(draw_block_series(content.agreement, content.first, title), words, title) + told(words, title)
    if content.converging is not None:
        where = "Where heads come together"
        words = patch_map_text(content.converging, CONVERGING_UNIT)
        figure = draw_patch_map(content.converging, CONVERGING_UNIT, where, photo)
        last = f"<h3>{where}</h3>{still(figure, words, where, 420, lasting=True)}{told(words, where)}"
    name = "agreement"
    return name, title, section(name, title, reading, html + last, live=bool(html))


def _lens(content: InspectContent) -> Section:
    """Write what the model would say after each block."""
    title, named = "What the model would say after each block", content.lens_of or content.target
    reading = (
        "The logit lens: the model's own head is put on what each block gives, as if the model ended there. Early"
        " blocks were never trained to be read this way, so their classes say little."
    )
    rows = [
        (
            f"block {each.block}",
            percent(each.probability, 1),
            str(each.rank),
            "; ".join(f"{safe_text(name, 40)} {percent(share, 1)}" for name, share in each.top),
        )
        for each in content.lens
    ]
    heads = ("After", f"Probability of {named}", "Its rank", "Strongest classes")
    caption = f"Probability and rank of {named} if the model ended after a block, and the strongest classes there."
    series = {
        f"Probability of {named}": BlockSeries(
            np.array([each.probability for each in content.lens]),
            "probability",
            "As if the model ended after the block.",
        )
    }
    figure = draw_block_series(series, content.lens[0].block, title)
    html = still(figure, block_series_text(series, content.lens[0].block), title, 700, lasting=True)
    return "lens", title, section("lens", title, reading, html + table(caption, heads, rows, "Logit lens"))


def _query(content: InspectContent, photo: UInt8[np.ndarray, "H W 3"], attention: bool, limit: int) -> Section:
    """Write what a token attends to; without scripts that of one token, the first of the prefix or the middle patch."""
    title = "Ask a token"
    reading = "What one token attends to, and which patches attend to it, in each block, averaged over heads."
    if attention:
        reading += " Attention is kept here in half precision: three significant digits, fewer below 0.0001."
    else:
        reading += (
            f" The attention between all tokens of this model would take more than {limit / MEGABYTE:.1f} MB in this"
            " page, so it is left out, and only one token is shown."
        )
    weights = content.attention
    if weights is None:  # `sections_of` does not ask then
        return "query", title, ""
    rows, columns = content.grid
    middle = rows // 2 * columns + columns // 2
    token, name = (0, f"the {content.prefix[0]}") if content.prefix else (middle, "the patch in the middle")
    words = token_query_text(weights, token, name, len(content.prefix), content.grid, content.first)
    figure = draw_token_query(weights, token, name, len(content.prefix), content.grid, photo=photo, first=content.first)
    html = still(figure, words, title, 1200) + told(words, title)
    return "query", title, section("query", title, reading, html, live=attention)


def _relations(content: InspectContent) -> Section:
    """Write matrix and chord of objects."""
    title = "Attention between objects"
    found = content.relations
    if found is None:
        return "relations", title, ""
    reading = (
        f"{found.meaning} In {found.unit}. Attention from one object to another does not mean that the prediction rests"
        " on the pair."
    )
    words = relation_text(found, content.first)
    html = still(draw_relation_matrix(found, content.first, title), words, title)
    if not (found.mass < 0).any():
        html += still(
            draw_relation_chord(found, first=content.first, title=title),
            "Chord drawing of the mean.",
            f"{title}, chord",
            700,
        )
    mean = mean_mass(found)
    rows = [
        (name, *("\u2013" if np.isnan(value) else format_value(float(value)) for value in line))
        for name, line in zip(found.names, mean, strict=True)
    ]
    caption = f"Mean over blocks, in {found.unit}: rows attend to columns."
    html += told(words, title) + opened(
        f"{title}: the mean", table(caption, ("Object", *found.names), rows, "Relations")
    )
    return "relations", title, section("relations", title, reading, html, live=True)


def _factors(content: InspectContent) -> Section:
    """Write heads by factors."""
    title = "What each head tells apart"
    scores = content.factors
    if scores is None:
        return "factors", title, ""
    reading = (
        f"{scores.meaning} In {scores.unit}. That a factor can be read from a head does not mean that the model"
        " uses it."
    )
    words = factor_chart_text(scores)
    rows = [
        (
            scores.heads[place],
            *(
                f"{value:.2f}{' above control' if above else ''}"
                for value, above in zip(scores.score[place], scores.above[place], strict=True)
            ),
        )
        for place in factor_order(scores)
    ]
    every = table(f"Scores in {scores.unit}, best heads first.", ("Head", *scores.factors), rows, "Heads by factors")
    html = still(draw_factor_chart(scores, title=title), words, title, 900, lasting=True) + told(words, title)
    return "factors", title, section("factors", title, reading, html + opened(f"{title}: all scores", every))


def _made(content: InspectContent, absent: list[str]) -> Section:
    """Write how the page was made, what it does not show, and what it could have shown but was not given."""
    title = "How this page was made, and what it does not show"
    limits = "".join(f"<li>{safe(limit, 2000)}</li>" for limit in content.limits)
    missing = f"<li>Not on this page, since it was not computed: {safe(', '.join(absent))}.</li>" if absent else ""
    listed = f"<ul>{limits}{missing}</ul>" if limits or missing else ""
    reading = (
        "Attention is what a head takes values with. What the prediction depends on is a question for experiments."
    )
    return "made", title, section("made", title, reading, f"{listed}{facts(content.provenance)}")
