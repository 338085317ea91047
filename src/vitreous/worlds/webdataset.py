"""Photographs in WebDataset shards: tar files in which files of one name but their extension are one sample.

    shard-000000.tar
      n01440764_10026.jpg   the photograph
      n01440764_10026.cls   its class: a number, or a name

Only the headers of the members and the classes are read when it is loaded; a photograph is fetched by its range of
bytes when it is read. What is done about accidents:

- a compressed shard is refused: nothing in it can be read without all that is before it
- a sample without a photograph, or with a class that is no text, is left out and noted
- one name in two shards gets the shard's name before it, as ids have to differ
- other files of a sample (.json, .txt) are not read
"""

import posixpath
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from vitreous.core.errors import DataError, InputError
from vitreous.core.image_files import shown
from vitreous.worlds._files import PHOTOGRAPHS
from vitreous.worlds._urls import Options, Place, attempt, places_of
from vitreous.worlds.sample import Sample, Samples

_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST_CLASS = 256  # bytes of a class: the longest names of ImageNet have 121


@dataclass
class _Draft:
    """What a shard holds of one sample."""

    shard: Place
    key: str
    image: tuple[int, int, str] | None = None
    label: str | None = None


def webdataset(url: str, labels: tuple[str, ...] | list[str] | None = None, options: Options = None) -> Samples:
    """Load WebDataset shards from a path or an address that fsspec knows (extra "ray").

    url      one shard, or several by numbers in braces or a pattern: "s3://bucket/val-{000000..000049}.tar",
             "shards/*.tar"
    labels   class names by number, for classes that are written as numbers; None leaves them numbers
    options  of the file system, such as {"anon": True} for a public bucket

    Ids are the names of the samples. Raises DataError for shards that are not there or no tar files, and InputError and
    MissingExtraError for an address that cannot be read at all.
    """
    notes: list[str] = []
    drafts: list[_Draft] = []
    for shard in _shards(url, options):
        for draft in attempt(shard, "The shard", _drafts, shard):
            if draft.image is None:
                notes.append(f"left out: {draft.key!r} of {shown(shard.url)} has no photograph")
            else:
                drafts.append(draft)
    if not drafts:
        raise DataError(f"There is no photograph in {shown(url)}.", "Give shards with .jpg or .png members.")
    several = {key for key, count in _counted(drafts).items() if count > 1}
    numbered = all(draft.label is None or draft.label.isdecimal() for draft in drafts)
    names = tuple(labels) if labels and numbered else None
    if not numbered:
        names = tuple(sorted({draft.label for draft in drafts if draft.label is not None}))
    samples = [_sample(draft, several, names, numbered) for draft in drafts]
    return Samples(posixpath.basename(url), tuple(samples), names, tuple(notes))


def _shards(url: str, options: Options) -> Iterator[Place]:
    """Find the shards that an address names, in the order of their names."""
    if re.search(r"\.(gz|tgz|bz2|xz|zst)$", url):
        raise InputError(f"The shards {shown(url)} are compressed.", "Unpack them to .tar: photographs are already.")
    for each in _expanded(url):
        yield from places_of(each, options)


def _expanded(url: str) -> list[str]:
    """Write out numbers in braces.

    >>> _expanded("val-{008..010}.tar")
    ['val-008.tar', 'val-009.tar', 'val-010.tar']
    """
    match = _BRACES.search(url)
    if match is None:
        return [url]
    first, last = match.groups()
    numbers = [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    return [more for number in numbers for more in _expanded(url[: match.start()] + number + url[match.end() :])]


def _drafts(shard: Place) -> list[_Draft]:
    """Go through the members of a shard. Raises what the file system and tarfile raise."""
    found: dict[str, _Draft] = {}
    with shard.system.open(shard.path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            folder, name = posixpath.split(member.name)
            stem, dot, extension = name.partition(".")
            if not member.isfile() or not dot or not stem:
                continue
            key = posixpath.join(folder, stem)
            draft = found.setdefault(key, _Draft(shard, key))
            if f".{extension.lower()}" in PHOTOGRAPHS:
                draft.image = (member.offset_data, member.offset_data + member.size, name)
            elif extension == "cls" and member.size <= _MOST_CLASS:
                content = archive.extractfile(member)
                draft.label = content.read().decode("utf-8", "replace").strip() or None if content else None
    return list(found.values())


def _counted(drafts: list[_Draft]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for draft in drafts:
        counted[draft.key] = counted.get(draft.key, 0) + 1
    return counted


def _sample(draft: _Draft, several: set[str], names: tuple[str, ...] | None, numbered: bool) -> Sample:
    if draft.image is None:
        raise AssertionError(draft.key)  # those without a photograph were left out
    start, end, name = draft.image
    shard = posixpath.basename(draft.shard.path)
    index = None
    if draft.label is not None:
        index = int(draft.label) if numbered else (names or ()).index(draft.label)
    label = draft.label if names is None or index is None or index >= len(names) else names[index]
    return Sample(
        f"{shard}/{draft.key}" if draft.key in several else draft.key,
        draft.shard.fetched(start, end, name),
        label,
        index,
    )
