"""Configuration of a benchmark: models, data sets, methods and metrics in one YAML file, checked before anything runs.

docs/benchmark.schema.json is the JSON Schema of it, for editors and other programs.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vitreous.bench.data import LOADERS
from vitreous.core.calls import read_call
from vitreous.core.errors import UnknownNameError, VitreousError, near_matches
from vitreous.core.frame import Fit
from vitreous.core.settings_file import MOST_BYTES, line_of, read_settings
from vitreous.core.target import Contrast, Target
from vitreous.methods._method import METHODS
from vitreous.metrics._metric import METRICS
from vitreous.worlds._files import read_text

FolderName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,58}[A-Za-z0-9_-])?$")]
"""A name that is a folder on every system, and leads out of none."""

Side: TypeAlias = Annotated[int, Field(ge=1, le=16384)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Pair(_Strict):
    """Why class `a` rather than class `b`; each is an index or a name."""

    a: int | str
    b: int | str


class ModelEntry(_Strict):
    """One model. The fields but `name` are the arguments of `open_vit`."""

    name: FolderName = Field(description="What tables call it, and the folder of its results.")
    model: str = Field(min_length=1, description="As in open_vit: timm:NAME, hf:ORGANISATION/NAME, a folder, ….")
    weights: str | None = Field(None, description="A local file; the published weights if left out.")
    num_classes: int | None = Field(None, ge=1, description="Outputs of a fine-tuned head.")
    image_size: Side | Annotated[list[Side], Field(min_length=2, max_length=2)] | None = Field(
        None, description="One number, or height and width."
    )
    labels: list[str] | str | None = Field(None, description="Class names in order, or a text file with one per line.")
    device: str | None = Field(None, description="Where to compute, for instance cuda.")


class DataEntry(_Strict):
    """One data set, how its photographs are fitted, and what is asked about them."""

    name: FolderName = Field(description="What tables call it, and the folder of its results.")
    data: str = Field(min_length=1, description="scenes, LOADER:PATH, or LOADER(parameter=value): see docs/data.md.")
    limit: int | None = Field(None, ge=1, description="Only the first samples.")
    target: int | str | Pair | None = Field(
        None, description="As in explain; 'label' is each sample's own class, nothing the predicted one."
    )
    fit: Literal["crop", "squash", "pad"] = Field("crop", description="How photographs become inputs.")

    @property
    def asked(self) -> Target:
        """The target as `evaluate` takes it."""
        return Contrast(self.target.a, self.target.b) if isinstance(self.target, Pair) else self.target

    @property
    def fitted(self) -> Fit:
        """How photographs become inputs, as `evaluate` takes it."""
        return self.fit


class BenchmarkConfig(_Strict):
    """Everything that a benchmark is to do: every model on every data set, by all methods and metrics."""

    name: str = Field(min_length=1, max_length=200, description="Title of the leader board.")
    models: list[ModelEntry] = Field(min_length=1)
    data: list[DataEntry] = Field(min_length=1)
    methods: list[str] | None = Field(
        None, min_length=1, description="'rollout', 'gradcam(plus=True)'; those of one pass if left out."
    )
    metrics: list[str] | None = Field(
        None, min_length=1, description="'srg', 'srg(steps=10)'; those that run no method again if left out."
    )
    seed: int = Field(0, ge=0, description="Master seed of everything random.")
    batch_size: int | None = Field(None, ge=1, description="Images traced together; by free memory if left out.")
    out: str | None = Field(None, min_length=1, description="Folder of the results.")

    @model_validator(mode="after")
    def _names_differ(self) -> "BenchmarkConfig":
        """Refuse two entries whose results would lie in one folder; some systems do not tell cases apart."""
        for kind, entries in (("models", self.models), ("data", self.data)):
            names = [entry.name.casefold() for entry in entries]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"two of {kind} have the name {twice[0]!r}: give each its own")
        return self


def read_config(path: str | Path) -> BenchmarkConfig:
    """Read and check a configuration file. No model is opened and no data set read.

    Raises DataError for a file that cannot be read or is no YAML, InputError for what the configuration must not have,
    with line and field, and UnknownNameError for names of methods, metrics and loaders that do not exist.
    """
    text = read_text(Path(path), "The configuration", MOST_BYTES)
    hint = "See docs/benchmark.md for the fields."
    config, tree = read_settings(text, str(path), BenchmarkConfig, _fields_beside, hint)
    check_names(config, lambda *place: f"{path}, line {line_of(tree, place)}, ")
    return config


def check_names(config: BenchmarkConfig, where: Any = lambda *_: "") -> None:
    """Look up methods, their parameters, metrics and loaders. Raises InputError and UnknownNameError.

    where  gives the beginning of a message for a place in the configuration
    """
    for field, registry in (("methods", METHODS), ("metrics", METRICS)):
        for place, text in enumerate(getattr(config, field) or ()):
            try:
                name, given = read_call(text, field)
                registry[name].complete(given)
            except VitreousError as problem:
                cause = f"{where(field, place)}{field}: {problem.cause}"
                raise type(problem)(cause, problem.fix) from problem
    for place, entry in enumerate(config.data):
        loader = entry.data.partition("(")[0].partition(":")[0].strip()
        if loader not in LOADERS:
            near = near_matches(loader, LOADERS)
            raise UnknownNameError(
                f"{where('data', place, 'data')}data: there is no data set loader {loader!r}. {near}".strip(),
                f"Use one of {', '.join(LOADERS)}.",
            )


def _fields_beside(place: tuple[int | str, ...]) -> list[str]:
    if "Pair" in place:
        return list(Pair.model_fields)
    if len(place) > 2 and place[0] in {"models", "data"}:
        return list(ModelEntry.model_fields if place[0] == "models" else DataEntry.model_fields)
    return list(BenchmarkConfig.model_fields)
