"""Families: how to build a model of each library, and what discovery cannot know about it."""

from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from vitreous.core.preprocessing import Preprocessing
from vitreous.vit.body import Call, plain_call


@dataclass(frozen=True)
class Request:
    """What the user asked `open_vit` for. `weights` is None (the library's pretrained ones), a path, or "random"."""

    name: str
    weights: str | None = None
    num_classes: int | None = None
    image_size: tuple[int, int] | None = None

    @property
    def pretrained(self) -> bool:
        """Whether the library is to fetch its own weights."""
        return self.weights is None

    @property
    def file(self) -> str | None:
        """The local weight file, if one was named."""
        return None if self.weights in {None, "random"} else self.weights


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
