"""Parameters for the contract tests of methods whose defaults would take too long on the models of the tests."""

CHEAP: dict[str, dict[str, int]] = {
    "integrated_gradients": {"nodes": 3},
    "smoothgrad": {"copies": 2},
}

ENOUGH: dict[str, dict[str, int]] = {
    "integrated_gradients": {"nodes": 50},  # attention of the planted model turns over within a fortieth of the path
}
"""What it takes instead to find the exact truth of the planted model."""
