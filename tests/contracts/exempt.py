"""Where the contract of methods does not hold, each with the reason. Nothing is left out of it anywhere else."""

INAPPLICABLE: dict[str, tuple[str, ...]] = {
    # Their heads read a class token, that and the mean, or a pooling attention; CAM is about the mean alone.
    "cam": (
        "timm",
        "timm distilled",
        "timm registers",
        "timm map",
        "timm registers, map",
        "eva rope registers",
        "transformers eager",
        "transformers sdpa",
        "dinov2 registers",
        "torchvision",
        "handwritten",
    ),
}
"""Families of models that a method refuses, by the method's name; a test proves that it refuses just these."""

PLANTED: dict[str, str] = {
    "cam": "It splits what leaves the last block, where the planted attention has written what it read into all patch "
    "tokens alike: the map is constant. And with prefix tokens the planted model has no mean to split.",
    "gradcam_plus_plus": "It weighs by positive gradients alone. The score of the darkest patch falls with brightness, "
    "and rises only with the flag 'I am a patch', which is the same everywhere: the map is constant.",
}
"""Methods that cannot find the planted patch in a planted model, with the property of either that is to blame.

The planted model is extreme: one block, features that are constant but for one channel, saturated attention. A method
whose own definition divides by what is zero there says nothing about it, and still has to find what real models read.
"""

SILENT: dict[str, str] = {}
"""Methods whose map may be constant on some small random model, with the reason."""

ROUGH: dict[str, float] = {
    # Both divide by sums of features with signs, which come near zero, and so enlarge the rounding of their inputs.
    # The figures are by how much the float32 maps of pytorch-grad-cam differ from its float64 maps on a real model.
    "gradcam_plus_plus": 8.5e-4,
    "xgradcam": 2.6e-4,
}
"""Rounding, relative to a map's peak, of methods whose own definition makes it larger than that of others."""
