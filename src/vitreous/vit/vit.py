"""Vit: an opened model, and where things are in it."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vitreous.core.errors import InputError, MethodNotApplicableError, NonFiniteError
from vitreous.core.preprocessing import Preprocessing
from vitreous.core.shapes import Images, Logits
from vitreous.vit.body import Body
from vitreous.vit.passes import Capture, run_pass
from vitreous.vit.readout import Readout
from vitreous.vit.tap import Edit, Rules
from vitreous.vit.trace import Trace


@dataclass(frozen=True, eq=False)
class Vit:
    """A model that passed the self-check. It is the user's own model, unchanged; nothing of it is copied.

    name            what the user opened, and `source` where its weights came from (file, hub revision)
    digest          sha256 over all parameters and buffers
    prefix, suffix  tokens before and after the patch tokens (class, distillation, register tokens)
    patch, grid     (height, width) of a patch in pixels, and of the grid in patches
    heads           heads of each block
    attention_kind  "sdpa", "multihead" or "handwritten": how the model calls attention
    has_classes     False where the outputs are an embedding
    warnings        what had to be guessed, repeated in every provenance
    """

    body: Body
    name: str
    source: str
    digest: str
    preprocessing: Preprocessing
    prefix: int
    suffix: int
    patch: tuple[int, int]
    grid: tuple[int, int]
    heads: int
    width: int
    outputs: int
    readout: Readout | None
    attention_kind: str
    labels: tuple[str, ...] | None = field(repr=False)
    has_classes: bool = True
    warnings: tuple[str, ...] = ()

    @property
    def model(self) -> nn.Module:
        """The user's model."""
        return self.body.model

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        """The transformer blocks, in the order in which they run; empty if the model has no plain attention."""
        return self.body.blocks

    @property
    def tokens(self) -> int:
        """How many tokens travel through the blocks."""
        return self.prefix + self.grid[0] * self.grid[1] + self.suffix

    @property
    def patch_tokens(self) -> slice:
        """Where the patch tokens are in the sequence: one after the other, row by row of the grid."""
        return slice(self.prefix, self.tokens - self.suffix)

    @property
    def other_tokens(self) -> list[int]:
        """Where the tokens are that are no patches: class, distillation and register tokens, on either side."""
        return [*range(self.prefix), *range(self.tokens - self.suffix, self.tokens)]

    @property
    def plain_readout(self) -> Readout:
        """How the head reads the last tokens. Raises MethodNotApplicableError for models without plain attention."""
        if self.readout is None:
            raise MethodNotApplicableError(
                f"{self.name} has no plain attention over one set of tokens.", "Use a pixel method such as 'saliency'."
            )
        return self.readout

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type the model computes in."""
        return next((p.dtype for p in self.model.parameters() if p.is_floating_point()), torch.float32)

    def prepare(self, images: Images) -> Tensor:
        """Check images (RGB in [0, 1], of the model's size) and turn them into normalised inputs on its device."""
        check_images(images, self.preprocessing.size)
        images = images.detach().to(self.device)
        if self.dtype == torch.float64:
            # Normalised in float32 first, as a float32 model would see it: the two then explain the same input.
            return self.preprocessing.normalise(images.float()).double()
        return self.preprocessing.normalise(images.float()).to(self.dtype)

    def logits(self, images: Images, edit: Edit | None = None) -> Logits:
        """Run the model on images (b, 3, H, W) in [0, 1], optionally with edited attention. No graph is kept."""
        inputs = self.prepare(images)
        if edit is None:
            with torch.no_grad():
                logits = self.body.forward(inputs)
        else:
            logits = run_pass(self.body, inputs, Capture(graph=False), edit=edit, keep=False).logits
        return finite_logits(logits)

    def trace(
        self,
        images: Images,
        target: Any = "predicted",
        rules: Rules | None = None,
        capture: Capture | None = None,
        seed: int = 0,
    ) -> Trace:
        """Run the model once on a batch and keep what explanation methods read. Use it in a `with` block.

        images   (b, 3, H, W), RGB in [0, 1], of the model's size, used as they are
        target   one target, or a list with one for each image; see `vitreous.core.target`
        rules    torch functions to replace during the pass, for instance by ones with an edited backward
        capture  what to keep, if less than everything
        seed     master seed of methods that draw random numbers
        """
        return Trace(self, images, target, rules, capture or Capture(), seed)


def check_images(images: Tensor, size: tuple[int, int]) -> None:
    """Raise InputError unless `images` is a non-empty batch of RGB images in [0, 1] of the given size."""
    check_form(images, size)
    check_values(images)


def check_form(images: Tensor, size: tuple[int, int]) -> None:
    """Raise InputError unless `images` is a non-empty batch of RGB images, as floats, of the given size."""
    if not isinstance(images, Tensor):
        raise InputError(f"images is a {type(images).__name__}.", "Give a tensor (b, 3, H, W) in [0, 1].")
    if images.dim() != 4 or images.shape[1] != 3:
        raise InputError(f"images has shape {tuple(images.shape)}.", "Expected (b, 3, H, W): a batch of RGB images.")
    if images.shape[0] == 0:
        raise InputError("images is an empty batch.", "Give at least one image.")
    if tuple(images.shape[2:]) != tuple(size):
        raise InputError(
            f"images are {tuple(images.shape[2:])} pixels (height, width), and the model wants {tuple(size)}.",
            "Pass photographs, which are fitted, or resize the tensor first.",
        )
    if not images.is_floating_point():
        raise InputError(f"images holds {images.dtype}.", "Divide by 255: images are floats in [0, 1].")


def check_values(images: Tensor) -> None:
    """Raise InputError unless all values are in [0, 1]."""
    images = images.detach()
    if not bool(torch.isfinite(images).all()):
        raise InputError("images contains NaN or infinity.", "Mend the image; nothing was explained.")
    low, high = float(images.detach().min()), float(images.detach().max())
    if low < -1e-3 or high > 1 + 1e-3:
        hint = "Divide by 255." if low >= 0 else "They look normalised already: give them before normalisation."
        raise InputError(f"images has values from {low:.3g} to {high:.3g}, expected [0, 1].", hint)


def finite_logits(logits: Logits) -> Logits:
    """Raise NonFiniteError if the model returned NaN or infinity."""
    bad = (~torch.isfinite(logits).all(1)).nonzero()[:, 0].tolist()
    if bad:
        raise NonFiniteError(
            f"The model returned NaN or infinity for image {bad[0]} of the batch ({len(bad)} in all).",
            "Check the weights, or run the model in float32.",
        )
    return logits
