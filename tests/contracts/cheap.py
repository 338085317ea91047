"""Parameters for the contract tests of methods whose defaults would take too long on the models of the tests."""

CHEAP: dict[str, dict[str, int]] = {
    "beyond_intuition_heads": {"points": 3},
    "beyond_intuition_tokens": {"points": 3},
    "transition_attention": {"points": 3},
}
