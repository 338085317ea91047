"""Evaluation: methods and metrics over data sets, their rows, the store that keeps them, and statistics on them."""
