"""Images with something known about them: rendered scenes, whose truth is exact, and data sets of photographs.

Every loader gives `Samples`, a sequence of `Sample`. Nothing is downloaded, except what `remote`,
`parquet` and `webdataset` are given an address of.

scenes       rendered scenes: those of the package, or of a folder that `vitreous worlds render` wrote
folder       photographs in a folder, classes as sub-folders
manifest     a list of your own, as CSV or Parquet
masks        photographs and masks of the same names
coco         COCO instances: boxes, outlines, crowds
voc          PASCAL VOC: segmented or boxed objects
pets         Oxford-IIIT Pet: breeds and masks
imagenet     ImageNet's validation photographs with boxes
sod          salient objects
human_maps   where people looked
remote       photographs in a folder at an address: s3://, gs://, https://, … (extra "ray")
parquet      photographs in Parquet files, on the disk or at an address
webdataset   photographs in tar shards, on the disk or at an address
shared       a data set that `export` wrote
export       any of these as Parquet, PNG and a data card, for others
repeats      the same photograph twice, within data sets or across them
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Loaders are light and are imported here, not on first use: each has the name of its module, and importing a module
# later would put the module in the place of the function.
from vitreous.worlds.coco import coco
from vitreous.worlds.export import export
from vitreous.worlds.folder import folder
from vitreous.worlds.human import human_maps
from vitreous.worlds.imagenet import imagenet
from vitreous.worlds.manifest import manifest
from vitreous.worlds.masks import masks
from vitreous.worlds.parquet import parquet
from vitreous.worlds.pets import pets
from vitreous.worlds.remote import remote
from vitreous.worlds.repeats import repeats
from vitreous.worlds.sample import HumanMap, Mask, Region, Sample, Samples
from vitreous.worlds.shared import shared
from vitreous.worlds.sod import sod
from vitreous.worlds.voc import voc
from vitreous.worlds.webdataset import webdataset

if TYPE_CHECKING:
    from vitreous.worlds.rendered.load import scenes

# Names that need more than numpy and Pillow, with the module of each; none may be called like a module in this folder.
_HOME: dict[str, str] = {"scenes": "vitreous.worlds.rendered.load"}

__all__ = [
    "HumanMap",
    "Mask",
    "Region",
    "Sample",
    "Samples",
    "coco",
    "export",
    "folder",
    "human_maps",
    "imagenet",
    "manifest",
    "masks",
    "parquet",
    "pets",
    "remote",
    "repeats",
    "scenes",
    "shared",
    "sod",
    "voc",
    "webdataset",
]


def __getattr__(name: str) -> Any:
    """Load a heavy name from its home on first use (PEP 562) and keep it.

    Raises AttributeError for any other name.
    """
    if name not in _HOME:
        raise AttributeError(f"module 'vitreous.worlds' has no attribute {name!r}")
    found = getattr(import_module(_HOME[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
