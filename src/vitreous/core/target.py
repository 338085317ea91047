"""Target: the question asked of the model, resolved once before anything is explained.

A target turns the logits of an image into one number, the score, whose cause is then looked for. Resolving
it once matters: were the largest output looked up again on every changed copy of an image, the question
would change along with the image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

from vitreous.core.errors import TargetError, near_matches
from vitreous.core.shapes import Indices, Logits, PerImage


@dataclass(frozen=True)
class Contrast:
    """Why `a` rather than `b`: the difference of their logits. Each is an index or a class name.

    Often the better question where classes share most of their evidence, as two breeds of dog do: what
    speaks for both cancels, and a signed map shows what speaks for either.
    """

    a: int | str
    b: int | str


Target: TypeAlias = int | str | Contrast | None
"""None or "predicted", a class index, a class name, a Contrast, or "embedding" for models without classes."""


@dataclass(frozen=True)
class ResolvedTarget:
    """The targets of one batch, ready to be computed from logits.

    kind         "logit" for classes and contrasts, "embedding" for the whole output
    plus, minus  "b": `plus[i]` is the output explained for image i, `minus[i]` the one subtracted (-1:
                 none). Both are -1 throughout for an embedding
    names        each image's target in words, for the record
    direction    "b k", of length 1 in each row, for an embedding; None otherwise

    kind "embedding" explains the whole output vector, along the direction in which it differs from that of
    a blank image. (Its length alone would not do: behind a LayerNorm it is constant, and the gradient of a
    constant is zero.)
    """

    kind: Literal["logit", "embedding"]
    plus: Indices
    minus: Indices
    names: tuple[str, ...]
    direction: Logits | None = None

    def select(self, images: Indices) -> "ResolvedTarget":
        """Give the targets of some images of the batch, in any order and as often as asked: one for each index."""
        direction = None if self.direction is None else self.direction[images.to(self.direction.device)]
        names = tuple(self.names[image] for image in images.tolist())
        images = images.to(self.plus.device)
        return ResolvedTarget(self.kind, self.plus[images], self.minus[images], names, direction)

    def score(self, logits: Logits) -> PerImage:
        """Reduce logits "b k" to the explained number of each image, "b".

        Differentiable; the direction is a constant.
        """
        if self.direction is not None:
            return (logits * self.direction).sum(1)
        plus, minus = self.plus.to(logits.device), self.minus.to(logits.device)
        score = logits.gather(1, plus[:, None])[:, 0]
        contrasted = logits.gather(1, minus.clamp(min=0)[:, None])[:, 0]
        return torch.where(minus >= 0, score - contrasted, score)


def resolve_target(
    target: Target | Sequence[Target],
    logits: Logits,
    labels: tuple[str, ...] | None = None,
    has_classes: bool = True,
    blank: Callable[[], Logits] | None = None,
) -> ResolvedTarget:
    """Resolve one target for all images, or a list with one for each, against the logits of the unchanged images.

    target       None or "predicted" for each image's largest output, an index, a name, a Contrast,
                 "embedding", or a list
    logits       "b k", only read
    labels       names of the k outputs, if there are any
    has_classes  False forbids "predicted", since the largest number of an embedding means nothing
    blank        gives the outputs for a blank image, "1 k", which only the target "embedding" asks for;
                 zero if left out

    Raises TargetError for an index outside the outputs, an unknown or ambiguous name, a list of the wrong
    length, "embedding" mixed with classes, or "predicted" asked of a model that has no classes.

    >>> found = resolve_target(Contrast("cat", "dog"), torch.tensor([[3.0, 1.0]]), ("cat", "dog"))
    >>> found.names, found.score(torch.tensor([[3.0, 1.0]]))
    (('cat (0) minus dog (1)',), tensor([2.]))
    """
    images, outputs = logits.shape
    targets = list(target) if isinstance(target, Sequence) and not isinstance(target, str) else [target] * images
    if len(targets) != images:
        raise TargetError(
            f"target is a list of {len(targets)} for {images} images.",
            "Give one target, or one for each image.",
        )
    _refuse_mixture(targets)
    if "embedding" in targets:
        absent = torch.full((images,), -1)
        away = logits.detach() - (blank() if blank is not None else 0)
        direction = torch.nn.functional.normalize(away, dim=1)
        return ResolvedTarget("embedding", absent, absent, ("embedding",) * images, direction)
    best = logits.argmax(1)
    names, plus, minus = [], [], []
    for image, item in enumerate(targets):
        first, second = (item.a, item.b) if isinstance(item, Contrast) else (item, None)
        plus.append(_index(first, int(best[image]), outputs, labels, has_classes))
        minus.append(-1 if second is None else _index(second, int(best[image]), outputs, labels, has_classes))
        name = label_of(plus[-1], labels)
        names.append(name if second is None else f"{name} minus {label_of(minus[-1], labels)}")
    return ResolvedTarget("logit", torch.tensor(plus), torch.tensor(minus), tuple(names))


def check_targets(
    targets: Sequence[Target], outputs: int, labels: tuple[str, ...] | None = None, has_classes: bool = True
) -> None:
    """Raise TargetError for a target that no image could have, before anything is computed.

    Takes a list with one target for each image; the other arguments are as in `resolve_target`. What only
    the outputs can tell is left to that function.
    """
    _refuse_mixture(targets)
    for target in targets:
        if target != "embedding":
            for part in (target.a, target.b) if isinstance(target, Contrast) else (target,):
                _index(part, 0, outputs, labels, has_classes)


def _refuse_mixture(targets: Sequence[Target]) -> None:
    """The score of an embedding and that of a class have different units: one trace cannot explain both."""
    if len({target == "embedding" for target in targets}) > 1:
        raise TargetError("target mixes 'embedding' with classes.", "Explain the two in separate calls.")


def label_of(index: int, labels: tuple[str, ...] | None) -> str:
    """Name an output: its label with the index, or the index alone.

    The index is always there, because labels need not be unique: ImageNet has two classes called "crane".

    >>> label_of(1, ("cat", "dog")), label_of(1, None)
    ('dog (1)', 'output 1')
    """
    return f"{labels[index]} ({index})" if labels is not None else f"output {index}"


def _index(target: int | str | None, best: int, outputs: int, labels: tuple[str, ...] | None, has_classes: bool) -> int:
    """Turn one part of a target into an index; None and "predicted" become `best`.

    A bool is refused although Python counts it as an integer: True is no class.
    """
    if target is None or target == "predicted":
        if not has_classes:
            raise TargetError(
                f"The model returns an embedding of {outputs} numbers, not classes: its largest number means nothing.",
                "Use target='embedding', an index, or open the model with a classification head.",
            )
        return best
    if isinstance(target, bool) or not isinstance(target, int | str):
        raise TargetError(
            f"target={target!r} is a {type(target).__name__}.",
            "Give a class index, a class name or a vt.Contrast.",
        )
    if isinstance(target, str):
        return find_label(target, labels)
    if not 0 <= target < outputs:
        raise TargetError(f"target={target} is no output of the model.", f"It has outputs 0 to {outputs - 1}.")
    return target


def find_label(name: str, labels: tuple[str, ...] | None) -> int:
    """Find the class called `name`, in full or by one of its comma-separated synonyms, ignoring case.

    A full label wins over synonyms. Gives its index. Raises TargetError if the model has no names, or if
    none or several match; the message lists near matches, or the candidates with their indices.

    >>> find_label("Tabby Cat", ("goldfish", "tabby, tabby cat"))
    1
    """
    if labels is None:
        raise TargetError(
            f"target={name!r} is a name, and the model has no class names.",
            "Give an index, or open the model with labels=[…].",
        )
    wanted = name.strip().casefold()
    whole = [index for index, label in enumerate(labels) if label.casefold() == wanted]
    synonyms = [list(map(str.strip, label.casefold().split(","))) for label in labels]
    found = whole or [index for index, names in enumerate(synonyms) if wanted in names]
    if len(found) == 1:
        return found[0]
    if found:
        raise TargetError(
            f"target={name!r} names {len(found)} classes: {', '.join(label_of(index, labels) for index in found)}.",
            "Give the index.",
        )
    known = [synonym for names in synonyms for synonym in names]
    raise TargetError(
        f"No class is called {name!r}. {near_matches(wanted, known)}".strip(),
        "Give one of the model's class names, or an index.",
    )
