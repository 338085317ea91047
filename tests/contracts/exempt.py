"""Where the contract of methods does not hold, each with the reason. Nothing is left out of it anywhere else."""

from oracles.planted import DARKEST

INAPPLICABLE: dict[str, tuple[str, ...]] = {}
"""Families of models that a method refuses, by the method's name; a test proves that it refuses just these."""

PLANTED: dict[str, str] = {
    "atman": "turns all patches down together, whose tokens but for one channel are the same",
    "score_cam": "its weights are a softmax over channels, never negative nor zero, and brightness is the only channel "
    "that differs between patches: every target gets the map of brightness",
    "vit_cx": "its masks are the channels that differ between patches, and brightness is the only one: no mask shows "
    "the darkest patch and hides the brightest, and probabilities tie the third output to the other two",
    "tis": "it keeps the patches with the largest features, and brightness is the only one that differs: no mask shows "
    "the darkest patch and hides the brightest, and probabilities tie the third output to the other two",
    "attcat": "what leaves the only block at the patches is not read any more, or read in equal parts",
    "token_transformation": "where patches are averaged, the skip connection keeps the lengths of tokens in the map",
}
"""Methods that cannot find the planted patch in a planted model, with the property of either that is to blame.

The planted model is extreme: one block, features that are constant but for one channel, saturated attention. A method
whose own definition divides by what is zero there says nothing about it, and still has to find what real models read.
"""

MISLEADING: dict[tuple[str, object, int], str] = {
    ("fill", "black", DARKEST): "a patch that is painted black is the darkest, whichever it is",
}
"""Values of a parameter that make a question about the planted model meaningless: name, value, output, reason."""

SILENT: dict[str, str] = {}
"""Methods whose map may be constant on some small random model, with the reason."""

CANCELS: dict[str, float] = {"attcat": 1e-6}
"""Absolute rounding allowed to methods whose map can cancel to nothing.

AttCAT multiplies tokens by their gradients. Behind a LayerNorm the length of a token does not matter, so that product is
zero for the patches entering the last block of a model with a class token; on two blocks nothing else is left.
"""
