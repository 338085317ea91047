"""Row: what one metric said about one method on one image, and what it cost to find out."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["ok", "excluded", "undefined", "failed"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of an evaluation: one image, one method, one metric.

    sample        name of the sample in its data set
    image_digest  of the image's pixels
    method        label of the method: its name, or its name with parameters, such as "gradcam(plus=True)"
    metric        label of the metric, in the same form
    value         the value of this image; NaN unless `status` is "ok"
    parts         what the metric's function gave for this image: one number, or several for metrics that pool over
                  the data set; empty unless `status` is "ok"
    seed          the master seed of the evaluation
    seconds, forwards, backwards  what this metric took. The map itself is not in it, as methods share a trace: what one
                  method alone takes is in the `Provenance` of its heatmaps
    status        "ok"; "excluded": the sample lacks what the metric needs; "undefined": the metric gave NaN;
                  "failed": an error
    reason        why the status is not "ok", in words; empty if it is
    target        the class or contrast that was explained, in words
    predicted     the class that the model predicts, in words
    probability   that the model gives to the target
    """

    sample: str
    image_digest: str
    method: str
    metric: str
    value: float
    parts: tuple[float, ...]
    seed: int
    seconds: float
    forwards: int
    backwards: int
    status: Status
    reason: str
    target: str
    predicted: str
    probability: float
