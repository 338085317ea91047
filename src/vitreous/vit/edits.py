"""Edits: token dropping. A model is run on some of an image's patches, as if the others had never been there.

What a model makes of a picture with grey or black in it tells about grey and black as well. A transformer can do
without: tokens are a set, and a patch that is left out leaves nothing behind. Where the model allows it the tokens are
taken out of the sequence, which also saves their work; where positions live inside the attention they are hidden there
from all others. Which of the two is right for a model is not looked up but tried out, once for each opened model.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitreous.core.errors import InputError, MethodNotApplicableError
from vitreous.core.shapes import Images, Logits, Tokens
from vitreous.vit.ambient import exact
from vitreous.vit.attention import Operands, ScoreRows
from vitreous.vit.passes import Capture, run_pass
from vitreous.vit.selfcheck import TOLERANCE
from vitreous.vit.tap import Tap
from vitreous.vit.vit import Vit, finite_logits
from vitreous.vit.watch import OnTokens, watch

ScoreChange: TypeAlias = Callable[[Tensor], Tensor]

MOST_TOKENS = 8192
"""Tokens that one pass may hold: about forty images of 224 x 224 in patches of 16. Bounds the memory; results do not
depend on it, beyond rounding."""


@dataclass(frozen=True)
class Dropping:
    """How the patches of an opened model are dropped, and what was measured about it.

    kind        "removed": dropped tokens are taken out in front of the first block, which saves their work.
                "masked": they stay, and nothing attends to them or reads them, which gives the same numbers and saves
                nothing
    difference  largest difference of logits on the probe, relative to the largest (at least 1). For "removed" that
                between removing and masking; for "masked" that made by putting noise in the place of dropped tokens
    nothing     logits "1 k" with every patch dropped: the same for all images, of which nothing is left. A head that
                averages or pools patches and nothing else is given zeros in their place
    why         why tokens could not be removed, if so
    """

    kind: Literal["removed", "masked"]
    difference: float
    nothing: Logits = field(repr=False)
    why: str = ""

    def describe(self) -> str:
        """Say in a sentence how patches are dropped and how that was proved."""
        if self.kind == "removed":
            return (
                "Dropped patches are removed from the sequence before the first block; hiding them from every "
                f"attention gives the same logits within {self.difference:.1g} (relative)."
            )
        return (
            "Dropped patches stay in the sequence, hidden from every attention and from the readout, which saves no "
            f"time: {self.why}. Noise in their place changes the logits by {self.difference:.1g} (relative)."
        )


_KNOWN: weakref.WeakKeyDictionary[Vit, Dropping] = weakref.WeakKeyDictionary()


def token_dropping(vit: Vit) -> Dropping:
    """Find out how patches of this model are dropped, by trying; asked again, the answer is remembered.

    On three random images, of which one patch, half the patches or all but one are kept, it is proved that hiding
    nothing changes nothing, and that with dropped tokens hidden no noise in their place matters. If removing them gives
    the logits of hiding them, they are removed from then on.

    Raises MethodNotApplicableError if dropped patches can be kept from the prediction in neither way, or if the model
    has no plain attention over one set of tokens.
    """
    if vit not in _KNOWN:
        _KNOWN[vit] = _try_out(vit)
    return _KNOWN[vit]


def drop_tokens(vit: Vit, images: Images, keep: Bool[Tensor, "b p"]) -> Logits:
    """Give the logits of images of which only the patches `keep` are seen, in row-major order of the grid.

    Kept patches stay where they were: they carry their own positions. Each image may keep another number of patches.
    Raises as `token_dropping`, and InputError for a `keep` of another size than the grid.
    """
    owner = torch.arange(images.shape[0])
    return dropped_logits(vit, vit.prepare(images), owner, keep)


def dropped_logits(
    vit: Vit, inputs: Float[Tensor, "b 3 H W"], owner: Int[Tensor, " m"], keep: Bool[Tensor, "m p"]
) -> Float[Tensor, "m k"]:
    """Do the same for many sets of patches of a few normalised images; set i is of image `owner[i]`."""
    patches = vit.grid[0] * vit.grid[1]
    if keep.shape[1] != patches:
        raise InputError(f"keep is about {keep.shape[1]} patches.", f"{vit.name} has {patches}, row by row.")
    dropping = token_dropping(vit)
    keep, owner = keep.to(inputs.device), owner.to(inputs.device)
    run = _removed if dropping.kind == "removed" else _masked
    found = dropping.nothing.repeat(len(keep), 1)
    by_count = dropping.kind == "removed" or _averages_patches(vit)
    for rows in _chunks(keep, by_count, rows_per_pass(vit)):
        found[rows] = run(vit, inputs[owner[rows]], keep[rows])
    return finite_logits(found)


def rows_per_pass(vit: Vit) -> int:
    """Say how many images one pass may hold. An input counts as a token for every 16 x 16 pixels at the least."""
    height, width = vit.preprocessing.size
    return max(1, MOST_TOKENS // max(vit.tokens, height * width // 256))


def _chunks(keep: Tensor, by_count: bool, most: int) -> Iterator[Tensor]:
    """Group the rows that keep any patch, at most `most` together; if asked, each group keeps equally many patches."""
    rows = keep.any(1).nonzero()[:, 0]
    counts = keep[rows].sum(1) * int(by_count)
    for count in sorted(set(counts.tolist())):
        group = rows[counts == count]
        yield from group.chunk(-(-len(group) // most))


# -- trying out --------------------------------------------------------------------------------------------------------


def _try_out(vit: Vit) -> Dropping:
    """Prove that masking works, then see whether removing gives the same."""
    if not vit.blocks:
        raise MethodNotApplicableError(
            f"{vit.name} has no plain attention over one set of tokens: none of its patches can be dropped.",
            "Use a pixel method such as 'saliency'.",
        )
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(3, 3, *vit.preprocessing.size, generator=generator).to(vit.device, vit.dtype)
    patches = vit.grid[0] * vit.grid[1]
    place = torch.rand(3, patches, generator=generator).argsort(1).argsort(1).to(vit.device)
    keep = place < torch.tensor([[1], [max(1, patches // 2)], [max(1, patches - 1)]], device=vit.device)
    # Of one block alone: nothing but the logits and the type computed in is asked for.
    watched = run_pass(vit.body, inputs, Capture(first=len(vit.blocks) - 1, graph=False))
    # A model may compute in a lower type than its inputs have, by an autocast of its own.
    tolerance = max(TOLERANCE[dtype] for dtype in {inputs.dtype, *(call.dtype for call in watched.recording.calls)})
    masked, leak = _masked_probe(vit, inputs, keep, watched.logits, generator)
    if not leak <= tolerance:  # also true for NaN
        raise MethodNotApplicableError(
            f"Patches of {vit.name} cannot be dropped: hidden from every attention they still change its logits by "
            f"{leak:.2g} (relative).",
            "Fill them instead: fill='mean', 'blur' or 'black'.",
        )
    nothing = finite_logits(_masked(vit, inputs[:1], torch.zeros_like(keep[:1])))
    difference, why = _difference_of_removing(vit, inputs, keep, masked)
    if difference <= tolerance:
        return Dropping("removed", difference, nothing)
    return Dropping("masked", leak, nothing, why or f"without them the logits differ by {difference:.2g}")


def _masked_probe(
    vit: Vit, inputs: Tensor, keep: Tensor, plain: Logits, generator: torch.Generator
) -> tuple[Logits, float]:
    """Give the logits of masking, and the most by which hiding nothing, or noise behind the mask, changes logits."""

    def noise(tokens: Tokens) -> Tokens:
        return torch.randn(tokens.shape, generator=generator).to(tokens)

    try:
        everything = _masked(vit, inputs, torch.ones_like(keep))
        masked, disturbed = (_one_by_one(vit, partial(_masked, noise=how), inputs, keep) for how in (None, noise))
    except torch.OutOfMemoryError:
        raise
    except Exception as problem:
        raise MethodNotApplicableError(
            f"Patches of {vit.name} cannot be dropped: with some hidden, the model failed with {_first_line(problem)}.",
            "Fill them instead: fill='mean', 'blur' or 'black'.",
        ) from problem
    return masked, max(_relative(everything, plain), _relative(disturbed, masked))


def _difference_of_removing(vit: Vit, inputs: Tensor, keep: Tensor, masked: Logits) -> tuple[float, str]:
    """Compare removing with masking; a model that cannot do without its tokens may fail in any way, and says why."""
    try:
        return _relative(_one_by_one(vit, _removed, inputs, keep), masked), ""
    except torch.OutOfMemoryError:
        raise
    except Exception as problem:  # noqa: BLE001  (whatever it is, it is the answer to the question)
        return float("inf"), f"without them the model fails with {_first_line(problem)}"


def _one_by_one(vit: Vit, run: Callable[[Vit, Tensor, Tensor], Logits], inputs: Tensor, keep: Tensor) -> Logits:
    rows = range(len(keep))
    return torch.cat([run(vit, inputs[row : row + 1], keep[row : row + 1]) for row in rows])


def _relative(found: Logits, expected: Logits) -> float:
    return float((found - expected).abs().max()) / max(1.0, float(expected.abs().max()))


def _first_line(problem: Exception) -> str:
    text = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {text[0][:120].rstrip('.')}" if text else type(problem).__name__


# -- the two ways ------------------------------------------------------------------------------------------------------


def _removed(vit: Vit, inputs: Tensor, keep: Tensor) -> Logits:
    """Take dropped tokens out in front of the first block, behind the position embedding. Rows keep equally many."""
    kept = _kept_tokens(vit, keep)

    def on_tokens(position: int, tokens: Tokens) -> Tensor | None:
        return _only(tokens, kept) if position == 0 else None

    return _run(vit, inputs, on_tokens, nullcontext())


def _masked(vit: Vit, inputs: Tensor, keep: Tensor, noise: Callable[[Tokens], Tokens] | None = None) -> Logits:
    """Hide dropped tokens from every attention, and from heads that average patches. `noise` takes their place."""
    kept, last = _kept_tokens(vit, keep), len(vit.blocks)
    tap = _Rescoring()
    lost = not bool(keep.any()) and _reads_patches_alone(vit)

    def hide(scores: Tensor) -> Tensor:
        first = 0 if scores.shape[-1] == vit.tokens else vit.prefix  # a pooling attention may see patches alone
        return scores.masked_fill(~kept[:, None, None, first : first + scores.shape[-1]], -torch.inf)

    def on_tokens(position: int, tokens: Tokens) -> Tensor | None:
        tap.enter_block(None if position == last else position, tokens.shape[0])
        tap.change = hide if position < last or not (_averages_patches(vit) or lost) else None
        if position == 0 and noise is not None:
            return torch.where(kept[..., None], tokens, noise(tokens))
        if tap.change is not None:
            return None
        return tokens.masked_fill(~kept[..., None], 0) if lost else _only(tokens, kept)

    return _run(vit, inputs, on_tokens, tap)


def rescored_logits(vit: Vit, inputs: Float[Tensor, "m 3 H W"], change: ScoreChange) -> Float[Tensor, "m k"]:
    """Run normalised inputs with the scores of every block's attention changed before the softmax.

    `change` is given scores "m h n n" with keys in the last axis. A pooling attention behind the blocks is left alone.
    """
    tap, last = _Rescoring(), len(vit.blocks)

    def on_tokens(position: int, tokens: Tokens) -> None:
        tap.enter_block(None if position == last else position, tokens.shape[0])
        tap.change = change if position < last else None

    return finite_logits(_run(vit, inputs, on_tokens, tap))


def _run(vit: Vit, inputs: Tensor, on_tokens: OnTokens, tap: AbstractContextManager[object]) -> Logits:
    with torch.inference_mode(mode=False), torch.no_grad(), tap, watch(vit.body.anchors, on_tokens):
        return vit.body.forward(inputs)


def _kept_tokens(vit: Vit, keep: Tensor) -> Tensor:
    """Say of every token whether it is kept, "m n": tokens that are no patches always are."""
    around = [keep.new_ones(len(keep), count) for count in (vit.prefix, vit.suffix)]
    return torch.cat([around[0], keep, around[1]], 1)


def _only(tokens: Tensor, kept: Tensor) -> Tensor:
    return tokens[kept].reshape(len(tokens), -1, tokens.shape[2])


def _averages_patches(vit: Vit) -> bool:
    """Whether the head reads patches by other means than attention, so that it has to be given the kept ones only."""
    return vit.readout is not None and vit.readout.kind in {"mean", "token and mean"}


def _reads_patches_alone(vit: Vit) -> bool:
    """Whether the head averages or pools patches and no other tokens, and can do nothing without any of them."""
    if vit.readout is None or vit.readout.kind == "token":
        return False
    reads = vit.readout.weights.clone()
    reads[vit.prefix : vit.tokens - vit.suffix] = 0
    return vit.readout.kind == "token and mean" or not bool(reads.any())


class _Rescoring(Tap):
    """Answers attention calls with the softmax of changed scores, while there is a change to make.

    A pooling attention behind the blocks is answered alike.
    """

    def __init__(self) -> None:
        super().__init__(keep=False)
        self.change: ScoreChange | None = None

    @property
    def _open(self) -> bool:
        return self.change is not None

    def _attend(self, kind: str, operands: Operands, whole: bool) -> tuple[Tensor, Tensor]:
        del kind, whole
        with exact(operands.query.device):
            probabilities = self._softmax(operands.scores())
            return probabilities @ operands.value, probabilities

    def _through(
        self, kind: str, probabilities: Tensor, values: Tensor, scores: ScoreRows, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Answer attention that the model writes out itself: the softmax is taken a second time."""
        del kind, dtype
        return self._softmax(scores(slice(None))).to(probabilities.dtype), values

    def _softmax(self, scores: Tensor) -> Tensor:
        """Give probabilities; a token that may attend to none gets zeros, as in PyTorch's operators."""
        changed = scores if self.change is None else self.change(scores)
        nothing = changed.amax(-1, keepdim=True) == -torch.inf
        return changed.masked_fill(nothing, 0).softmax(-1).masked_fill(nothing, 0)
