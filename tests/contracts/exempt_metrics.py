"""What the contract of metrics makes of single ones, each for a reason that is written down."""

from typing import Any

CHEAP_METRICS: dict[str, dict[str, Any]] = {}
"""Parameters under which a metric is quick enough on the planted model."""

BLIND: dict[str, str] = {}
"""Metrics for which the true map of the planted model need not be best, and why."""

TIED: dict[str, str] = {
    "pointing_game": "a random map of twelve patches hits the one that is right hardly more often than never",
}
"""Metrics that may find the reversed map of the planted model as bad as a random one, and why."""
