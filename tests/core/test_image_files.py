"""Reading photographs from paths: robustness items 1 and 11 to 13."""

import errno
import io
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitreous.core import images
from vitreous.core.errors import ImageDamagedError, ImageFormatError, ImageNotFoundError
from vitreous.core.images import Photo, read_photo

COLOURS = np.random.default_rng(7).integers(0, 256, (5, 9, 3), dtype=np.uint8)
PICTURE = Image.fromarray(COLOURS)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(photo: Photo) -> np.ndarray:
    return np.asarray(photo.image)


PNG = encoded(PICTURE, "PNG")


# --- 1 what does not exist


def test_missing_file_names_its_neighbours(tmp_path):
    (tmp_path / "koala.jpg").touch()
    with pytest.raises(ImageNotFoundError, match=r"no 'kola.jpg' in .*Did you mean 'koala.jpg'\?"):
        read_photo(tmp_path / "kola.jpg")
    with pytest.raises(ImageNotFoundError, match=r"Did you mean 'koala.jpg'\?"):
        read_photo(tmp_path / "KOALA.JPG")
    (tmp_path / "photos").mkdir()
    with pytest.raises(ImageNotFoundError, match=r"there is no 'photo' in .*Did you mean 'photos'\?"):
        read_photo(tmp_path / "photo" / "deep" / "koala.jpg")


@pytest.mark.parametrize("url", ["http://x/a.png", "https:/x/a.png", "file:///a.png", "data:image/png,A"])
def test_addresses_are_not_read(url):
    with pytest.raises(ImageNotFoundError, match=r"addresses are not read\. Download it first"):
        read_photo(url)


# --- 11 names of all kinds


@pytest.mark.parametrize(
    "name", ["猫.png", "🐈‍⬛.png", "\u202egnp.png", "صورة.png", "a b\n'c'.png", "CON.png", "x.PNG.bak"]
)
def test_names_are_kept(tmp_path, name):
    (tmp_path / name).write_bytes(PNG)
    assert read_photo(tmp_path / name).name == name
    (tmp_path / name).write_bytes(b"text")
    with pytest.raises(ImageFormatError) as caught:
        read_photo(tmp_path / name)
    assert str(caught.value).isprintable(), "control characters of a name reached the terminal"


def test_names_that_are_no_text_can_be_written_to_a_record(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Path(os.fsdecode(path)).write_bytes(PNG)
    assert read_photo(os.fsdecode(path)).name == "caf?.png"


def test_equal_names_in_two_folders_are_two_photographs(tmp_path):
    for folder, colour in (("a", "red"), ("b", "blue")):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (2, 2), colour).save(tmp_path / folder / "x.png")
    first, second = read_photo(tmp_path / "a" / "x.png"), read_photo(tmp_path / "b" / "x.png")
    assert first.name == second.name
    assert first.digest != second.digest
    assert first != second


def test_impossible_names(tmp_path):
    with pytest.raises(ImageNotFoundError, match="longer than the file system allows") as caught:
        read_photo(tmp_path / ("x" * 5000))
    assert len(str(caught.value)) < 500
    with pytest.raises(ImageNotFoundError, match="NUL"):
        read_photo("a\0b.png")
    (tmp_path / "file").touch()
    with pytest.raises(ImageNotFoundError, match="leads through something that is not a directory"):
        read_photo(tmp_path / "file" / "a.png")


# --- 12 directories, links, pipes and devices


def test_only_ordinary_files_are_read(tmp_path):
    with pytest.raises(ImageNotFoundError, match="is a directory, not a file"):
        read_photo(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageNotFoundError, match="is a pipe"):
        read_photo(tmp_path / "pipe.png")
    with pytest.raises(ImageNotFoundError, match="is a device"):
        read_photo("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "s.png"))  # the absolute path may be too long for a socket
        with pytest.raises(ImageNotFoundError, match="is a socket"):
            read_photo(tmp_path / "s.png")


def test_a_pipe_put_in_the_place_of_a_file_does_not_block(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    real = os.open

    def swap(*arguments):
        path.unlink()
        os.mkfifo(path)
        return real(*arguments)

    monkeypatch.setattr(images.os, "open", swap)
    with pytest.raises(ImageNotFoundError, match="is a pipe"):
        read_photo(path)


def test_links_are_followed_to_files_only(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "good.png").symlink_to("a.png")
    assert np.array_equal(pixels(read_photo(tmp_path / "good.png")), COLOURS)
    (tmp_path / "dangling.png").symlink_to("nothing.png")
    with pytest.raises(ImageNotFoundError, match="a link to a file that does not exist"):
        read_photo(tmp_path / "dangling.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(ImageNotFoundError, match="a loop of symbolic links"):
        read_photo(tmp_path / "loop.png")


@pytest.mark.parametrize(("owner", "step"), [(os, "open"), (Path, "stat")], ids=["file", "directory"])
def test_unreadable_files_and_directories(tmp_path, monkeypatch, owner, step):
    (tmp_path / "a.png").write_bytes(PNG)

    def refuse(*_):  # the tests may run as root, whom no permission stops
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(owner, step, refuse)
        with pytest.raises(ImageNotFoundError, match=r"may not be read by this user \(permission denied\)"):
            read_photo(tmp_path / "a.png")


def test_a_disk_that_fails_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(PNG)

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(images.os, "open", fail)
    with pytest.raises(ImageNotFoundError, match=r"cannot be read \(Input/output error\)"):
        read_photo(tmp_path / "a.png")


# --- 13 the file changes while read

OLD, NEW = Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "blue")
LONG_AGO = 10**18, 10**18


def replace_atomically(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(encoded(NEW, "BMP"))
    other.replace(path)


def rewrite(path: Path) -> None:
    path.write_bytes(encoded(NEW, "BMP"))


def rewrite_half(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(6000)
        file.write(encoded(NEW, "BMP")[6000:])


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(100))
    os.utime(path, ns=LONG_AGO)  # as on a clock too coarse to show it: the length must show it


def shorten(path: Path) -> None:
    os.truncate(path, 5000)
    os.utime(path, ns=LONG_AGO)


@pytest.mark.parametrize("change", [replace_atomically, rewrite, rewrite_half, append, shorten])
@pytest.mark.parametrize("moment", [1, 2])
def test_a_file_that_changes_is_read_old_or_new_and_never_mixed(tmp_path, monkeypatch, change, moment):
    """The change comes just before (1) or just after (2) the bytes are read from the open file."""
    path = tmp_path / "a.bmp"
    path.write_bytes(encoded(OLD, "BMP"))
    os.utime(path, ns=LONG_AGO)  # so that a change shows on the coarsest clock
    real, calls = os.fstat, []

    def watched(descriptor):
        calls.append(descriptor)
        result = real(descriptor) if len(calls) == 1 else None
        if len(calls) == moment:
            change(path)
        return result or real(descriptor)

    monkeypatch.setattr(images.os, "fstat", watched)
    if change is replace_atomically:
        assert (pixels(read_photo(path)) == (255, 0, 0)).all()
    else:
        with pytest.raises(ImageDamagedError, match="changed while it was being read"):
            read_photo(path)
    assert len(calls) == 2
