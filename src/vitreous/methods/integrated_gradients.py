"""Integrated gradients: each pixel's share of the way from a blank image's score to this one's. Sundararajan 2017."""

from typing import Literal

import torch
from torch import Tensor

from vitreous.core.errors import InputError
from vitreous.core.shapes import PixelMap
from vitreous.methods._method import method
from vitreous.methods._repeat import fused_graph, gradient_at, score_at
from vitreous.vit.trace import Trace


@method(
    family="gradient",
    paper="arXiv:1703.01365",
    class_specific=True,
    signed=True,
    unit="logit",
    cost="nodes x 1F1B",
    level="pixel",
    gradient=False,
    repeats=True,
    held=fused_graph,
)
def integrated_gradients(trace: Trace, baseline: Literal["zero", "black"] = "zero", nodes: int = 50) -> PixelMap:
    """Integrate the gradient of the score along the straight line from a baseline to the image, times the difference.

    Equation 1: (x - x0) * integral of dS/dx at x0 + a (x - x0) over a from 0 to 1, colour channels added up with
    their signs. The integral is a Gauss-Legendre sum, as captum takes it by default. In theory the map sums to
    S(x) - S(x0); by how much it misses that is measured for each image and written into its record. On ViTs it
    can be much: the score changes abruptly along the path, and 50 nodes step over it.

    baseline  "zero" is zero after normalisation, the mean colour; "black" is the black image. A pixel of the
              baseline's colour gets nothing, however much it matters
    nodes     points on the path, one pass for each; captum's default is 50

    One point of each image's path is run at a time, so memory does not grow with `nodes`. Two further scores
    are computed for the record. Ignores every other path. Written here rather than taken from captum, which
    is not needed for a sum and does not know a trace's targets. Deviation: the quadrature; the paper takes
    a Riemann sum. Raises InputError for nodes below 1 or another baseline.
    """
    if nodes < 1 or baseline not in {"zero", "black"}:
        raise InputError(
            f"integrated_gradients got baseline={baseline!r} and nodes={nodes}.",
            "Expected baseline 'zero' or 'black', and nodes >= 1.",
        )
    inputs = trace.inputs.detach()
    start = torch.zeros_like(inputs)
    if baseline == "black":
        start = trace.vit.prepare(torch.zeros_like(trace.images))
    way = inputs - start
    total = torch.zeros_like(inputs)
    for place, weight in zip(*(part.tolist() for part in gauss_legendre(nodes)), strict=True):
        total = total + weight * gradient_at(trace, start + place * way)
    found = (way * total).sum(1)
    _note_completeness(trace, found, score_at(trace, start))
    return found


def gauss_legendre(nodes: int) -> tuple[Tensor, Tensor]:
    """Places and weights of the Gauss-Legendre sum on [0, 1], exact for polynomials up to degree 2 nodes - 1.

    After Golub and Welsch (1969): places are the eigenvalues of the matrix of the three-term recurrence, and
    weights the squared first components of its eigenvectors.

    >>> gauss_legendre(2)[0].tolist()
    [0.21132486540518708, 0.7886751345948129]
    """
    order = torch.arange(1, nodes, dtype=torch.float64)
    beside = order / (4 * order.square() - 1).sqrt()
    values, vectors = torch.linalg.eigh(torch.diag(beside, 1) + torch.diag(beside, -1))
    return (values + 1) / 2, vectors[0].square()


def _note_completeness(trace: Trace, found: PixelMap, before: Tensor) -> None:
    """Write down by how much each map's sum misses the difference of scores that it should explain."""
    for image, (sum_, last, first) in enumerate(
        zip(found.flatten(1).sum(1).tolist(), trace.score.tolist(), before.tolist(), strict=True)
    ):
        text = f"completeness error {sum_ - (last - first):+.3g} of a score difference of {last - first:.3g}"
        trace.note(image, text)
