"""CAM: what each patch adds to the logit, where the head is linear on the mean of the patches. Zhou et al. 2016."""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor

from vitreous.core.errors import MethodNotApplicableError
from vitreous.core.shapes import PatchMap, Tokens
from vitreous.methods._method import captured, method
from vitreous.methods._path import last_block_graph
from vitreous.vit.ambient import own_graph
from vitreous.vit.entering import read_out
from vitreous.vit.passes import Capture
from vitreous.vit.tap import Rules
from vitreous.vit.trace import Trace
from vitreous.vit.vit import Vit

_ANSWERS: "WeakKeyDictionary[Vit, str]" = WeakKeyDictionary()
"""Why not, for each model that was asked about: the answer costs a pass, and is the same as long as it lives."""


def _why_not(vit: Vit) -> str:
    """Say why no exact CAM exists for a model; tries it on a blank image if the head reads the mean of the patches."""
    if vit.readout is None:
        return "the model has no plain attention over one set of tokens"
    rows, columns = vit.grid
    beside = vit.readout.weights.clone()
    beside[vit.prefix : vit.prefix + rows * columns] = 0
    if vit.readout.kind != "mean" or bool(beside.any()):
        return f"its head reads the {vit.readout.describe()}, and CAM needs the mean of the patch tokens alone"
    if vit not in _ANSWERS:
        blank = torch.zeros(1, 3, *vit.preprocessing.size)
        with vit.trace(blank, 0, rules=FROZEN, capture=_last_block(vit)) as trace:
            linear = not _slope(trace).requires_grad
        _ANSWERS[vit] = "" if linear else "its head is not linear on the mean of the patch tokens"
    return _ANSWERS[vit]


@method(
    family="gradient",
    paper="arXiv:1512.04150",
    class_specific=True,
    signed=True,
    unit="logit",
    cost="2F + backward of the head",
    gradient=False,
    repeats=True,
    held=last_block_graph,
    applies=_why_not,
)
def cam(trace: Trace, plus: bool = False) -> PatchMap:
    """Split the score into what each patch token behind the last block adds to it, exactly.

    Equation 2 of the paper: where the head is linear on the mean of the patches, the score is a sum over
    patches plus a bias, and so the map sums to the score minus that bias, up to rounding.

    plus  sum the maps of all blocks, each of whose tokens are read as if the block were the last: by the final norm,
          the mean and the head, as a logit lens reads them. The map then sums to the scores of all these readings,
          minus the bias of each. Not in the paper, which has one layer to read: the head was never trained to read
          earlier ones, and what it finds there is a direction rather than evidence. Costs one reading more

    The norm before the head is the one thing that is not linear. Its statistics (deviation of a LayerNorm,
    root mean square of an RMSNorm) are kept as they are for this image, and centring and scale are then linear.
    A norm before the mean has statistics for each patch: the map is the paper's, less a constant. A norm
    behind the mean, as MAE, BEiT and DeiT-III with mean pooling have it, has one number for all patches:
    they share it as a divisor, and the map says nothing of how a patch would change it. The shift of the norm
    belongs to the bias in both cases, while the paper would add the same amount of it to each patch.

    Ignores how a patch token came about: by the last block, attention has mixed all patches. Runs a forward
    pass of its own, in which the statistics are constants. Refuses models whose head reads other tokens or is
    not linear, with MethodNotApplicableError.
    """
    reason = _why_not(trace.vit)
    if reason:
        raise MethodNotApplicableError(f"CAM does not apply to {trace.vit.name}: {reason}.", "Use 'gradcam'.")
    if plus:
        return _of_all_blocks(trace)
    with trace.again(rules=FROZEN, capture=_last_block(trace.vit)) as behind:
        tokens = behind.tokens[-1].detach()
        return trace.to_grid((_slope(behind).detach() * tokens).sum(-1))


def _of_all_blocks(trace: Trace) -> PatchMap:
    """Read what leaves each block as if it were the last, all in one go, and add up their maps."""
    images, leaving = len(trace.images), trace.tokens[1 + captured(trace, 0) :]
    trace.forwards += 1
    with own_graph():
        tokens = torch.cat([block.detach() for block in leaving]).requires_grad_()
        logits = read_out(trace.vit.body, trace.inputs.detach(), tokens, rules=FROZEN)
        scores = torch.stack([trace.target.score(part) for part in torch.split(logits, images)])
        (slope,) = torch.autograd.grad(scores.sum(), tokens)
    each = (slope * tokens.detach()).sum(-1)
    return trace.to_grid(each.reshape(len(leaving), images, -1).sum(0))


def _slope(trace: Trace) -> Tokens:
    """Differentiate the score by the last tokens; a result that requires a gradient itself depends on them.

    The gradient of a linear function is a constant, and no node of any graph: so autograd itself tells whether
    the head is linear, for every image at once.
    """
    with own_graph():
        (found,) = torch.autograd.grad(trace.score.sum(), trace.tokens[-1], create_graph=True)
    return found


def _last_block(vit: Vit) -> Capture:
    """A graph that begins at the last block, the others being fused and unwatched.

    It could begin behind it; but where the model's owner hung a backward hook on that block, PyTorch would then
    warn that no input of the block requires a gradient.
    """
    return Capture(first=len(vit.blocks) - 1, pixels=False, inputs=False, tokens=True)


def _layer_norm(
    tokens: Tensor, shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """F.layer_norm, whose deviation is a constant for the backward."""
    if not tokens.requires_grad:
        return F.layer_norm(tokens, shape, weight, bias, eps)
    axes = tuple(range(-len(shape), 0))
    centred = tokens - tokens.mean(axes, keepdim=True)
    normed = centred / (centred.detach().square().mean(axes, keepdim=True) + eps).sqrt()
    scaled = normed if weight is None else normed * weight
    return scaled if bias is None else scaled + bias


def _rms_norm(tokens: Tensor, shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """F.rms_norm, whose root mean square is a constant for the backward."""
    if not tokens.requires_grad:
        return F.rms_norm(tokens, shape, weight, eps)
    axes = tuple(range(-len(shape), 0))
    offset = torch.finfo(tokens.dtype).eps if eps is None else eps
    normed = tokens / (tokens.detach().square().mean(axes, keepdim=True) + offset).sqrt()
    return normed if weight is None else normed * weight


FROZEN: Rules = {F.layer_norm: _layer_norm, F.rms_norm: _rms_norm}
