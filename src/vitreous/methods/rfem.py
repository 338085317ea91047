"""RFEM: patches that stand out of the rollout of single heads. Ayyar, Benois-Pineau & Zemmari 2025."""

from vitreous.core.shapes import PatchMap
from vitreous.methods._attention import Outliers, attention_between, map_of
from vitreous.methods._filter import Statistics, filtered_rollout
from vitreous.methods._method import method
from vitreous.vit.trace import Trace


@method(
    family="attention",
    paper="arXiv:2510.06070",
    class_specific=False,
    signed=False,
    unit="largest rollout of each head that passes",
    cost="1F + a product of matrices in each head",
    gradient=False,
    block_range=("first", "last"),
)
def rfem(
    trace: Trace,
    k: float = 0.25,
    statistics: Statistics = "matrix",
    head: int | None = None,
    first: int = 0,
    last: int = -1,
    outliers: Outliers = "keep",
) -> PatchMap:
    """Roll each head out by itself, keep what stands out, and add the heads up (equations 2 to 5).

    R_h = (A_L,h + I) … (A_1,h + I), rows not normalised and heads never averaged; F_h is 1 where R_h >= mean
    + k deviations of R_h, and 0 elsewhere: an indicator, not the value. The map is the sum over heads of
    max(R_h) F_h, in the row that the prediction reads.

    k            standard deviations above the mean that an entry has to reach
    statistics   where mean, deviation and maximum are taken: "matrix", over the whole R_h, as the equations
                 have it, or "row", over the patches of the row that is read, as the filter's ancestor FEM does
                 with the positions of a feature map. Of "matrix", the products of matrices take an eighth of
                 a fused forward (ViT-B/16, 8 images, CPU); "row" needs vectors alone, a fortieth
    head         the only head that is followed, counted from 0, or from the end if negative; None adds all up
    first, last  the blocks that are multiplied, both included, counted likewise
    outliers     "mask" replaces what reaches patches whose token has an outlying norm where one of these
                 blocks takes it in by the median of their neighbours, see `vit.outliers`; "keep" does not

    With "matrix", a large k leaves nothing: every token attends to the class token, whose column (in DeiT-tiny
    30 times the others) widens the deviation until no patch passes, and the map is zero. The default is the
    largest of 0, 0.25, 0.5, … within the paper's range (-0.5 to 2) that left none of 160 ImageNet photographs
    empty on DeiT-tiny; 0.5 emptied 46, 1 emptied 147, 2 all of them. "row" emptied none at any k.

    Ignores values, MLPs and the target. Deviations: the paper uses several k; that its deviation is over the
    matrix is read from its equation alone; models without a class token, which it does not treat, average
    the rows as the head reads them. Raises InputError for blocks or a head outside the model.
    """
    blocks, attention = attention_between(trace, first, last, head)
    return map_of(trace, filtered_rollout(trace, attention, k, statistics), blocks, outliers)
