"""What a metric declares about itself, and the registry of all metrics."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float

from vitreous.core.registry import Registry
from vitreous.core.signature import complete_parameters
from vitreous.metrics._case import Case, Truth

Category: TypeAlias = Literal[
    "causal", "localisation", "human relevance", "sanity", "robustness", "form", "known truth"
]
Better: TypeAlias = Literal["higher", "lower", "neither"]
Need: TypeAlias = Literal["label", "mask", "boxes", "human", "scene", "stressed"]
Excludes: TypeAlias = Callable[[Case, Mapping[str, Any]], list[str]]
Pool: TypeAlias = Callable[[Float[np.ndarray, "n s"]], float]


@dataclass(frozen=True)
class Metric:
    """One metric: a function of a case, and the facts that tables, the evaluation and the tests go by.

    name, function  the function and its name, which is also that of its file
    category        what it asks
    better          which direction is good with default parameters; "neither" for what only describes a map
    turns           gives the direction under other parameters; None if it is always the same
    unit            what a value of 1 means
    cost            passes of the model beside the trace, in words
    needs           what has to be known about an image; where it is not, the image is left out and counted
    pool            None: the value of a data set is the mean over its images, and the function gives "b". Otherwise the
                    function gives "b s", s numbers for each image, and this makes the value of a data set of all
                    images' numbers, "n s". It has to take a single image's too
    reruns          whether it asks the method for maps of other images or models
    random          whether it draws random numbers
    classes         whether it needs a model whose outputs are classes
    excludes        says for each image of a case, from the parameters, why it is not judged; an empty text if it is
    tuned           whether the value of a data set is the best over thresholds, chosen on the images that are judged
    """

    name: str
    function: Callable[..., Any]
    category: Category
    better: Better
    unit: str
    cost: str
    paper: str | None
    needs: tuple[Need, ...]
    pool: Pool | None
    reruns: bool
    random: bool
    classes: bool
    turns: Callable[[Mapping[str, Any]], Better] | None = None
    tuned: bool = False
    excludes: Excludes | None = None

    @property
    def title(self) -> str:
        """The first sentence of the file: what the metric measures."""
        text = inspect.getdoc(inspect.getmodule(self.function)) or ""
        return text.split(". ")[0].split("\n")[0].rstrip(".")

    @property
    def defaults(self) -> dict[str, Any]:
        """The named parameters with their default values, in the order of the signature, without the case."""
        parameters = list(inspect.signature(self.function).parameters.values())[1:]
        return {parameter.name: parameter.default for parameter in parameters}

    def complete(self, given: dict[str, Any]) -> dict[str, Any]:
        """Fill in the defaults. Raises InputError for a parameter that the metric lacks, or of another type."""
        return complete_parameters("Metric", self.name, self.function, given)

    def under(self, parameters: Mapping[str, Any]) -> "Metric":
        """Give the metric as it is under these parameters, which have to be complete: they may turn its direction."""
        return self if self.turns is None else replace(self, better=self.turns(parameters))

    def missing(self, truth: Truth) -> str:
        """Say as a clause what of the truth it needs and is not known; empty if nothing."""
        absent = [
            need
            for need in self.needs
            if (
                getattr(truth, need) is None
                if need in {"label", "mask", "scene", "stressed"}
                else not getattr(truth, need)
            )
        ]
        return f"the sample has no {' and no '.join(_WORDS[need] for need in absent)}" if absent else ""

    def value(self, parts: Float[np.ndarray, "n *s"]) -> float:
        """Give the value of a data set from its images' numbers; NaN if there are none."""
        if not len(parts):
            return float("nan")
        return float(parts.mean()) if self.pool is None else self.pool(parts)


_WORDS: dict[Need, str] = {
    "label": "class",
    "mask": "mask",
    "boxes": "box",
    "human": "human map",
    "scene": "scene",
    "stressed": "scene that can be rendered under stress",
}

METRICS: Registry[Metric] = Registry("metric", "vitreous.metrics")


def metric(
    *,
    category: Category,
    better: Better,
    unit: str,
    cost: str,
    paper: str | None = None,
    needs: tuple[Need, ...] = (),
    pool: Pool | None = None,
    reruns: bool = False,
    random: bool = False,
    classes: bool = False,
    turns: Callable[[Mapping[str, Any]], Better] | None = None,
    tuned: bool = False,
    excludes: Excludes | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function under its own name; the arguments are those of `Metric`.

    The function itself is given back unchanged, and can be called with a case of one's own. It gives NaN for an image
    about which it has nothing to say, such as one without a mask.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__
        METRICS.add(
            name,
            Metric(
                name,
                function,
                category,
                better,
                unit,
                cost,
                paper,
                needs,
                pool,
                reruns,
                random,
                classes,
                turns,
                tuned,
                excludes,
            ),
        )
        return function

    return register
