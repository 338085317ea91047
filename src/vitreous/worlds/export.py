"""Exporting a data set with all that is known about it, in a form that others load: Parquet, PNG and a data card.

    ROOT/
      README.md           the data card; its first lines are read by Hugging Face
      metadata.parquet    one row for each sample, see `COLUMNS`
      images/000000.png   the photograph, upright, 8-bit RGB
      masks/000000-00.png the masks of its regions: 255 inside, 0 outside, 128 undecided

This is the layout that Hugging Face calls an image folder: `datasets.load_dataset(ROOT)` gives `image` and `masks` as
pictures and the other columns as they are. `vitreous.worlds.shared` reads it back as the samples it was made of.

Exporting copies photographs. Whether those of somebody else may be passed on is a question of their licence, which this
program cannot answer; the scenes that come with it are free for any use (CC0).
"""

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from vitreous._version import __version__
from vitreous.core.errors import InputError, MissingExtraError, OutputError, OutputExistsError
from vitreous.core.heatmap_file import write_whole
from vitreous.worlds.sample import Mask, Sample, Samples

LAYOUT = 1
FACTS = b"vitreous"
"""Where Parquet's own metadata hold name, classes and notes of the data set, as JSON."""
INSIDE, VOID, OUTSIDE = 255, 128, 0
COLUMNS = {
    "file_name": "the photograph, relative to this file; `datasets` gives it as `image`",
    "id": "unique in the data set",
    "label": "its class; null if it has none, or several",
    "index": "of its class among `labels`; null likewise",
    "masks_file_names": "its masks; `datasets` gives them as `masks`",
    "regions": "its annotated objects: name, box (x0, y0, x1, y1 in pixels, edges counted from 0), mask (place in "
    "`masks`), crowd; null where not known",
    "human": "human relevance maps: name, and values in rows on a grid that covers the photograph",
    "notes": "what reading the annotation changed or left out",
}
_LICENCE = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")


def export(
    samples: Samples,
    root: str | Path,
    licence: str,
    title: str = "",
    sources: Sequence[str] = (),
    caveats: Sequence[str] = (),
    advance: Callable[[], None] = lambda: None,
) -> Path:
    """Write a data set into a new folder. Gives its path.

    licence  under which the result may be used, as Hugging Face writes it: "cc0-1.0", "cc-by-4.0", "other"
    title    of the data card; the name of the data set if empty
    sources  where photographs and annotations come from, one line each
    caveats  what the data are not good for, one line each; what this format leaves out is added
    advance  is called after each sample

    Raises InputError for a licence that is no identifier, for an empty set and for two samples of one id,
    OutputExistsError if the folder holds anything, OutputError, MissingExtraError, and what reading photographs and
    masks raises. `metadata.parquet` is written last: an interrupted export is not loaded.
    """
    arrow, parquet = arrow_modules()
    ids = [sample.id for sample in samples]
    if not _LICENCE.fullmatch(licence):
        raise InputError(f"licence={licence!r} is no identifier.", "Write it as in cc0-1.0, cc-by-4.0 or other.")
    if not ids or len(set(ids)) < len(ids):
        raise InputError("The samples are none, or two have one id.", "Give each sample an id of its own.")
    folder = Path(root)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputExistsError(f"{folder} exists already and is not empty.", "Choose a new folder.")
    rows = []
    for place, sample in enumerate(samples):
        rows.append(_write(sample, place, folder))
        advance()
    facts = {"layout": LAYOUT, "name": samples.name, "labels": samples.labels, "notes": samples.notes}
    schema = schema_of(arrow).with_metadata({FACTS: json.dumps(facts, ensure_ascii=False).encode()})
    card = _card(samples, rows, licence, title or samples.name, sources, caveats)
    write_whole(folder / "README.md", card.encode(), overwrite=False)
    content = io.BytesIO()
    parquet.write_table(arrow.Table.from_pylist(rows, schema=schema), content, compression="zstd")
    write_whole(folder / "metadata.parquet", content.getvalue(), overwrite=False)
    return folder


def schema_of(arrow: Any) -> Any:
    """Give the types of the columns. `arrow` is the module pyarrow."""
    text, numbers = arrow.string(), arrow.list_(arrow.float64())
    region = arrow.struct([("name", text), ("box", numbers), ("mask", arrow.int64()), ("crowd", arrow.bool_())])
    human = arrow.struct([("name", text), ("values", arrow.list_(arrow.list_(arrow.float32())))])
    types = [text, text, text, arrow.int64(), arrow.list_(text), arrow.list_(region), arrow.list_(human)]
    return arrow.schema(list(zip(COLUMNS, [*types, arrow.list_(text)], strict=True)))


def _write(sample: Sample, place: int, folder: Path) -> dict[str, Any]:
    """Write the pictures of one sample, and give its row."""
    photo, masks = sample.photo(), iter(sample.masks())
    image = f"images/{place:06d}.png"
    _save(photo.image, folder / image)
    files: list[str] = []
    regions = []
    for region in sample.regions:
        number = None
        if region.read is not None:
            number = len(files)
            files.append(f"masks/{place:06d}-{number:02d}.png")
            _save(_picture(next(masks)), folder / files[-1])
        box = None if region.box is None else [float(edge) for edge in region.box]
        regions.append({"name": region.name, "box": box, "mask": number, "crowd": region.crowd})
    human = [{"name": each.name, "values": np.asarray(each.read(), np.float32).tolist()} for each in sample.human]
    values = [image, sample.id, sample.label, sample.index, files, regions, human, list(sample.notes)]
    return dict(zip(COLUMNS, values, strict=True))


def _picture(mask: Mask) -> Image.Image:
    values = np.full(mask.inside.shape, OUTSIDE, dtype=np.uint8)
    values[mask.void] = VOID
    values[mask.inside] = INSIDE
    return Image.fromarray(values)


def _save(image: Image.Image, path: Path) -> None:
    content = io.BytesIO()
    try:
        image.save(content, format="PNG")
    except (OSError, ValueError) as problem:
        raise OutputError(f"{path} cannot be written: {problem}.", "Choose another folder.") from problem
    write_whole(path, content.getvalue(), overwrite=False)


# --- the card


def _card(
    samples: Samples,
    rows: Sequence[dict[str, Any]],
    licence: str,
    title: str,
    sources: Sequence[str],
    caveats: Sequence[str],
) -> str:
    """Write the data card: what Hugging Face reads, then what a person does."""
    head = {
        "license": licence,
        "pretty_name": title,
        "tags": ["explainability", "vision-transformer", "vitreous"],
        "size_categories": [_size(len(rows))],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "test", "path": ["metadata.parquet", "images/**", "masks/**"]}],
            }
        ],
    }
    columns = "\n".join(f"- `{name}`: {told}" for name, told in COLUMNS.items())
    return f"""---
{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---

# {title}

Photographs with annotated relevance: which pixels show the object, and where people looked, as far as it is known.
It is a test set: what was measured on it says nothing any more about a method that was chosen or tuned on it.

## Loading

    samples = vitreous.worlds.shared("FOLDER")          # as vitreous uses it
    data = datasets.load_dataset("FOLDER")["test"]      # with Hugging Face's library

## Licence

{licence}. It was stated by whoever exported the data, and covers what they had the right to pass on.

## Sources

{_listed(sources or ["not stated"])}

## What is in it

{_listed(_statistics(samples, rows))}

{columns}

## Caveats

{_listed([*caveats, *_left_out(samples)] or ["none stated"])}

Written by vitreous {__version__}, layout {LAYOUT}.
"""


def _statistics(samples: Samples, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Count what is known about how many samples."""
    regions = [region for row in rows for region in row["regions"]]
    yield (
        f"{len(rows)} photographs, {sum(bool(row['masks_file_names']) for row in rows)} with masks, "
        f"{sum(any(region['box'] for region in row['regions']) for row in rows)} with boxes, "
        f"{sum(bool(row['human']) for row in rows)} with human maps"
    )
    yield f"{len(regions)} regions, {sum(region['crowd'] for region in regions)} of them crowds"
    classes = Counter(row["label"] for row in rows if row["label"] is not None)
    yield f"classes: {', '.join(f'{name} {count}' for name, count in sorted(classes.items())) or 'none'}"
    kinds = Counter(each["name"] for row in rows for each in row["human"])
    if kinds:
        yield f"human maps: {', '.join(f'{name} {count}' for name, count in sorted(kinds.items()))}"
    shares = [float(mask.inside.mean()) for sample in samples if (mask := sample.mask()) is not None]
    if shares:
        low, middle, high = np.quantile(shares, (0, 0.5, 1))
        yield f"share of a photograph inside its masks: median {middle:.3f}, from {low:.3f} to {high:.3f}"
    if samples.notes:
        yield f"{len(samples.notes)} notes on what loading the original left out are in `metadata.parquet`"


def _left_out(samples: Samples) -> Iterator[str]:
    from vitreous.worlds.rendered.load import SceneSample  # noqa: PLC0415  (heavier than most data sets)

    yield "Photographs were turned upright and saved as 8-bit RGB; metadata and colour profiles are not in it."
    if any(isinstance(sample, SceneSample) for sample in samples):
        yield (
            "Scenes are pictures here: what they look like without one of their things is not in it, so that metrics "
            "which need it leave them out."
        )


def _listed(lines: Sequence[str] | Iterator[str]) -> str:
    return "\n".join(f"- {' '.join(line.split())}" for line in lines)


def _size(count: int) -> str:
    """Give the category of sizes that Hugging Face knows."""
    for most, name in ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M")):
        if count < most:
            return name
    return "1M<n<10M"


def arrow_modules() -> tuple[Any, Any]:
    """Load pyarrow and its module for Parquet. Raises MissingExtraError."""
    try:
        import pyarrow as pa  # noqa: PLC0415  (only shared data sets need it)
        from pyarrow import parquet  # noqa: PLC0415
    except ModuleNotFoundError as problem:
        raise MissingExtraError.of("pyarrow", "data", "A shared data set") from problem
    return pa, parquet
