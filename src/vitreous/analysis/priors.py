"""Priors: what somebody who knows the subject expects to matter, class by class, in a small YAML or JSON file.

    version: 1
    priors:
      - name: the animal
        class: beagle                    # or "*", any class
        where: {regions: [beagle]}       # annotated parts or objects, by name; ["*"] for any
        expect: most
        reason: A breed is told by the animal, not by the room.
      - name: not the border
        class: "*"
        where: {zone: border, width: 0.1}
        expect: none
        severity: warning
      - name: the lung fields
        class: pneumonia
        where: {mask: lungs.png}         # white where meant, laid over the whole photograph; relative to this file
        expect: most
        at_least: 0.6                    # in place of the usual bound

Places are given on the photograph, whatever part of it the model is shown: boxes (left, top, right, bottom) and widths
in fractions of its sides, from its upper left corner. `prior_agreement` holds a map against them.
"""

from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vitreous.core.errors import DataError, ImageError, InputError
from vitreous.core.image_files import read_file
from vitreous.core.settings_file import MOST_BYTES, Place, line_of, read_settings

Expect: TypeAlias = Literal["most", "some", "none"]
Severity: TypeAlias = Literal["error", "warning", "note"]
Zone: TypeAlias = Literal["centre", "border", "upper half", "lower half", "left half", "right half"]
Fraction: TypeAlias = Annotated[float, Field(ge=0, le=1)]

BOUNDS: dict[str, tuple[float, float]] = {"most": (0.5, 1.0), "some": (0.1, 1.0), "none": (0.0, 0.1)}
"""The share of the positive relevance that each word allows, from and to. "most" is the word's own meaning; a tenth,
for "some" and "none", is a convention and was fitted to nothing: write `at_least` or `at_most` where more is known."""

WIDTHS = {"centre": 0.5, "border": 0.1}
"""Sides of the centre, and width of the border on each side, as fractions of the photograph's."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Where(_Strict):
    """A place on the photograph, in exactly one of four ways; several boxes or regions are one place."""

    mask: str | None = Field(None, min_length=1, description="Image file beside this one; meant where it is light.")
    boxes: list[Annotated[list[Fraction], Field(min_length=4, max_length=4)]] | None = Field(
        None, min_length=1, description="left, top, right, bottom as fractions of the photograph's sides."
    )
    regions: list[Annotated[str, Field(min_length=1)]] | None = Field(
        None, min_length=1, description='Names of annotated regions, upper or lower case; "*" for all.'
    )
    zone: Zone | None = Field(None, description="A part of any photograph.")
    width: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="Of the zones centre (its sides, 0.5) and border (each side, 0.1), as a fraction."
    )
    outside: bool = Field(False, description="All of the photograph but this place.")

    @model_validator(mode="after")
    def _one_way(self) -> "Where":
        """Refuse a place that is given twice or not at all, widths of nothing, and boxes inside out."""
        given = [name for name in ("mask", "boxes", "regions", "zone") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of mask, boxes, regions and zone, not {' and '.join(given) or 'none'}")
        if self.width is not None and self.zone not in WIDTHS:
            raise ValueError("only the zones centre and border have a width")
        if self.zone == "border" and self.width is not None and self.width >= 0.5:
            raise ValueError("a border of half the photograph or more leaves no middle: give less than 0.5")
        for left, top, right, bottom in self.boxes or ():
            if left >= right or top >= bottom:
                raise ValueError(f"the box {[left, top, right, bottom]} is inside out: left < right, top < bottom")
        if self.mask is not None:
            path = PurePosixPath(self.mask.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts or ":" in self.mask:
                raise ValueError(f"mask {self.mask!r} leads out of the folder: give a path below this file's own")
        return self


class Prior(_Strict):
    """One expectation: how much of what speaks for a class should lie in one place."""

    name: str = Field(min_length=1, max_length=200, description="What reports call it.")
    class_name: str = Field(alias="class", min_length=1, description='The class it is about; "*" for any.')
    where: Where
    expect: Expect = Field(description="most: half or more; some: a tenth or more; none: a tenth or less.")
    at_least: Fraction | None = Field(None, description="Least share, in place of that of the word.")
    at_most: Fraction | None = Field(None, description="Largest share, in place of that of the word.")
    reason: str = Field("", max_length=2000, description="Why; shown in reports.")
    severity: Severity = Field("error", description="How bad a violation is.")

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest share of the positive relevance."""
        low, high = BOUNDS[self.expect]
        return low if self.at_least is None else self.at_least, high if self.at_most is None else self.at_most

    @model_validator(mode="after")
    def _possible(self) -> "Prior":
        """Refuse bounds that nothing can meet, or that turn the word round: "most" below half, "none" above."""
        low, high = self.bounds
        if low > high:
            raise ValueError(f"no share is at least {low:g} and at most {high:g}")
        if self.expect == "none" and self.at_least:
            raise ValueError("expect: none has no at_least; use some or most")
        if self.expect == "most" and high < 0.5:
            raise ValueError(f"expect: most with at most {high:g} is not most; use some or none")
        if self.expect == "none" and high > 0.5:
            raise ValueError(f"expect: none with at most {high:g} is not none; use some or most")
        return self

    def about(self, class_name: str) -> bool:
        """Whether this is about a class; case and ImageNet's synonyms, separated by commas, do not matter.

        >>> told = {"name": "all", "class": "tabby cat", "where": {"zone": "centre"}, "expect": "some"}
        >>> Prior.model_validate(told).about("tabby, Tabby Cat")
        True
        """
        wanted, label = self.class_name.strip().casefold(), class_name.strip().casefold()
        return wanted in {"*", label, *map(str.strip, label.split(","))}


class Priors(_Strict):
    """All expectations of a file."""

    version: Literal[1] = 1
    priors: list[Prior] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> "Priors":
        """Refuse two of the same name about one class: reports could not tell them apart."""
        names = [(prior.class_name.strip().casefold(), prior.name) for prior in self.priors]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two priors about {name[0]!r} have the name {name[1]!r}: give each its own")
        return self

    def of(self, class_name: str) -> list[Prior]:
        """The expectations about one class."""
        return [prior for prior in self.priors if prior.about(class_name)]


def read_priors(path: str | Path) -> Priors:
    """Read and check a file of expectations. Paths of masks become whole, and the files have to be there.

    Raises DataError for a file that cannot be read or is no YAML, InputError for what it must not have, with file, line
    and field.
    """
    text = _read_text(Path(path))
    priors, tree = read_settings(
        text, str(path), Priors, _fields_beside, "The module vitreous.analysis.priors lists the fields."
    )
    found = []
    for number, prior in enumerate(priors.priors):
        if prior.where.mask is not None:
            mask = Path(path).parent / prior.where.mask
            if not mask.is_file():
                line = line_of(tree, ("priors", number, "where", "mask"))
                raise InputError(f"{path}, line {line}: there is no mask {prior.where.mask!r}.", "Give its path.")
            where = prior.where.model_copy(update={"mask": str(mask)})
            found.append(prior.model_copy(update={"where": where}))
        else:
            found.append(prior)
    return priors.model_copy(update={"priors": found})


def priors_schema() -> dict[str, Any]:
    """Give the JSON Schema of such files, for editors and other programs."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Priors.model_json_schema(by_alias=True)}


def _read_text(path: Path) -> str:
    try:
        return read_file(str(path), MOST_BYTES).decode("utf-8-sig")
    except ImageError as problem:
        raise DataError(problem.cause.replace("The image", "The file of priors", 1), problem.fix) from problem
    except UnicodeDecodeError as problem:
        raise DataError(f"{path} is not UTF-8 text (byte {problem.start}).", "Save it as UTF-8.") from problem


def _fields_beside(place: Place) -> list[str]:
    """Name the fields, as they are written, that there are beside one that is not."""
    kind = Where if "where" in place[:-1] else Prior if len(place) > 2 else Priors
    return [field.alias or name for name, field in kind.model_fields.items()]
