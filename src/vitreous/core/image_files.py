"""Reading files that are not trusted: ordinary files only, once, whole, and within a limit.

A name may come from an upload form or a list that somebody else wrote. It may mean a device that never
ends, a pipe that never answers, or a file that is still being written; each of these has its own message
here. Decoding what was read is the business of `core.images`.
"""

import errno
import itertools
import os
import re
import stat
from pathlib import Path
from typing import NoReturn

from vitreous.core.errors import ImageDamagedError, ImageNotFoundError, ImageTooLargeError, near_matches

_URL = re.compile(r"(?i)[a-z][a-z0-9+.-]+://|(?:https?|ftp|file):/|data:")


def read_file(text: str, most: int) -> bytes:
    """Read an ordinary file whole; one that grows, shrinks or is rewritten meanwhile is an error.

    text  the path as given; symbolic links are followed, web addresses refused
    most  limit in bytes, compared before anything is read

    A file that is *replaced* meanwhile is no error: the open one keeps its old contents. A rewrite to the
    same length within one tick of the file system's clock (milliseconds) is beyond what can be seen.

    Raises ImageNotFoundError if the path names no readable ordinary file, with the reason and near matches,
    ImageTooLargeError above the limit, and ImageDamagedError if the file changed.
    """
    if _URL.match(text):
        raise ImageNotFoundError(
            f"The image {shown(text)} is a web address, and addresses are not read.",
            "Download it first and give the path of the file.",
        )
    # Without O_NONBLOCK, opening a pipe that took the file's place after the check would wait for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        _require_ordinary(Path(text).stat(), text)  # first, because opening a device can already act on it
        with os.fdopen(os.open(text, flags), "rb") as file:
            before = os.fstat(file.fileno())
            _require_ordinary(before, text)
            if before.st_size > most:
                refuse_bytes(text, before.st_size, most)
            data = file.read(before.st_size)
            after = os.fstat(file.fileno())
    except (OSError, ValueError) as error:
        _refuse_path(text, error)
    if not len(data) == before.st_size == after.st_size or before.st_mtime_ns != after.st_mtime_ns:
        raise ImageDamagedError(
            f"The image {shown(text)} changed while it was being read.",
            "Wait until the program that writes it has finished, then read it again.",
        )
    return data


def _require_ordinary(status: os.stat_result, text: str) -> None:
    """Refuse folders, pipes, sockets and devices by name. Asked twice: for the path, and for what was then opened."""
    if stat.S_ISREG(status.st_mode):
        return
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    kind = kinds.get(stat.S_IFMT(status.st_mode), "a device")
    raise ImageNotFoundError(f"The image {shown(text)} is {kind}, not a file.", "Give the path of a file.")


def _refuse_path(text: str, error: OSError | ValueError) -> NoReturn:
    """Say in words why a path cannot be read.

    The cause tells what to mend; the operating system's own text stands in only for what is not known here.
    """
    if isinstance(error, ValueError):
        cause, fix = "is not a possible path (it holds a NUL or a character that no file name can have)", ""
    elif error.errno == errno.ENOENT and Path(text).is_symlink():
        cause, fix = "is a link to a file that does not exist", "Mend the link or give the file itself."
    elif error.errno == errno.ENOENT:
        cause, fix = _missing(Path(text))
    else:
        known = {
            errno.ELOOP: "is a loop of symbolic links",
            errno.ENAMETOOLONG: "has a name longer than the file system allows",
            errno.ENOTDIR: "leads through something that is not a directory",
            errno.EACCES: "may not be read by this user (permission denied)",
            errno.EPERM: "may not be read by this user (permission denied)",
        }
        cause, fix = known.get(error.errno or 0, f"cannot be read ({error.strerror})"), ""
    raise ImageNotFoundError(
        f"The image {shown(text)} {cause}.", fix or "Give the path of an image file that can be read."
    ) from error


def _missing(path: Path) -> tuple[str, str]:
    """Find the first part of the path that does not exist, and what resembles it there.

    Gives the cause and the advice, empty if nothing does. A name that differs by case alone goes first: it
    is what happens to lists made on another system. At most 10,000 names of a folder are looked at.
    """
    while path.parent != path and not path.parent.exists():
        path = path.parent
    try:
        names = [entry.name for entry in itertools.islice(path.parent.iterdir(), 10_000)]
    except OSError:
        names = []
    same = [name for name in names if name.casefold() == path.name.casefold()]
    cause = f"does not exist (there is no {shown(path.name)} in {shown(str(path.parent))})"
    return cause, f"Did you mean {same[0]!r}?" if same else near_matches(path.name, names)


def writable(name: str) -> str:
    """Replace the bytes of a file name that are no text, so that records can be written as UTF-8.

    >>> writable("caf" + chr(0xDCE9) + ".jpg")
    'caf?.jpg'
    """
    return name.encode("utf-8", "replace").decode("utf-8")


def shown(text: str) -> str:
    """Quote a name for a message: control characters escaped, the middle of an endless one left out."""
    return repr(text if len(text) <= 200 else f"{text[:120]}…{text[-60:]}")


def refuse_bytes(text: str, size: int, most: int) -> NoReturn:
    """Refuse a file, or the bytes of one, for its length. Always raises ImageTooLargeError."""
    raise ImageTooLargeError(
        f"The image {shown(text)} has {size:,} bytes; the limit is {most:,}.",
        "Make it smaller, or pass limits=ReadLimits(max_bytes=…) if you trust it.",
    )
