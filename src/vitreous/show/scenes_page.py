"""A page that shows maps beside the truth: one self-contained HTML file, which needs neither network nor scripts."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

from vitreous.core.heatmap import Heatmap
from vitreous.show.colour import Scale, scale_over
from vitreous.show.legend import draw_bar
from vitreous.show.paint import Coat, blend
from vitreous.show.resample import resample
from vitreous.show.transform import SHARE_SENTENCE, SHARE_UNIT, share_of_total
from vitreous.show.words import format_value, percent
from vitreous.worlds.rendered.load import SceneSample

PANEL = 192  # pixels: twice the picture, so that every pixel of it is seen
COAT = Coat()


@dataclass(frozen=True, eq=False)
class Scored:
    """One map and how it stands to the truth: share of relevance on the target, and agreement with the drops."""

    heatmap: Heatmap
    mass: float
    agreement: float


@dataclass(frozen=True, eq=False)
class ScenePanel:
    """One scene on the page.

    predicted  the class that the model says
    drops      by how much the logit of the scene's own class falls when each thing is taken out
    maps       by method, each for the scene's own class
    """

    sample: SceneSample
    predicted: str
    drops: np.ndarray
    maps: Mapping[str, Scored]


@dataclass(frozen=True)
class Row:
    """One line of the table: mean and 95 % interval of both scores over `count` scenes."""

    name: str
    mass: tuple[float, float, float]
    agreement: tuple[float, float, float]
    count: int


def draw_page(panels: Sequence[ScenePanel], rows: Sequence[Row], facts: Mapping[str, str]) -> str:
    """Write the page. `facts` are said at its end, for whoever wants to make it again."""
    truth_scale = scale_over([panel.drops[None] for panel in panels], "logits", signed=True)
    shares = [np.abs(share_of_total(scored.heatmap)) for panel in panels for scored in panel.maps.values()]
    one_sided = scale_over(shares, SHARE_UNIT, signed=False, kind="robust")
    scenes = "\n".join(_scene(panel, truth_scale, one_sided) for panel in panels)
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Vitreous: maps beside the truth</title><style>{STYLE}</style></head>
<body><main>
<h1>What a model looked at, and what really decided</h1>
{_introduction(panels)}
<h2>All scenes: which method tells the truth most often?</h2>
{_table(rows)}
<h2>Scene by scene</h2>
<p>The scales are the same for all pictures of this page.</p>
{_legend("The truth", truth_scale)}
{_legend("Maps", one_sided)}
<p class="small">{escape(SHARE_SENTENCE)} Signed maps use the same range in both directions, red for, blue against.</p>
{scenes}
<h2>How this page was made</h2>
<dl>{"".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())}</dl>
</main></body></html>
"""


def _introduction(panels: Sequence[ScenePanel]) -> str:
    return f"""<p>A photograph does not tell which of its pixels decided. A rendered scene does: take an object out,
render again, and see how far the logit falls. That is <b>the truth</b>, with nothing masked or filled in. The first
picture of each row is the scene, the second the truth: red things speak for the class, blue ones against it. The others
are maps of {len(panels[0].maps)} methods.</p>
<p>Two numbers stand below each map. <b>On target</b> is the share of its positive relevance that lies on the one object
whose shape is the class. <b>Order</b> is Spearman's correlation, over the things of the scene, between the relevance on
a thing and what taking it out does: 1 if the map ranks all things as the truth does, about 0 if it ranks them at
random.</p>"""


def _table(rows: Sequence[Row]) -> str:
    lines = "".join(
        f"<tr><th scope='row'>{escape(row.name)}</th><td>{_interval(row.mass)}</td><td>{_interval(row.agreement)}</td>"
        f"<td>{row.count}</td></tr>"
        for row in rows
    )
    return f"""<table><caption>Means over scenes, with 95 % bootstrap intervals. All methods explain
the same scenes, so that telling two of them apart needs a paired test, which is not made here.</caption>
<thead><tr><th scope="col">Map</th><th scope="col">On target</th><th scope="col">Order</th>
<th scope="col">Scenes</th></tr></thead><tbody>{lines}</tbody></table>"""


def _interval(values: tuple[float, float, float]) -> str:
    middle, low, high = values
    if np.isnan(middle):
        return "not defined"
    around = "" if np.isnan(low) else f" <span class='small'>({low:.2f} to {high:.2f})</span>"
    return f"{middle:.2f}{around}".replace("-", "\u2212")


def _scene(panel: ScenePanel, truth_scale: Scale, one_sided: Scale) -> str:
    picture = panel.sample.photo().image.resize((PANEL, PANEL), Image.Resampling.NEAREST)
    label = str(panel.sample.label)
    said = "; ".join(
        f"{thing.shape.replace('_', ' ')} {format_value(float(drop))}"
        for thing, drop in zip(panel.sample.things, panel.drops, strict=True)
    )
    truth = _truth(panel, np.asarray(picture), truth_scale)
    figures = [
        _figure(
            picture, "The scene", f"A {label}. The model says {panel.predicted}.", f"Rendered scene with a {label}"
        ),
        _figure(truth, "The truth", f"Logit of {label} falls without: {said}.", "Things coloured by their effect"),
    ]
    for method, scored in panel.maps.items():
        values = resample(share_of_total(scored.heatmap), scored.heatmap.frame, "nearest", (PANEL, PANEL))
        drawn = Image.fromarray(blend(np.asarray(picture), values, _scale(scored.heatmap, one_sided), COAT))
        mass = "not defined" if np.isnan(scored.mass) else percent(scored.mass)
        order = "not defined" if np.isnan(scored.agreement) else f"{scored.agreement:.2f}".replace("-", "\u2212")
        told = f"On target {mass}, order {order}."
        figures.append(_figure(drawn, method, told, f"Map of {method}"))
    return f"<section aria-label='Scene {escape(panel.sample.id)}'>{''.join(figures)}</section>"


def _scale(heatmap: Heatmap, one_sided: Scale) -> Scale | None:
    if heatmap.uninformative:
        return None
    if heatmap.signed:
        return Scale(-one_sided.high, one_sided.high, one_sided.unit, "RdBu_r")
    return one_sided


def _truth(panel: ScenePanel, picture: np.ndarray, scale: Scale) -> Image.Image:
    """Colour each thing by its drop, where it covers most of a pixel; the background keeps its own look."""
    values = np.full(picture.shape[:2], np.nan, dtype=np.float32)
    for mask, drop in zip(panel.sample.masks(), panel.drops, strict=True):
        larger = np.asarray(Image.fromarray(mask.inside).resize((PANEL, PANEL), Image.Resampling.NEAREST))
        values[larger] = drop
    return Image.fromarray(blend(picture, values, scale, COAT))


def _figure(picture: Image.Image, title: str, told: str, described: str) -> str:
    return (
        f"<figure><img src='{_inline(picture)}' alt='{escape(described)}' width='{PANEL}' height='{PANEL}'>"
        f"<figcaption><b>{escape(title)}</b><br>{escape(told)}</figcaption></figure>"
    )


def _legend(title: str, scale: Scale) -> str:
    bar = draw_bar(scale, 420, 13, COAT)
    shown = f"<img src='{_inline(bar)}' alt='Colour scale: {escape(scale.unit)}'>"
    return f"<p class='legend'><b>{escape(title)}</b><br>{shown}</p>"


def _inline(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1b1b1b;background:#fff;margin:0}
main{max-width:1720px;margin:auto;padding:1.5rem}
p,dl,table{max-width:60rem}
section{display:grid;grid-template-columns:repeat(auto-fill,minmax(180px,1fr));gap:1rem}
section{border-top:1px solid #ccc;padding:1rem 0}
figure{margin:0}figcaption{font-size:.85rem}img{max-width:100%;height:auto}
table{border-collapse:collapse}caption{text-align:left;font-size:.85rem;color:#555;padding-bottom:.4rem}
th,td{text-align:left;padding:.25rem 1.5rem .25rem 0;border-bottom:1px solid #ddd}
.small{font-size:.85rem;color:#555}.legend{display:inline-block;margin:0 2rem 1rem 0}
dt{font-weight:600}
dd{margin:0 0 .4rem 0;font-family:ui-monospace,monospace;font-size:.85rem;overflow-wrap:anywhere}
"""
