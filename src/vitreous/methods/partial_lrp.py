"""Partial LRP: relevance of the class token's attention in the last block, propagated no further. Voita et al. 2019."""

from vitreous.core.shapes import PatchMap
from vitreous.methods._method import captured, method
from vitreous.methods._reading import read_rows
from vitreous.methods._zplus import Precision, computes_again, held_from_last_block, propagate
from vitreous.vit.trace import Trace


@method(
    family="relevance propagation",
    paper="arXiv:1905.09418",
    class_specific=True,
    signed=lambda parameters: not parameters["relu"],
    unit="relevance",
    cost="2F + backward of one block by rules",
    gradient=False,
    repeats=True,
    linears=computes_again,
    held=held_from_last_block,
)
def partial_lrp(trace: Trace, relu: bool = True, precision: Precision = "double") -> PatchMap:
    """Average the positive relevance of the last attention over heads, in the class token's row.

    Voita et al. stop relevance at attention to find the heads that matter; Chefer et al. 2021 (arXiv:2012.09838) read
    the row of the class token as a map, which is done here, with the rules of `vit/rules/zplus.py` and 1 at the target.
    Ignores all blocks but the last. Models without a class token average the rows that the head reads.

    relu       keep positive relevance of each head alone, as published; False gives the signed mean
    precision  of the relevance pass. Few sums cancel on this short way: "single" is usually right to 4 digits. "mixed",
               see `transformer_attribution`, gains little here, where one block is all that relevance passes through

    Deviations: as in `transformer_attribution`, the residual rule goes by image, and a contrast is the difference of
    two propagations. Raises MethodNotApplicableError if the model computes with an operator without a rule.
    """
    (relevance,) = propagate(trace, trace.first + captured(trace, -1), precision).attention
    kept = relevance.clamp(min=0) if relu else relevance
    return trace.to_grid(read_rows(trace, kept.mean(1))).to(trace.score.dtype)
