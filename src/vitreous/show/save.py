"""Saving pictures: a PNG that carries the record of what it shows, written whole or not at all.

A picture ends up in slides and messages without the file it came from. The record in it tells which model,
weights, image and method made it, and every display step; any reader of PNG text chunks can see it. Only
PNG is written: JPEG would add edges of its own to the map.
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, PngImagePlugin

from vitreous.core.errors import OutputError
from vitreous.core.heatmap import Heatmap
from vitreous.core.heatmap_file import write_whole

RECORD = "vitreous"  # key of the record in `image.info` and in the PNG's text
DESCRIPTION = "Description"  # the PNG specification's own key for what a picture shows


def attach_record(
    image: Image.Image, heatmaps: Sequence[Heatmap], display: Sequence[str], description: str
) -> Image.Image:
    """Put provenance, display steps and a description in words into `image.info`, and give the same image.

    heatmaps     all maps that the picture shows; each contributes its provenance
    display      what was done to draw them, one sentence each; added to the provenances' own
    description  what the picture shows, for readers who cannot see it

    The key `RECORD` holds JSON: "heatmaps" with one provenance each, and "display".
    """
    records = [
        heatmap.provenance.model_copy(update={"display": (*heatmap.provenance.display, *display)}).model_dump()
        for heatmap in heatmaps
    ]
    # ASCII, because the plain text chunk of PNG holds nothing else.
    image.info[RECORD] = json.dumps({"heatmaps": records, "display": list(display)}, ensure_ascii=True, default=repr)
    image.info[DESCRIPTION] = description
    return image


def save_png(image: Image.Image, path: str | Path, overwrite: bool = False) -> Path:
    """Write a picture with its record as PNG text: atomically, and never over an existing file unless asked.

    A picture without a record is written without one. Gives the path. The record can be read back from the
    file:

        json.loads(PIL.Image.open("cat.png").text["vitreous"])["heatmaps"][0]["method"]

    Raises OutputExistsError if the file exists, OutputError if it is not called .png or cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise OutputError(f"{path} is not a name for a PNG file.", "Give a path that ends in .png.")
    text = PngImagePlugin.PngInfo()
    for key in (RECORD, DESCRIPTION):
        if isinstance(image.info.get(key), str):
            text.add_text(key, image.info[key].encode("utf-8", "replace").decode())
    content = io.BytesIO()
    image.save(content, format="PNG", pnginfo=text)
    return write_whole(path, content.getvalue(), overwrite)
