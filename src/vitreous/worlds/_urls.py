"""Reading from addresses of fsspec: s3://, gs://, https://, hf://, file://, memory:// and whatever else is installed.

Addresses are read when asked for, nothing is kept on the disk. What was learnt from an address is not trusted more than
a file: limits are asked for before bytes, and a photograph that cannot be had is an error of that photograph alone.
"""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from vitreous.core.errors import DataError, ImageNotFoundError, ImageTooLargeError, InputError, MissingExtraError
from vitreous.core.image_files import shown
from vitreous.core.images import Fetched

Options = Mapping[str, Any] | None
"""What a file system is told, for instance {"anon": True} for a public bucket."""


@dataclass(frozen=True)
class Place:
    """A file or a folder at an address.

    system  the file system of fsspec
    path    on it, without its protocol
    url     as it was given, for messages
    """

    system: Any = field(repr=False)
    path: str
    url: str

    def beside(self, name: str) -> "Place":
        """Give a file named relative to this folder."""
        return Place(self.system, posixpath.join(self.path, name), posixpath.join(self.url, name))

    def fetched(self, start: int | None = None, end: int | None = None, name: str | None = None) -> Fetched:
        """Give the image in this file, or in a range of its bytes, to be read when it is asked for."""
        return Fetched(name or posixpath.basename(self.path), partial(_image_bytes, self, start, end))


def place_of(url: str, options: Options = None) -> Place:
    """Find the file system of an address. Raises MissingExtraError, and InputError for an unknown protocol."""
    try:
        import fsspec  # noqa: PLC0415  (only addresses need it)
    except ImportError as problem:
        raise MissingExtraError.of("fsspec", "ray", "Reading from an address") from problem
    try:
        system, path = fsspec.core.url_to_fs(url, **dict(options or {}))
    except (ImportError, ValueError, TypeError) as problem:
        raise InputError(
            f"The address {shown(url)} cannot be read ({str(problem).rstrip('.')}).",
            "Give an address that fsspec knows, and install what its protocol needs: s3fs, gcsfs, aiohttp.",
        ) from problem
    return Place(system, path, url)


def places_of(url: str, options: Options = None) -> list[Place]:
    """Find the files that an address with a pattern (*) names, sorted; one without is one file. Raises as above."""
    place = place_of(url, options)
    if "*" not in url:
        return [place]
    found = sorted(attempt(place, "The files", place.system.glob, place.path))
    if not found:
        raise DataError(f"No file matches {shown(url)}.", "Check the address.")
    return [Place(place.system, path, place.system.unstrip_protocol(path)) for path in found]


def attempt(place: Place, what: str, do: Any, *given: Any, **named: Any) -> Any:
    """Ask the file system for something. Raises DataError for whatever goes wrong; `what` begins the message."""
    try:
        return do(*given, **named)
    except FileNotFoundError as problem:
        raise DataError(f"{what} {shown(place.url)} is not there.", "Check the address.") from problem
    except Exception as problem:  # file systems of strangers, each with errors of its own
        told = next(iter(str(problem).strip().splitlines()), "")[:200].rstrip(".")
        raise DataError(
            f"{what} {shown(place.url)} cannot be read ({type(problem).__name__}: {told}).",
            "Check the address, the connection, and options such as {'anon': True}.",
        ) from problem


def _image_bytes(place: Place, start: int | None, end: int | None, most: int) -> bytes:
    """Read an image's bytes, within the limit. Raises ImageNotFoundError and ImageTooLargeError."""
    first = start or 0
    last = first + most + 1 if end is None else min(end, first + most + 1)  # one byte too many tells of all others
    try:
        found = bytes(place.system.cat_file(place.path, start=first, end=last))
    except FileNotFoundError as problem:
        raise ImageNotFoundError(f"The image {shown(place.url)} is not there.", "Check the address.") from problem
    except Exception as problem:  # file systems of strangers, each with errors of its own
        told = next(iter(str(problem).strip().splitlines()), "")[:200].rstrip(".")
        raise ImageNotFoundError(
            f"The image {shown(place.url)} cannot be read ({type(problem).__name__}: {told}).",
            "Check the address and the connection.",
        ) from problem
    if end is not None and len(found) > last - first:
        found = found[first:last]  # the server knows no ranges, and sent the file
    if len(found) > most:
        raise ImageTooLargeError(
            f"The image {shown(place.url)} has more bytes than the limit of {most:,}.", "Make it smaller."
        )
    return found
