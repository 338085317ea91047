"""Metrics: how far a map can be trusted, one file for each. What a metric of one's own needs is here."""

from vitreous.metrics._case import Case, Truth
from vitreous.metrics._metric import metric

__all__ = ["Case", "Truth", "metric"]
