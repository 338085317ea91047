"""Tiny photographs, masks and lists for the tests of the loaders."""

import numpy as np
from PIL import Image

WIDE, HIGH = 6, 4  # never square: an exchange of axes must show


def save_photo(path, width=WIDE, height=HIGH, orientation=None, seed=0):
    """Write a photograph of noise; JPEG for the extensions of JPEG, PNG otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    options = {}
    if orientation is not None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    kind = "JPEG" if path.suffix.lower() in {".jpg", ".jpeg"} else "PNG"
    Image.fromarray(pixels).save(path, kind, **options)
    return path


def save_mask(path, values, mode="L"):
    """Write a mask; mode "P" gives each index a colour, so that reading colours would show."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values, dtype=np.uint8))
    if mode == "P":
        image.putpalette([(7 * value + 3) % 256 for value in range(768)])
    image.save(path)
    return path


def block(inside=255, rows=slice(1, 3), columns=slice(2, 5), width=WIDE, height=HIGH):
    """Give mask values with one rectangle."""
    values = np.zeros((height, width), dtype=np.uint8)
    values[rows, columns] = inside
    return values


_OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult>
  <part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>
  <bndbox><xmax>{xmax}</xmax><xmin>{xmin}</xmin><ymin>{ymin}</ymin><ymax>{ymax}</ymax></bndbox></object>"""


def xml(objects, width=WIDE, height=HIGH, start=""):
    """Write the XML of VOC; `start` stands before it."""
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"{start}<annotation><filename>x.jpg</filename>{size}{''.join(objects)}</annotation>"


def item(name="cat", xmin=2, ymin=1, xmax=6, ymax=3, difficult=0):
    """Write one object, with a part whose box is not to be read."""
    return _OBJECT.format(name=name, xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax, difficult=difficult)
