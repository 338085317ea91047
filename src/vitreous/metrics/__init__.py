"""Metrics: one file each, a function of a `Case`. Files with an underscore hold what several share."""
