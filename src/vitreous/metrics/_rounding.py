"""Rounding: what is equal but for the last digits is made equal, where ties count."""

from jaxtyping import Float
from torch import Tensor, where


def without_rounding(values: Float[Tensor, "b *n"], largest: Float[Tensor, "b *one"]) -> Float[Tensor, "b *n"]:
    """Round to 12 digits of `largest`, one number for each image that broadcasts; where it is 0, change nothing."""
    step = largest * 2.0**-40
    return where(step > 0, (values / step).round() * step, values)
