"""Readout: which tokens of the last block the prediction is read from."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Readout:
    """How the head reads the last tokens; attention methods start from these rows.

    kind     "token" (class token, or the mean of several such tokens), "mean" (mean of patch tokens),
             "token and mean" (both, half each) or "attention" (a pooling attention with its own query)
    weights  share of each token, summing to 1; for "attention" the shares depend on the image and are uniform here
    """

    kind: Literal["token", "mean", "token and mean", "attention"]
    weights: Float[Tensor, " n"]

    @property
    def rows(self) -> slice:
        """The shortest range of tokens that holds every token read."""
        read = self.weights.nonzero()[:, 0]
        return slice(int(read[0]), int(read[-1]) + 1)

    def describe(self) -> str:
        """Say in words where the prediction is read."""
        read = len(self.weights.nonzero())
        return {
            "token": "class token" if read == 1 else f"mean of {read} class tokens",
            "mean": "mean of the patch tokens",
            "token and mean": "class token and mean of the patch tokens, half each",
            "attention": "pooling attention over the tokens",
        }[self.kind]
