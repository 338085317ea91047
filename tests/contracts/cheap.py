"""Parameters for the contract tests of methods whose defaults would take too long on the models of the tests."""

CHEAP: dict[str, dict[str, int | float]] = {
    "score_cam": {"channels": 4},
    "tis": {"masks": 6},
    "vit_cx": {"distance": 0.2},
}
