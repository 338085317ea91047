"""Token transformation: attention weighed by how each block changes the length and direction of tokens.

TokenTM, Wu et al., CVPR 2024.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from vitreous.core.shapes import PatchMap, PerToken, Tokens
from vitreous.methods._attention import Outliers, attention_between, handed_over, map_of, one_head
from vitreous.methods._method import method
from vitreous.vit.trace import Trace


@method(
    family="attention and gradient",
    paper="arXiv:2403.14552",
    class_specific=True,
    signed=False,
    unit="token length",
    cost="1F1B",
    block_range=("first", "last"),
)
def token_transformation(
    trace: Trace, head: int | None = None, first: int = 0, last: int = -1, outliers: Outliers = "keep"
) -> PatchMap:
    """Start from the lengths of the first tokens, and apply each block's attention and MLP as updates of them.

    C_0 = diag(|e_i|). Attention: U = I + (E_h[A] W) * E_h[(dA)+]. MLP: U = I + W. In both
    W = diag(|f_i| / |e_i| * softmax_i cos(e_i, f_i)), e a token before and f the same token after the
    transformation; the softmax runs over all tokens of the image. The row of U_L … U_1 C_0 that is read is the map.

    What is transformed: in an attention the tokens e entering the block become f = e W_v W_o, which attention then
    mixes; in an MLP the tokens e before it become f, what it adds to the stream.

    head         the only head that is followed in each block, counted from 0, or from the end if negative; the f of an
                 attention is then what that head alone hands over. None averages all heads, with f from all of them
    first, last  the blocks that are applied, both included, counted likewise; the e_i of C_0 enter the first of them
    outliers     "mask" replaces the values of patches whose token has an outlying norm where one of these
                 blocks takes it in by the median of their neighbours, see `vit.outliers`; "keep" does not

    There is no official code, and no map to compare with: this follows the formulas of the paper, and what counts as
    transformed is our reading of them. Another reimplementation takes the whole stream behind each part for f. Where
    a class token is read, what the skip connections carry stays in that token; otherwise it puts |e_i| under the map,
    the same for every target. Assumes that the block normalises the stream between attention and MLP, as pre-norm
    blocks do. Raises InputError for blocks or a head outside the model, and MethodNotApplicableError where the output
    projection of an attention cannot be seen.
    """
    blocks, matrices = attention_between(trace, first, last, head)
    row = trace.reading.to(trace.attention[0].dtype).unsqueeze(1)
    for block, attention in zip(reversed(blocks), reversed(matrices), strict=True):
        index = block - trace.first
        between = trace.between(index)
        row = row + row * _weights(between, trace.tokens[index + 1] - between).unsqueeze(1)
        weights = _weights(trace.tokens[index], handed_over(trace, index, head))
        mixing = attention.mean(1) * one_head(trace.attention_grad[index], head).clamp(min=0).mean(1)
        row = torch.baddbmm(row, row, mixing * weights.unsqueeze(1))
    lengths = torch.linalg.vector_norm(trace.tokens[blocks.start - trace.first], dim=-1)
    return map_of(trace, row.squeeze(1) * lengths, blocks, outliers)


def _weights(before: Tokens, after: Tensor) -> PerToken:
    """Give the diagonal of W: growth in length times normalised correlation of directions."""
    growth: Tensor = torch.linalg.vector_norm(after, dim=-1) / torch.linalg.vector_norm(before, dim=-1)
    return growth * F.cosine_similarity(before, after, dim=-1).softmax(-1)
