"""Trace: one batch, one resolved target, one live graph. Every question asked of it is paid for once."""

import hashlib
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from vitreous.core.errors import InputError, MethodNotApplicableError
from vitreous.core.seed import image_generator
from vitreous.core.shapes import Attention, Images, Logits, PatchMap, PerImage, PerToken, Tokens, Values
from vitreous.core.target import ResolvedTarget, resolve_target
from vitreous.vit.ambient import exact
from vitreous.vit.body import is_quantised
from vitreous.vit.known import KnownLinears
from vitreous.vit.passes import Capture, Pass, run_pass
from vitreous.vit.readout import Readout
from vitreous.vit.tap import AttentionCall, Edit, Projection, Rules

if TYPE_CHECKING:
    import vitreous.vit.vit

Result = TypeVar("Result")


class Trace:
    """What a model did with one batch of images, as live nodes of one graph.

    Sequences over blocks start at block `first` (0 unless the capture was limited); use `block(i)` arithmetic with
    care, or negative indices. Gradients are those of `score`, summed over the batch, which is the gradient of each
    image's own score because images do not influence each other (the self-check of `open_vit` proved it).
    """

    def __init__(
        self,
        vit: "vitreous.vit.vit.Vit",
        images: Images,
        target: Any,
        rules: Rules | None,
        capture: Capture,
        seed: int = 0,
        inputs: Tensor | None = None,
    ) -> None:
        from vitreous.vit.vit import finite_logits  # noqa: PLC0415  (a Vit makes traces, and a trace knows its Vit)

        self.vit = vit
        self.images = images
        self.capture = capture
        self.seed = seed
        self.notes: list[list[str]] = [[] for _ in images]
        self._kept: dict[tuple[Hashable, ...], Any] = {}
        self.forwards = 0
        self.backwards = 0
        self._pass: Pass | None = self._run(vit.prepare(images) if inputs is None else inputs, rules)
        self.logits: Logits = finite_logits(self._pass.logits)
        resolved = target if isinstance(target, ResolvedTarget) else None
        with (
            torch.inference_mode(mode=False),
            torch.enable_grad(),
        ):  # the caller's no_grad must not cut the score off
            self.target = resolved or resolve_target(target, self.logits, vit.labels, vit.has_classes, self._blank)
            self.score: PerImage = self.target.score(self.logits)

    def __enter__(self) -> "Trace":  # noqa: PYI034  (beartype cannot check Self on a method)
        """Give the trace itself; the pass has run already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Free the graph and everything kept for it."""
        self.close()

    def close(self) -> None:
        """Free the graph. Afterwards only images, logits, score values and target remain."""
        self._pass = None
        self.logits, self.score = self.logits.detach(), self.score.detach()
        self._kept.clear()
        for name in ("_gradients", "_cut_gradients"):
            self.__dict__.pop(name, None)

    # -- what the pass kept ----------------------------------------------------------------------------------------

    @property
    def first(self) -> int:
        """The first block that was captured."""
        return self.capture.first

    @property
    def inputs(self) -> Tensor:
        """The normalised input (b, 3, H, W), a leaf of the graph if the capture includes pixels."""
        return self._open().inputs

    @property
    def cut(self) -> bool:
        """Whether pixels were to be part of the graph, and the model itself lets no gradient through to them."""
        return self._open().cut

    @property
    def tokens(self) -> tuple[Tokens, ...]:
        """Tokens entering each captured block and leaving the last: one more than there are blocks, "b n d" each."""
        kept = self._open().recording.tokens
        return tuple(kept[position] for position in sorted(kept))

    @property
    def calls(self) -> tuple[AttentionCall, ...]:
        """The attention call of each captured block."""
        calls = self._open().recording.calls
        return tuple(call for call in calls if call.block is not None)

    @property
    def attention(self) -> tuple[Attention, ...]:
        """Attention probabilities of each captured block, "b h n n", rows are queries."""
        return tuple(call.probabilities for call in self.calls)

    @property
    def values(self) -> tuple[Values, ...]:
        """Value vectors of each captured block, "b h n e"."""
        return tuple(call.values for call in self.calls)

    def scores(self, block: int, rows: slice = slice(None)) -> Tensor:
        """Pre-softmax scores of some query tokens in one captured block, "b h rows n". Computed on demand."""
        return self.calls[block].scores(rows)

    @property
    def projections(self) -> tuple[Projection, ...]:
        """The linear layer that mixes the heads' outputs into the stream, for each captured block."""
        found = self._open().recording.projections
        missing = [block for block in range(self.first, len(self.vit.blocks)) if block not in found]
        if missing:
            raise MethodNotApplicableError(
                f"The output projection of the attention of block {missing[0]} could not be seen.",
                "Use a method that reads attention or pixels, for instance 'generic_attention'.",
            )
        return tuple(found[block] for block in sorted(found))

    @property
    def linears(self) -> KnownLinears:
        """Results of linear layers, if the capture includes them; see `KnownLinears`."""
        return self._open().recording.linears

    def between(self, block: int) -> Tokens:
        """Tokens behind the attention of one captured block and before its MLP, "b n d".

        They are what the block normalises next; where it normalises nothing, what the attention adds to what came in.
        """
        found = self._open().recording.between.get(self.first + block)
        if found is not None:
            stream_axis = self.vit.body.anchors[self.first + block].batch_axis
            return found.transpose(0, 1) if stream_axis == 1 else found
        projection = self.projections[block]
        heads = (self.attention[block] @ self.values[block]).transpose(1, 2).flatten(2)
        return self.tokens[block] + F.linear(heads.to(projection.weight.dtype), projection.weight, projection.bias)

    @property
    def attention_inputs(self) -> tuple[Tokens, ...]:
        """What each captured block's attention projects, "b n d": the output of its first norm in pre-norm models."""
        entering = self._open().recording.entering
        missing = [block for block in range(self.first, len(self.vit.blocks)) if block not in entering]
        if missing:
            raise MethodNotApplicableError(
                f"The input of the attention of block {missing[0]} could not be seen.",
                "Use a method that reads attention or pixels, for instance 'generic_attention'.",
            )
        return tuple(entering[block].batch_first(entering[block].node) for block in sorted(entering))

    @property
    def reading(self) -> PerToken:
        """Share of each last token in the prediction, "b n", rows summing to 1; see `Readout`."""
        readout = self.readout
        images = self.logits.shape[0]
        weights = readout.weights.to(self.logits.dtype).to(self.logits.device).repeat(images, 1)
        if readout.kind == "attention":
            pooling = [call for call in self._open().recording.calls if call.block is None]
            weights[:, readout.rows] = pooling[-1].probabilities.detach().to(weights.dtype).mean((1, 2))
        return weights

    @property
    def readout(self) -> Readout:
        """How the head reads the last tokens. Raises MethodNotApplicableError for models without plain attention."""
        return self.vit.plain_readout

    # -- gradients -------------------------------------------------------------------------------------------------

    @property
    def attention_grad(self) -> tuple[Attention, ...]:
        """Gradient of the score with respect to each captured block's probabilities, "b h n n"."""
        return self._gradients["attention"]

    @property
    def attention_grad_cut(self) -> tuple[Attention, ...]:
        """The same gradient with the inputs of every attention cut off: it travels by residual stream and MLPs only."""
        return self._cut_gradients

    @property
    def attention_input_grad(self) -> tuple[Tokens, ...]:
        """Gradient of the score with respect to `attention_inputs`, "b n d" for each captured block."""
        if not self.capture.inputs:
            raise InputError("The trace was captured without attention inputs.", "Trace with Capture(inputs=True).")
        entering = self._open().recording.entering
        found = self._gradients["inputs"]
        return tuple(entering[block].batch_first(grad) for block, grad in zip(sorted(entering), found, strict=True))

    @property
    def tokens_grad(self) -> tuple[Tokens, ...]:
        """Gradient of the score with respect to `tokens`, "b n d": entering each captured block, and leaving the last.

        Zero for tokens that come before the graph begins.
        """
        if not self.capture.tokens:
            raise InputError("The trace was captured without tokens.", "Trace with Capture(tokens=True).")
        return self._gradients["tokens"]

    @property
    def input_grad(self) -> Tensor:
        """Gradient of the score with respect to the normalised input, (b, 3, H, W)."""
        if not self.inputs.requires_grad:
            raise InputError("The trace was captured without pixels.", "Trace with Capture(pixels=True).")
        if self._open().cut:
            raise MethodNotApplicableError(
                "No gradient reaches the pixels: the model cuts it off before its first block, perhaps by detach().",
                "Use a method that reads attention, for instance 'generic_attention'.",
            )
        return self._gradients["pixels"][0]

    @cached_property
    def _gradients(self) -> dict[str, tuple[Tensor, ...]]:
        # All nodes that methods read are asked for in one backward pass: it stops at the deepest of them by itself.
        # Rules may have made attention a constant.
        recording = self._open().recording
        nodes = {
            "attention": self.attention,
            "inputs": [recording.entering[block].node for block in sorted(recording.entering)],
            "tokens": self.tokens,
            "pixels": [self.inputs],
        }
        wanted = {
            "attention": not self._open().tap.rules or all(node.requires_grad for node in self.attention),
            "inputs": self.capture.inputs,
            "tokens": self.capture.tokens,
            "pixels": self.inputs.requires_grad,
        }
        asked = [name for name in nodes if wanted[name]]
        found = iter(self.grad([node for name in asked for node in nodes[name]]))
        return {name: tuple(islice(found, len(nodes[name]))) for name in asked}

    @cached_property
    def _cut_gradients(self) -> tuple[Tensor, ...]:
        with self._open().tap.switch.close():
            return self.grad(list(self.attention))

    def grad(self, nodes: Sequence[Tensor], of: PerImage | None = None) -> tuple[Tensor, ...]:
        """Differentiate `of` (the score by default), summed over the batch, by nodes of this graph.

        A node without influence has gradient zero. Never touches `.grad`. Raises MethodNotApplicableError if the model
        is not differentiable (quantised weights, or a capture without graph).
        """
        explained = self.score if of is None else of
        nodes = list(nodes)
        reached = explained.requires_grad and all(node.requires_grad for node in nodes)
        if not reached or is_quantised(self.vit.model):
            raise MethodNotApplicableError(
                "No gradient reaches the model's inside: it is quantised, scripted, or was traced without a graph.",
                "Use a method that needs no gradient, such as 'rollout'.",
            )
        self.backwards += 1
        with torch.inference_mode(mode=False), exact(explained.device):
            found = self._differentiate(explained.sum(), nodes)
        return tuple(
            torch.zeros_like(node) if gradient is None else gradient
            for node, gradient in zip(nodes, found, strict=True)
        )

    def _differentiate(self, total: Tensor, nodes: list[Tensor]) -> tuple[Tensor | None, ...]:
        try:
            return torch.autograd.grad(total, nodes, retain_graph=True, allow_unused=True)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as problem:
            raise MethodNotApplicableError(
                f"The backward of {self.vit.name} failed: {str(problem).splitlines()[0][:300].rstrip('.')}.",
                "Use a method that needs no gradient, such as 'rollout', or mend the model: nor can it be trained.",
            ) from problem

    # -- further passes --------------------------------------------------------------------------------------------

    def rescore(self, images: Images | None = None, edit: Edit | None = None) -> PerImage:
        """Score of the same target on other images, or with edited attention. Keeps no graph."""
        self.forwards += 1
        return self.target.score(self.vit.logits(self.images if images is None else images, edit))

    def again(
        self,
        images: Images | None = None,
        rules: Rules | None = None,
        inputs: Tensor | None = None,
        capture: Capture | None = None,
    ) -> "Trace":
        """Trace the same target on other images, or under other rules. Its passes are counted here, when it is closed.

        inputs   normalised inputs (b, 3, H, W) to use as they are, of any values, instead of images
        capture  what to keep, if not the same as here
        """
        images = self.images if images is None else images
        return _Again(self, self.vit, images, self.target, rules, capture or self.capture, self.seed, inputs)

    def once(self, key: tuple[Hashable, ...], compute: Callable[[], Result]) -> Result:
        """Give what `compute` gave when first asked for `key`: what several methods read is paid for once."""
        if key not in self._kept:
            self._kept[key] = compute()
        result: Result = self._kept[key]
        return result

    # -- randomness and remarks ------------------------------------------------------------------------------------

    def generators(self, *names: str) -> list[torch.Generator]:
        """One CPU generator for each image, fixed by the master seed, the image's pixels and `names` alone.

        So what a method draws for an image depends neither on the batch nor on the order of images. Nor does it depend
        on the target: maps of two classes differ by the classes, and never by the draw.
        """
        return [image_generator(self.seed, *names, digest) for digest in self._digests]

    @cached_property
    def _digests(self) -> list[str]:
        return [hashlib.sha256(image.float().cpu().numpy().tobytes()).hexdigest() for image in self.images.detach()]

    def note(self, image: int, text: str) -> None:
        """Remark something measured about one image's map, for its record: a completeness error, outlying tokens."""
        self.notes[image].append(text)

    # -- geometry --------------------------------------------------------------------------------------------------

    def to_grid(self, per_token: PerToken) -> PatchMap:
        """Keep the patch tokens of a number per token, "b n", on their grid, "b gh gw"."""
        return self.patches(per_token).reshape(-1, *self.vit.grid)

    def patches(self, per_token: Tensor) -> Tensor:
        """Drop prefix and suffix tokens from the last axis."""
        rows, columns = self.vit.grid
        return per_token[..., self.vit.prefix : self.vit.prefix + rows * columns]

    def _run(self, inputs: Tensor, rules: Rules | None) -> Pass:
        self.forwards += 1
        return run_pass(self.vit.body, inputs, self.capture, rules=rules)

    def _blank(self) -> Logits:
        """Outputs for an image of the mean colour, which normalisation turns into zeros."""
        self.forwards += 1
        with torch.no_grad():
            return self.vit.body.forward(torch.zeros_like(self.inputs[:1]))

    def _open(self) -> Pass:
        if self._pass is None:
            raise InputError("The trace is closed.", "Ask it inside its `with` block.")
        return self._pass


class _Again(Trace):
    """A trace made by another, which pays for its passes."""

    def __init__(self, first: Trace, *arguments: Any) -> None:
        self._first = first
        super().__init__(*arguments)

    def close(self) -> None:
        """Free the graph, and hand the number of passes on."""
        super().close()
        self._first.forwards += self.forwards
        self._first.backwards += self.backwards
        self.forwards = self.backwards = 0
