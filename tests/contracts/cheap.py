"""Parameters for the contract tests of methods whose defaults would take too long on the models of the tests."""

CHEAP: dict[str, dict[str, int | float]] = {
    "rise": {"masks": 24, "cells": 3},
    "kernel_shap": {"samples": 192},
    "score_cam": {"channels": 4},
    "tis": {"masks": 6},
    "vit_cx": {"distance": 0.2},
    "beyond_intuition_heads": {"points": 3},
    "beyond_intuition_tokens": {"points": 3},
    "transition_attention": {"points": 3},
    "integrated_gradients": {"nodes": 3},
    "smoothgrad": {"copies": 2},
}

ENOUGH: dict[str, dict[str, int]] = {
    "integrated_gradients": {"nodes": 50},  # attention of the planted model turns over within a fortieth of the path
    "rise": {"masks": 400, "cells": 6},  # its masks are coarse, and random
}
"""What it takes instead to find the exact truth of the planted model."""
