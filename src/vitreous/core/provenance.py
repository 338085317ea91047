"""Provenance: how a heatmap was made, complete enough to make it again.

A picture outlives the program that made it. Whoever finds it later can tell from this record which model,
weights, image and parameters it came from, and by the digests whether what they have is the same.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Prediction(BaseModel):
    """One of the model's top outputs for an image.

    index, label  number of the output, counted from 0, and its name with the index ("output 3" if there are
                  no names)
    logit         the number the model returned
    probability   the softmax over all outputs; None if that is no meaning which the outputs have
    """

    model_config = ConfigDict(frozen=True)

    index: int
    label: str
    logit: float
    probability: float | None


class Provenance(BaseModel):
    """The record that travels with every heatmap.

    method, parameters              name of the method, and all its parameters, defaults included
    paper                           "arXiv:…", or None
    target                          what was explained, in words, for instance "tabby cat (281)" or "cat (0)
                                    minus dog (1)"
    score                           the explained number: a logit, a difference of two, or the length of an
                                    embedding along a direction
    predictions                     the top outputs, largest first, at most five; empty where the outputs
                                    are an embedding
    model                           what was opened
    weights_digest, weights_source  sha256 over all parameters and buffers, and where they came from, in
                                    words
    image, image_digest             file name without folders, "image" or "tensor[i]"; sha256 over size and
                                    pixels
    preprocessing                   the fields of `Preprocessing`, and "fit"
    seed                            the master seed
    versions                        of this package, Python and the libraries that are installed
    device, dtype                   where and in what was computed, for instance "cpu" and "float32"
    seconds                         wall-clock time of the pass and of all methods on the whole batch,
                                    without reading the photographs
    batch                           images in that batch
    forwards, backwards             passes of the whole batch, for all methods together
    warnings                        what had to be guessed about the model, then what reading changed in the
                                    photograph
    notes                           what the method measured about this very map, such as a completeness error
    display                         how values became colours, as sentences; filled in the record of a
                                    picture, empty in that of a raw map

    Immutable, and strict about its fields: a record with an unknown one is refused rather than read in
    part.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    parameters: dict[str, Any]
    paper: str | None
    target: str
    score: float
    predictions: tuple[Prediction, ...]
    model: str
    weights_digest: str
    weights_source: str
    image: str
    image_digest: str
    preprocessing: dict[str, Any]
    seed: int
    versions: dict[str, str]
    device: str
    dtype: str
    seconds: float
    batch: int
    forwards: int
    backwards: int
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    display: tuple[str, ...] = ()
