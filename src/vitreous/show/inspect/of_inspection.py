"""The page of one inspection: its numbers brought into the form that the page is drawn from."""

import io

import numpy as np
from PIL import Image
from torch import Tensor

from vitreous._inspection import Inspection
from vitreous.analysis.context import Dependence
from vitreous.show.inspect.content import InspectContent, LensBlock, Prediction
from vitreous.show.inspect.page import ATTENTION_LIMIT, write_inspect_page
from vitreous.show.plots.numbers import BlockSeries, Focus, HeadNumber, Relations
from vitreous.show.words import format_value, percent

LIMITS = (
    (
        "Attention is what tokens take values with. It is not evidence for the class: a place that is attended to need"
        " not matter, and one that matters may get little attention. Only the effect of silencing heads and of removing"
        " objects comes from an intervention."
    ),
    (
        "All numbers are about this one image. A head may do something else on another: average over a data set before"
        " anything is said about the model."
    ),
    "Tokens of late blocks need not be about the place they started from any more.",
)


def page_of(inside: Inspection, attention_limit: int = ATTENTION_LIMIT) -> str:
    """Write the page of an inspection; see `write_inspect_page`."""
    return write_inspect_page(content_of(inside), attention_limit)


def content_of(inside: Inspection) -> InspectContent:
    """Bring an inspection into plain arrays, names and sentences."""
    record, frame = inside.provenance, inside.frame
    prefix = _prefix(inside)
    patches = frame.grid[0] * frame.grid[1]
    readings = inside.readings[..., prefix : prefix + patches].reshape(*inside.readings.shape[:2], *frame.grid)
    return InspectContent(
        title=record.image,
        photo=_png(inside.image),
        grid=frame.grid,
        model=record.model,
        target=record.target,
        predictions=tuple(Prediction(each.label, each.probability, each.logit) for each in record.predictions),
        readings=_array(readings),
        reads=inside.reads,
        numbers={
            name.replace("_", " "): HeadNumber(_array(each.values), each.unit, each.meaning, each.signed)
            for name, each in inside.numbers.items()
        },
        prefix=inside.tokens[:prefix],
        suffix=inside.tokens[prefix + patches :],
        attention=None if inside.attention is None else _array(inside.attention),
        reading=_array(inside.reading),
        focus=_focus(inside),
        series=_series(inside),
        agreement=_agreement(inside),
        converging=_array(inside.agreement.converging[0]),
        lens_of=inside.explained,
        lens=_lens(inside),
        relations=_relations(inside),
        facts=facts_of(inside),
        provenance=_provenance(inside),
        limits=(*inside.left_out, *LIMITS),
    )


def _prefix(inside: Inspection) -> int:
    return next(place for place, name in enumerate(inside.tokens) if name.startswith("patch "))


def _array(values: Tensor) -> np.ndarray:
    return np.asarray(values.detach().cpu().float().numpy(), dtype=np.float64)


def _png(image: Tensor) -> bytes:
    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "PNG")
    return out.getvalue()


def _focus(inside: Inspection) -> Focus:
    """Give the focus in patches, as the page draws it."""
    high, wide = inside.frame.patch
    centre = _array(inside.focus.centre[0]) / np.array([high, wide])
    return Focus(centre, _array(inside.focus.spread[0]) / float(np.sqrt(high * wide)))


def _series(inside: Inspection) -> dict[str, BlockSeries]:
    focus = inside.focus
    found = {
        "spread": BlockSeries(
            _array(focus.spread[0]), "pixels of the model input",
            f"Root mean square distance from the centre of attention; {focus.even_spread:.0f} if it is even.",
        ),
        "entropy": BlockSeries(
            _array(focus.entropy[0]),
            "share of that of even attention",
            "1 if all patches get alike, 0 if one gets all.",
        ),
        "rank correlation with the next block": BlockSeries(
            np.append(_array(focus.rank[0]), np.nan), "Spearman's correlation",
            "1 where the next block ranks the patches in the same order.",
        ),
    }  # fmt: skip
    if focus.overlap is not None and focus.chance is not None:
        found["on the first object"] = BlockSeries(
            _array(focus.overlap[0]),
            "share of attention to patches",
            f"What lies on {inside.objects[0]}; {percent(float(focus.chance[0]), 0)} of the area is its.",
        )
    if focus.prefix_mass is not None:
        found["attention to class and register tokens"] = BlockSeries(
            _array(focus.prefix_mass[0]), "share of attention", "What is not on the maps."
        )
    return found


def _agreement(inside: Inspection) -> dict[str, BlockSeries]:
    concordance = _array(inside.agreement.concordance[0])
    if np.isnan(concordance).all():
        return {}
    heads = inside.readings.shape[1]
    meaning = f"Kendall's W of the heads of a block: 1 if they rank patches alike, {1 / heads:.2f} by chance."
    return {"agreement of heads": BlockSeries(concordance, "Kendall's W", meaning)}


def _lens(inside: Inspection) -> tuple[LensBlock, ...]:
    """Give what is read behind each block; what enters the first is left out, as it is no block's work."""
    lens = inside.lens
    if lens is None or lens.probability is None or lens.rank is None or lens.top_probability is None:
        return ()
    return tuple(
        LensBlock(
            block=position - 1,
            probability=float(lens.probability[0, position]),
            rank=int(lens.rank[0, position]),
            top=tuple(zip(inside.classes[position], lens.top_probability[0, position].tolist(), strict=True)),
        )
        for position in range(1, lens.score.shape[1])
    )


def _relations(inside: Inspection) -> Relations | None:
    if inside.relations is None:
        return None
    source = "regions of the default method's map, which nobody named" if inside.found else "objects that were named"
    return Relations(
        (*inside.objects, "background"),
        _array(inside.relations.attention),
        "share of the row object's attention",
        f"Attention from the patches of one to those of the other, mean over heads; between {source}.",
    )


def facts_of(inside: Inspection) -> dict[str, str]:
    """Give what stands out, as names and sentences, for the page and for the command line."""
    blocks, heads = inside.readings.shape[:2]
    agreement, patches = inside.agreement, inside.frame.grid[0] * inside.frame.grid[1]
    elsewhere = [f"block {each.block} head {each.head}" for each in agreement.outlying()[0]]
    outliers = [f"{each.name} ({each.times:.1f} times the median)" for each in inside.outliers]
    facts = {
        "Model": (
            f"{counted(blocks, 'block')} of {counted(heads, 'head')}; {len(inside.tokens)} tokens; read: {inside.reads}"
        ),
        "Most agreed patch": (
            f"{percent(float(agreement.agreed[0]), 0)} of all heads have it among the {agreement.top} patches they "
            f"attend to most; on average a patch has {percent(agreement.top / patches, 0)}"
        ),
        "Heads that look elsewhere": ", ".join(elsewhere)
        or (
            "none by the rule of three median absolute deviations"
            if heads > 2
            else "not defined with fewer than three heads in a block"
        ),
        "Tokens of outlying norm": ", ".join(outliers)
        or f"none above three times the median{'' if inside.attention is not None else ', in the last block'}",
    }
    if inside.roles is not None:
        facts["Roles of heads on this image"] = ", ".join(
            f"{name}: {count}" for name, count in inside.roles.counts().items() if count
        )
    return facts | dict(map(_removal, [inside] * len(inside.dependence), inside.dependence)) | _expectations(inside)


def counted(count: int, one: str, several: str = "") -> str:
    """Write a number with its noun.

    >>> counted(1, "head"), counted(3, "head"), counted(2, "patch", "patches")
    ('1 head', '3 heads', '2 patches')
    """
    return f"{count} {one if count == 1 else several or one + 's'}"


def _removal(inside: Inspection, each: Dependence) -> tuple[str, str]:
    """Say what removing one object does to the score, and what as many patches of the background do."""
    name = f"Without {inside.objects[each.object]}"
    if not each.patches:
        return name, "it has no patch of its own that could be taken away"
    moves = "falls" if each.drop >= 0 else "rises"
    told = f"the score {moves} by {format_value(abs(each.drop))} ({counted(each.patches, 'patch', 'patches')})"
    if not each.draws:
        return name, f"{told}; its shape fits nowhere else on the background, so there is nothing to compare with"
    between = f"{format_value(each.low)} to {format_value(each.high)}, {counted(each.draws, 'place')}"
    return name, f"{told}; without the same shape of background it falls by {format_value(each.control)} ({between})"


def _expectations(inside: Inspection) -> dict[str, str]:
    """Say what became of what was expected, in the map of the default method."""
    found = {}
    for each in inside.findings:
        told = each.note if each.status == "unknown" else f"{percent(each.share, 0)} of the positive relevance is there"
        bounds = f"{percent(each.low, 0)} to {percent(each.high, 0)} expected, an even map has {percent(each.area, 0)}"
        reason = f". {each.reason}" if each.reason else ""
        about = "" if each.class_name == "*" else f" ({each.class_name})"
        found[f"Expectation: {each.prior}{about}"] = f"{each.status} ({each.severity}): {told}; {bounds}{reason}"
    return found


def _provenance(inside: Inspection) -> dict[str, str]:
    record = inside.provenance
    return {
        "model": f"{record.model}, weights {record.weights_source}, sha256 {record.weights_digest}",
        "image": f"{record.image}, sha256 {record.image_digest}",
        "preprocessing": ", ".join(f"{name} {value}" for name, value in record.preprocessing.items()),
        "target": f"{record.target}, score {format_value(record.score)}",
        "parameters": ", ".join(f"{name}={value}" for name, value in record.parameters.items()),
        "seed": str(record.seed),
        "passes": (
            f"{record.forwards} forward, {record.backwards} backward, {record.seconds:.1f} s, {record.device}, "
            f"{record.dtype}"
        ),
        "versions": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
        "warnings": "; ".join(record.warnings) or "none",
    }
