"""CKA: how alike two blocks, of one model or of two, lay out the same images. Kornblith et al. 2019, arXiv:1905.00414.

Linear centred kernel alignment, with the estimator of Song et al. 2012 ("Feature selection via dependence
maximization") that few images do not bias upwards, in mini-batches as in Nguyen, Raghu & Kornblith 2021
(arXiv:2010.15327).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import Images
from vitreous.vit.passes import Capture
from vitreous.vit.trace import Trace
from vitreous.vit.vit import Vit

FeatureKind: TypeAlias = Literal["reading", "patches", "tokens"]
OtherImages: TypeAlias = Float[Tensor, "b 3 other_H other_W"]
FEWEST = 4
"""Images in a batch: the estimator divides by n - 3. The other one is held to it as well: of two images, it is 1."""
CONSTANT = 1e-12
"""Features that differ among the images of a batch by less than this share of their size are rounded to no difference.
Only what is the same for all images, as a class token before the first block is, comes out so small in float64."""


@dataclass(frozen=True, eq=False)
class Cka:
    """Alignment of each position of one model with each of another, which may be the same one.

    similarity  positions are the tokens entering each block and, last, those leaving the last one. 1 for features that
                are the same up to rotation and scale, 0 in expectation for independent ones; as nothing pushes it up,
                it can be a little below zero. NaN where the features are the same for all images
    images      how many it was computed from, and `batches` in how many parts
    """

    similarity: Float[Tensor, "m k"]
    images: int
    batches: int


class CkaSums:
    """Sums over mini-batches from which alignment is computed; their size does not depend on how many images come.

    For each batch the unbiased estimates of HSIC are added, weighed by the batch's number of images. Each is unbiased
    whatever the batch, so that another division of the images into batches gives another estimate of the same numbers,
    not the same estimate: it is exact for one batch alone. The ratio of means is not unbiased itself, but what is
    wrong with it vanishes with more batches of any one size; small batches of 8 and more make it noisy, not biased
    (Nguyen et al. use 256). Draw batches at random: batches of one class each measure what varies within classes.
    """

    def __init__(self) -> None:
        self.images = 0
        self.batches = 0
        self._between: Tensor | None = None
        self._first: Tensor | None = None
        self._second: Tensor | None = None

    def add(self, first: list[Float[Tensor, "b _"]], second: list[Float[Tensor, "other _"]] | None = None) -> None:
        """Add one batch of features, for each position one row for each image, of the same images in both lists.

        `second` may be left out if it is `first`. Raises InputError for a batch of fewer than 4 images, and for lists
        of different images.
        """
        count = _paired(first, first if second is None else second)
        one = _centred_kernels(first)
        other = one if second is None else _centred_kernels(second)
        weight = count / (count * (count - 3))
        one, other = one.flatten(1), other.flatten(1)
        self._between = _plus(self._between, weight * one @ other.T)
        self._first = _plus(self._first, weight * one.square().sum(1))
        self._second = _plus(self._second, weight * other.square().sum(1))
        self.images += count
        self.batches += 1

    def result(self) -> Cka:
        """Give the alignment of what was added. Raises InputError if nothing was."""
        if self._between is None or self._first is None or self._second is None:
            raise InputError("There are no images.", "Give at least one batch.")
        sizes = (self._first[:, None] * self._second).sqrt()
        return Cka((self._between / sizes).float(), self.images, self.batches)


def cka(
    vit: Vit,
    batches: Iterable[Images | tuple[Images, OtherImages]],
    other: Vit | None = None,
    features: FeatureKind = "reading",
) -> Cka:
    """Compare the blocks of a model with one another, or with those of another model.

    batches   tensors of images, in batches of at least 4 drawn at random; with `other`, pairs if the two models want
              the same images in different sizes. See `CkaSums` for what the division into batches changes
    other     the second model; None compares the first with itself
    features  one vector for each image and position. "reading": the tokens that the model's head reads, averaged as it
              reads them, which for a class token is NaN before the first block; "patches": the mean of the patch
              tokens; "tokens": all of them, one behind the other, as in Raghu et al. 2021 (arXiv:2108.08810), which
              also compares where things are

    Says that two blocks tell the same images apart in the same directions, not that they compute the same or that
    either matters. Directions of large variance rule it: one outlying channel can decide the number (Davari et al.
    2022, arXiv:2210.16156). Raises InputError for batches that are too small and for unknown features, and
    MethodNotApplicableError for models without plain attention.
    """
    sums = CkaSums()
    for batch in batches:
        images, others = batch if isinstance(batch, tuple) else (batch, batch)
        first = _features(vit, images, features)
        sums.add(first, None if other is None else _features(other, others, features))
    return sums.result()


def linear_cka(first: Float[Tensor, "b d"], second: Float[Tensor, "other e"], debiased: bool = True) -> float:
    """Compare two matrices of features of the same images, one row for each image.

    debiased  whether the estimator of Song et al. is used; without it, the number is that of Kornblith et al., eq. 3,
              which comes near 1 for any features if there are fewer images than channels

    NaN for features that are the same for all images. Raises InputError for fewer than 4 images, and for two matrices
    of different images.
    """
    _paired([first], [second])
    one, other = (_centred_kernels([each], debiased).flatten() for each in (first, second))
    return float(one @ other / (one.norm() * other.norm()))


def features_of(trace: Trace, features: FeatureKind) -> list[Float[Tensor, "b _"]]:
    """Give one vector for each image, for the tokens at each position of a trace; see `cka`."""
    rows = trace.readout.rows
    if features not in get_args(FeatureKind):
        raise InputError(f"features={features!r} is unknown.", f"Use one of {get_args(FeatureKind)}.")
    if features == "reading":
        shares = trace.reading[:, rows].float()
        return [torch.einsum("bn,bnd->bd", shares, tokens.detach()[:, rows].float()) for tokens in trace.tokens]
    if features == "patches":
        return [trace.patches(tokens.detach().float().mT).mean(-1) for tokens in trace.tokens]
    return [tokens.detach().float().flatten(1) for tokens in trace.tokens]


def _features(vit: Vit, images: Images, features: FeatureKind) -> list[Tensor]:
    with vit.trace(images, 0, capture=Capture(graph=False, pixels=False)) as trace:  # the target plays no part
        return features_of(trace, features)


def _paired(first: list[Tensor], second: list[Tensor]) -> int:
    """Give the number of images of a batch; refuse too few, and positions that are not about the same ones."""
    count = len(first[0])
    if count < FEWEST:
        raise InputError(f"A batch has {count} images.", f"Give at least {FEWEST} in each; leave a short rest out.")
    for each in first:
        if len(each) != count:
            raise InputError(f"{count} images were given to one position, {len(each)} to another.", "Pair them.")
    for each in second:
        if len(each) != count:
            raise InputError(f"{count} images were given to one model, {len(each)} to the other.", "Pair them.")
    return count


def _centred_kernels(features: list[Tensor], debiased: bool = True) -> Float[Tensor, "m b b"]:
    """Give one kernel matrix for each position, made so that products of two are estimates of HSIC up to a factor.

    Debiased, the diagonal is left out, and the rest is centred as if it had never been: U-centring (Székely & Rizzo
    2014), whose inner product divided by n(n - 3) is the estimator of Song et al.
    """
    kernels = []
    for each in features:
        rows = (each.cpu() if each.device.type == "mps" else each).flatten(1).double()  # which has no float64
        away = rows - rows.mean(0)
        if float(away.abs().max()) <= CONSTANT * float(rows.abs().max()):
            away = torch.zeros_like(away)
        kernels.append(away @ away.T)
    kernel, count = torch.stack(kernels), len(kernels[0])
    if not debiased:
        return kernel  # the rows were centred
    kernel = kernel - torch.diag_embed(kernel.diagonal(dim1=1, dim2=2))
    sums = kernel.sum(2) / max(count - 2, 1)
    everything = kernel.sum((1, 2)) / max((count - 1) * (count - 2), 1)
    centred = kernel - sums[:, :, None] - sums[:, None] + everything[:, None, None]
    return centred - torch.diag_embed(centred.diagonal(dim1=1, dim2=2))


def _plus(total: Tensor | None, more: Tensor) -> Tensor:
    return more.cpu() if total is None else total + more.cpu()
