"""What is taken where nothing is said, for functions and commands alike."""

DEFAULT_METHOD = "libragrad"
"""The most faithful method of those of at most three passes of the model: docs/which_method.md has the figures."""
