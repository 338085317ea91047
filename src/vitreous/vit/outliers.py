"""Outlying tokens: patch tokens of a norm far above the others', which attention flocks to. Darcet et al., ICLR 2024.

Large models, or ones that were trained for long, turn a few patches in which there is little to see into
scratch paper for facts about the whole image (arXiv:2309.16588). Their tokens have several times the norm
of the others, and attention to them says little about what is at their place in the image. Models with
trained register tokens have none.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitreous.vit.trace import Trace

TIMES = 3.0
"""A patch token is outlying above this many times the median norm of the patch tokens of its image and block.

The paper's cut is an absolute norm for each model; a multiple of the median needs no such number. DeiT-tiny, in which
there are no such tokens, stays below it: the largest of 650 ImageNet and 64 COCO photographs, over all patches and
blocks, was 2.91 times the median. Multiples of the median absolute deviation would not do: in early blocks, where
norms are almost equal, that model reaches 29 of them.
"""


@dataclass(frozen=True)
class OutlyingToken:
    """A patch token of an outlying norm in what one block gives out.

    block        the block that gave it out, counted from 0
    row, column  its place in the patch grid
    norm         its Euclidean norm, and `times` the same in units of the median of all patch tokens there
    """

    block: int
    row: int
    column: int
    norm: float
    times: float


def outlying_tokens(trace: Trace, times: float = TIMES) -> list[tuple[OutlyingToken, ...]]:
    """Find the outlying patch tokens of each image, in the outputs of all blocks that the trace kept.

    An output is kept if it enters a captured block or leaves the last. Gives one tuple for each image,
    sorted by block and then by place; empty where there are none. What enters the first block is not looked
    at: no block has made it.

    >>> import vitreous as vt
    >>> vit = vt.open_vit("bundled:scenes")
    >>> with vit.trace(torch.rand(1, 3, 96, 96)) as trace:
    ...     outlying_tokens(trace)
    [()]
    """
    kept = _outputs(trace)
    norms = torch.stack([_norms(trace, output) for output in kept], 1)
    ratios = norms / norms.median(-1, keepdim=True).values
    found: list[list[OutlyingToken]] = [[] for _ in range(norms.shape[0])]
    for image, place, patch in (ratios > times).nonzero().tolist():
        row, column = divmod(patch, trace.vit.grid[1])
        size, ratio = float(norms[image, place, patch]), float(ratios[image, place, patch])
        found[image].append(OutlyingToken(kept[place], row, column, size, ratio))
    return [tuple(tokens) for tokens in found]


def outlying_patches(trace: Trace, blocks: range, times: float = TIMES) -> Bool[Tensor, "b gh gw"]:
    """Mark the patches whose token is outlying where one of `blocks` takes it in.

    That is what the attention of these blocks goes to, so the mark depends on them alone, and not on what
    else the trace kept.
    """
    found = torch.zeros(trace.logits.shape[0], *trace.vit.grid, dtype=torch.bool, device=trace.logits.device)
    for output in _outputs(trace):
        if output + 1 in blocks:
            norms = _norms(trace, output)
            found |= (norms > times * norms.median(-1, keepdim=True).values).reshape(found.shape)
    return found


def remark_outlying(trace: Trace, blocks: range) -> None:
    """Note for each image how many outlying tokens `blocks` take in, and how far they stand out; nothing if none."""
    for image, tokens in enumerate(outlying_tokens(trace)):
        read = [token for token in tokens if token.block + 1 in blocks]
        if read:
            places = sorted({(token.row, token.column) for token in read})
            trace.note(
                image,
                f"{len(places)} of {trace.vit.grid[0] * trace.vit.grid[1]} patch tokens have up to "
                f"{max(token.times for token in read):.1f} times the median norm, at (row, column) "
                f"{', '.join(map(str, places[:5]))}{' ...' if len(places) > 5 else ''}: attention to them may say "
                "nothing about these places (arXiv:2309.16588).",
            )


def _outputs(trace: Trace) -> range:
    """The blocks whose output the trace kept."""
    return range(max(trace.first - 1, 0), len(trace.vit.blocks))


def _norms(trace: Trace, output: int) -> Float[Tensor, "b patches"]:
    """Norms of the patch tokens in one block's output, computed once for all methods of a trace."""

    def compute() -> Tensor:
        """In float32 at least: squares of a large norm do not fit into half precision."""
        tokens = trace.tokens[output + 1 - trace.first].detach()
        return trace.patches((tokens if tokens.dtype == torch.float64 else tokens.float()).norm(dim=-1))

    return trace.once(("norms of patch tokens", output), compute)
