"""Where the contract of methods does not hold, each with the reason. Nothing is left out of it anywhere else."""

INAPPLICABLE: dict[str, tuple[str, ...]] = {}
"""Families of models that a method refuses, by the method's name; a test proves that it refuses just these."""

PLANTED: dict[str, str] = {
    "full_lrp": "z^B measures from the image's lowest value: pixels at that value, as the darkest patch has, get nothing",
}
"""Methods that cannot find the planted patch in a planted model, with the property of either that is to blame.

The planted model is extreme: one block, features that are constant but for one channel, saturated attention. A method
whose own definition divides by what is zero there says nothing about it, and still has to find what real models read.
"""

SILENT: dict[str, str] = {}
"""Methods whose map may be constant on some small random model, with the reason."""
