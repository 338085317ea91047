"""Families: how to build a model of each library, and what discovery cannot know about it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import nn

from vitreous.core.errors import InputError
from vitreous.core.preprocessing import Preprocessing
from vitreous.vit.body import Call, plain_call


@dataclass(frozen=True)
class Request:
    """What the user asked `open_vit` for. `weights` is None (the library's pretrained ones), a path, or "random"."""

    name: str
    weights: str | None = None
    num_classes: int | None = None
    image_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that no library builds a model from."""
        if self.num_classes is not None and self.num_classes < 0:
            raise InputError(
                f"num_classes={self.num_classes} is negative.",
                "Give 0 for no head, or the number of classes.",
            )
        if self.image_size is not None and min(self.image_size) < 1:
            raise InputError(
                f"image_size={self.image_size} has no pixel.", "Give (height, width) in pixels, such as 224."
            )

    @property
    def pretrained(self) -> bool:
        """Whether the library is to fetch its own weights."""
        return self.weights is None

    @property
    def file(self) -> str | None:
        """The local weight file, if one was named."""
        return None if self.weights in {None, "random"} else self.weights

    def source(self, published: str) -> str:
        """Say where the weights come from: a file, chance, or what the library published."""
        if self.weights == "random":
            return "random initialisation"
        return published if self.file is None else f"file {Path(self.file).name}"


@dataclass(frozen=True)
class Built:
    """A model with what its library says about it."""

    model: nn.Module
    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] | None = None
    source: str = "the caller's own model"
    outputs: Literal["classes", "embedding"] = "classes"
    call: Call = plain_call
    warnings: tuple[str, ...] = field(default=())


def new_head(classes: int | None) -> tuple[str, ...]:
    """Say that a head was not trained; without classes there is no head to speak of."""
    if not classes:
        return ()
    return (f"num_classes={classes} is not what the published weights have: the head is new and random.",)
