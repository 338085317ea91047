"""The numbers of the page, for its script: inert JSON, with large arrays as half-precision numbers in base64."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from vitreous.show.colour import Scale, colourise
from vitreous.show.inspect.content import InspectContent
from vitreous.show.plots.flow_map import Flows, node_words, strongest_flows
from vitreous.show.plots.head_grid import head_scale
from vitreous.show.plots.head_heatmap import number_scale
from vitreous.show.plots.numbers import BlockSeries
from vitreous.show.plots.relation_matrix import mean_mass, relation_scale

MOST_MOVES = 150  # of each block, that the slider of the flow map reaches


def page_data(content: InspectContent, unit: str, attention: bool, flows: Flows | None) -> dict[str, Any]:
    """Gather what the script draws from.

    unit       of the readings
    attention  whether the attention between all tokens is embedded
    flows      of the flow map
    """
    blocks, heads = content.readings.shape[:2]
    scales = [head_scale(content.readings, unit), *map(number_scale, content.numbers.values())]
    scales += [relation_scale(content.relations)] if content.relations is not None else []
    return {
        "grid": list(content.grid),
        "first": content.first,
        "blocks": blocks,
        "heads": heads,
        "prefix": list(content.prefix),
        "suffix": list(content.suffix),
        "tables": {name: _colours(name) for name in sorted({scale.colours for scale in scales} | {"viridis"})},
        "readings": {**packed(content.readings), "scale": _scale(scales[0])},
        "numbers": [
            {
                "name": name,
                "unit": number.unit,
                "meaning": number.meaning,
                "scale": _scale(number_scale(number)),
                "values": rounded(number.values),
            }
            for name, number in content.numbers.items()
        ],
        "attention": packed(content.attention) if attention and content.attention is not None else None,
        "flows": None if flows is None else _flows(flows, content.reads),
        "focus": None
        if content.focus is None
        else {"centre": rounded(content.focus.centre), "spread": rounded(content.focus.spread)},
        "series": _series(content.series),
        "agreement": _series(content.agreement),
        "relations": None
        if content.relations is None
        else {
            "names": list(content.relations.names),
            "unit": content.relations.unit,
            "mean": rounded(mean_mass(content.relations)),
            "mass": rounded(content.relations.mass),
            "scale": _scale(scales[-1]),
        },
    }


def embed(data: Mapping[str, Any]) -> str:
    """Write data as JSON that no HTML parser can take for markup, whatever names it holds.

    Infinite numbers and NaN have no place in JSON: `rounded` made them null, and others would be refused by `json`.
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def packed(values: np.ndarray) -> dict[str, Any]:
    """Write an array as half-precision numbers, little-endian, in base64: three significant digits, 2 bytes each."""
    return {"shape": list(values.shape), "half": base64.b64encode(values.astype("<f2").tobytes()).decode()}


def packed_size(values: np.ndarray) -> int:
    """Give the number of bytes that `packed` takes in the page."""
    return 4 * -(-2 * values.size // 3)


def rounded(values: np.ndarray) -> Any:
    """Write an array as nested lists with six significant digits, NaN and infinities as None."""
    if values.ndim:
        return [rounded(np.asarray(each)) for each in values]
    value = float(values)
    return float(f"{value:.6g}") if np.isfinite(value) else None


def _colours(name: str) -> str:
    """Write the colours of a scale, low to high, as hexadecimal digits, six for each."""
    levels = 255 if Scale(-1.0, 1.0, "", name).diverging else 256
    low = -1.0 if levels == 255 else 0.0
    ramp = np.linspace(low, 1.0, levels)[None]
    return colourise(ramp, Scale(low, 1.0, "", name))[0, :, :3].tobytes().hex()


def _scale(scale: Scale) -> dict[str, Any]:
    """Write a scale as the script needs it."""
    return {
        "low": scale.low,
        "high": scale.high,
        "unit": scale.unit,
        "colours": scale.colours,
        "beyond": scale.clipped > 0,
        "said": scale.describe(),
    }


def _series(series: Mapping[str, BlockSeries]) -> list[dict[str, Any]]:
    """Write series with their intervals."""
    return [
        {
            "name": name,
            "unit": each.unit,
            "meaning": each.meaning,
            "values": rounded(each.values),
            "low": None if each.low is None else rounded(each.low),
            "high": None if each.high is None else rounded(each.high),
            "interval": each.interval,
        }
        for name, each in series.items()
    ]


def _flows(flows: Flows, reads: str) -> dict[str, Any]:
    """Write for each block what stays and the strongest moves, as (source, target, share)."""
    whole = float(flows.mass[-1].sum()) or 1.0
    steps = [
        [
            [flow.source, flow.target, float(f"{flow.share:.4g}")]
            for flow in strongest_flows(flows, MOST_MOVES, (block, block))
        ]
        for block in range(len(flows.steps))
    ]
    return {
        "reads": reads,
        "grid": list(flows.grid),
        "cell": flows.cell,
        "tokens": list(flows.names),
        "names": [node_words(flows, node) for node in range(flows.mass.shape[1])],
        "mass": rounded(flows.mass / whole),
        "steps": steps,
    }
