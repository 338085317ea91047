"""Inspection: what one image does inside a model, as numbers with their units, and as a page."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vitreous.analysis.context import Dependence
from vitreous.analysis.focus import Focus
from vitreous.analysis.head_agreement import HeadAgreement
from vitreous.analysis.head_roles import HeadRoles
from vitreous.analysis.logit_lens import LogitLens
from vitreous.analysis.prior_agreement import Finding
from vitreous.analysis.relations import Relations
from vitreous.analysis.token_query import Outlier
from vitreous.core.errors import OutputExistsError
from vitreous.core.frame import Frame
from vitreous.core.heatmap_file import write_whole
from vitreous.core.provenance import Provenance


@dataclass(frozen=True, eq=False)
class HeadNumber:
    """One number of every head.

    values   "l h"; NaN where a head has none
    unit     of the values
    meaning  one sentence on what a large value is, and what it is not
    signed   whether values below zero mean something of their own
    """

    values: Float[Tensor, "l h"]
    unit: str
    meaning: str
    signed: bool = False


@dataclass(frozen=True, eq=False)
class Inspection:
    """What one image does inside a model. Blocks and heads are counted from 0.

    provenance   model, image, target, parameters, versions, passes and seconds
    frame        where the patches lie on the photograph
    image        "3 H W" in [0, 1]: what the model saw, before its normalisation
    tokens       names of all tokens, as `analysis.token_query.name_tokens` gives them
    reading      " n", share of each token in what the model's head reads, and `reads` the same in words
    readings     "l h n", what the tokens that are read attend to in each block and head
    attention    "l n n", attention averaged over heads, rows are queries; None if it was read by rows and not kept
    numbers      of the heads, by name
    roles        of the heads, from this one image; None if attention was read by rows
    agreement    between heads and between blocks, of a batch of one
    focus        where each block looks, of a batch of one; its overlap is with the first of the named objects
    lens         class evidence by block, of a batch of one; None if attention was read by rows
    classes      names of the classes in `lens.top`, for each position
    explained    the class that the score is of; of a contrast, the one that it is for, as in `lens`. Empty for an
                 embedding
    outliers     patches whose tokens have an outlying norm
    objects      names of the objects, and `found` whether they are regions of a map and nobody named them
    relations    attention between them; None without objects
    dependence   what the score loses without each of them
    findings     what became of what was expected of the class, in the default method's map
    left_out     sentences: what is not there, and why
    """

    provenance: Provenance
    frame: Frame
    image: Float[Tensor, "3 H W"]
    tokens: tuple[str, ...]
    reading: Float[Tensor, " n"]
    reads: str
    readings: Float[Tensor, "l h n"]
    attention: Float[Tensor, "l n n"] | None
    numbers: Mapping[str, HeadNumber]
    roles: HeadRoles | None
    agreement: HeadAgreement
    focus: Focus
    lens: LogitLens | None
    classes: tuple[tuple[str, ...], ...]
    explained: str
    outliers: tuple[Outlier, ...]
    objects: tuple[str, ...]
    found: bool
    relations: Relations | None
    dependence: tuple[Dependence, ...]
    findings: tuple[Finding, ...]
    left_out: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """Give every number but the attention itself, as plain lists and dicts that JSON can hold; NaN is None."""
        agreement, focus = self.agreement, self.focus
        found: dict[str, Any] = {
            "provenance": self.provenance.model_dump(),
            "heads": {
                name: {"unit": each.unit, "meaning": each.meaning, "values": each.values}
                for name, each in self.numbers.items()
            },
            "roles": None if self.roles is None else [
                [[asdict(role) for role in head] for head in block] for block in self.roles.heads
            ],
            "agreement": {
                "kendall_w": agreement.concordance[0],
                "kendall_w_all_heads": float(agreement.overall[0]),
                "divergence_of_blocks": agreement.block_divergence[0],
                "converging": agreement.converging[0],
                "agreed": float(agreement.agreed[0]),
                "agreed_by_chance_at_most": float(agreement.chance[0]),
                "patches_that_count": agreement.top,
                "isolation": agreement.isolation[0],
                "outlying_heads": [asdict(each) for each in agreement.outlying()[0]],
            },
            "focus": {
                "centre": focus.centre[0], "spread": focus.spread[0], "entropy": focus.entropy[0],
                "rank_with_next": focus.rank[0], "divergence_from_next": focus.divergence[0],
                "prefix_mass": None if focus.prefix_mass is None else focus.prefix_mass[0],
                "overlap": None if focus.overlap is None else focus.overlap[0],
                "overlap_by_area": None if focus.chance is None else float(focus.chance[0]),
            },
            "lens": None if self.lens is None else {
                "score": self.lens.score[0],
                "probability": None if self.lens.probability is None else self.lens.probability[0],
                "rank": None if self.lens.rank is None else self.lens.rank[0],
                "of": self.explained,
                "classes": self.classes,
                "probabilities": None if self.lens.top_probability is None else self.lens.top_probability[0],
            },
            "outliers": [asdict(each) for each in self.outliers],
            "objects": {"names": self.objects, "found_by_a_map": self.found},
            "relations": None if self.relations is None else {
                "attention": self.relations.attention, "lift": self.relations.lift, "reading": self.relations.reading,
                "reading_lift": self.relations.reading_lift, "centres": self.relations.centres,
                "shares": self.relations.shares,
            },
            "dependence": [{"name": self.objects[each.object], **asdict(each)} for each in self.dependence],
            "expectations": [{**asdict(each), "even_map_meets": each.even_meets} for each in self.findings],
            "left_out": self.left_out,
        }  # fmt: skip
        plain: dict[str, Any] = _plain(found)
        return plain

    def page(self) -> str:
        """Write the page as one string of HTML, which needs neither network nor scripts."""
        from vitreous.show.inspect.of_inspection import page_of  # noqa: PLC0415  (drawn only when asked for)

        return page_of(self)

    def save(self, stem: str | Path, overwrite: bool = False) -> tuple[Path, Path]:
        """Write STEM.html, the page, and STEM.json, the numbers of `record`. Missing folders are made.

        Raises OutputExistsError if either exists and `overwrite` is not given, OutputError if one cannot be written.
        """
        page, numbers = (Path(f"{stem}.{ending}") for ending in ("html", "json"))
        for path in (page, numbers):
            if path.exists() and not overwrite:
                raise OutputExistsError(f"{path} exists already.", "Give another name, or overwrite=True.")
        write_whole(page, self.page().encode(), overwrite)
        write_whole(numbers, json.dumps(self.record(), indent=1, allow_nan=False).encode(), overwrite)
        return page, numbers


def _plain(value: Any) -> Any:
    """Turn tensors and tuples into lists, and what is not finite into None."""
    if isinstance(value, Tensor):
        return _plain((value.float() if value.dtype == torch.bfloat16 else value).tolist())
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
