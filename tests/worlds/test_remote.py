"""Photographs at addresses: in memory, on the disk and from a web server, as the loaders of the disk give them."""

import http.server
import io
import pickle
import tarfile
import threading
from functools import partial

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet as arrow_parquet

import vitreous as vt
from oracles.planted import open_planted

NAMES = ["cat/a.png", "cat/b.png", "dog/c.png"]


def png(seed):
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (12, 16, 3), dtype=np.uint8)).save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def files(tmp_path):
    """Three photographs of two classes on the disk."""
    for seed, name in enumerate(NAMES):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(seed))
    return tmp_path / "set"


@pytest.fixture(params=["memory", "file"])
def place(request, files):
    """The same at an address."""
    if request.param == "file":
        return files.as_uri()
    system = fsspec.filesystem("memory")
    system.rm("/set", recursive=True) if system.exists("/set") else None
    for name in NAMES:
        system.pipe(f"/set/{name}", (files / name).read_bytes())
    return "memory://set"


def write(url, content):
    with fsspec.open(url, "wb") as file:
        file.write(content)


def tar(members):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def digests(samples):
    return [sample.photo().digest for sample in samples]


def told(samples):
    return [(sample.id, sample.label, sample.index) for sample in samples]


def test_a_folder_at_an_address_is_the_folder_on_the_disk(files, place):
    there, here = vt.worlds.remote(place), vt.worlds.folder(files)
    assert told(there) == told(here)
    assert there.labels == here.labels
    assert digests(there) == digests(here)
    assert digests(pickle.loads(pickle.dumps(vt.worlds.remote(files.as_uri())))) == digests(here)


def test_a_damaged_and_a_vanished_photograph_are_errors_of_their_own_rows(files):
    samples = vt.worlds.remote(files.as_uri())
    (files / "cat" / "a.png").write_bytes(png(0)[:80])
    (files / "cat" / "b.png").unlink()
    found = vt.evaluate(open_planted(), samples, ["rollout"], ["srg(steps=2)"])
    by = {row.sample: row for row in found.rows if row.method == "rollout"}
    assert [by[name].status for name in NAMES] == ["failed", "failed", "ok"]
    assert "VX-E103" in by["cat/a.png"].reason
    assert "VX-E101" in by["cat/b.png"].reason
    assert "b.png" in by["cat/b.png"].reason


def test_more_bytes_than_the_limit_are_not_read(files):
    image = vt.worlds.remote(files.as_uri())[0].image
    with pytest.raises(vt.VitreousError, match="VX-E104"):
        image.fetch(10)
    assert image.fetch(10**6) == png(0)


def test_a_web_server_is_an_address_as_well(files):
    whole = tar({"a.png": png(0), "a.cls": b"1", "b.png": png(1), "b.cls": b"0"})
    (files / "shard-0.tar").write_bytes(whole)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(files)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        samples = vt.worlds.webdataset(f"http://127.0.0.1:{server.server_port}/shard-0.tar")
        assert told(samples) == [("a", "1", 1), ("b", "0", 0)]
        # This server knows no ranges and sends all of the file: that must not be taken for the range.
        assert [sample.image.fetch(10**6) for sample in samples] == [png(0), png(1)]
    finally:
        server.shutdown()
        server.server_close()


def test_shards_give_samples_with_classes_and_several_shards_are_one_set(place):
    write(f"{place}/val-08.tar", tar({"x/a.png": png(0), "x/a.cls": b"1", "x/a.json": b"{}", "b.png": png(1)}))
    write(f"{place}/val-09.tar", tar({"b.png": png(2), "b.cls": b"0", "lost.cls": b"1"}))
    samples = vt.worlds.webdataset(place + "/val-{08..09}.tar", labels=["zero", "one"])
    assert told(samples) == [("x/a", "one", 1), ("val-08.tar/b", None, None), ("val-09.tar/b", "zero", 0)]
    assert [sample.image.fetch(10**6) for sample in samples] == [png(0), png(1), png(2)]
    assert ["lost" in note for note in samples.notes] == [True]
    assert told(vt.worlds.webdataset(place + "/val-*.tar", labels=["zero", "one"])) == told(samples)


def test_names_as_classes_are_sorted(place):
    write(f"{place}/named.tar", tar({"a.png": png(0), "a.cls": b"dog", "b.png": png(1), "b.cls": b"cat"}))
    samples = vt.worlds.webdataset(f"{place}/named.tar")
    assert samples.labels == ("cat", "dog")
    assert told(samples) == [("a", "dog", 1), ("b", "cat", 0)]


def table(place, name, **columns):
    content = io.BytesIO()
    arrow_parquet.write_table(pa.table(columns), content, row_group_size=2)
    write(f"{place}/{name}", content.getvalue())


def test_parquet_holds_bytes_structs_or_paths(place):
    bytes_ = [png(seed) for seed in range(3)]
    table(place, "a.parquet", image=bytes_, label=[1, 0, None], id=["p", "q", "r"])
    table(place, "b.parquet", image=[{"bytes": each, "path": None} for each in bytes_], label=["y", "x", "y"])
    table(place, "c.parquet", picture=NAMES)
    first = vt.worlds.parquet(f"{place}/a.parquet", labels=["zero", "one"])
    assert told(first) == [("p", "one", 1), ("q", "zero", 0), ("r", None, None)]
    second = vt.worlds.parquet(f"{place}/b.parquet")
    assert told(second) == [("b.parquet/0", "y", 1), ("b.parquet/1", "x", 0), ("b.parquet/2", "y", 1)]
    third = vt.worlds.parquet(f"{place}/c.parquet", image="picture")
    assert digests(first) == digests(second) == digests(third)


@pytest.mark.parametrize(
    ("load", "address", "reason"),
    [("remote", "memory://nowhere", "not there|no photograph"), ("webdataset", "memory://set/none.tar", "not there"),
     ("webdataset", "memory://set/x.tar.gz", "compressed"), ("webdataset", "memory://set/cat/a.png", "cannot be read"),
     ("webdataset", "memory://set/*.none", "No file"), ("parquet", "memory://set/cat/a.png", "cannot be read"),
     ("remote", "unheard://x", "cannot be read")],
)  # fmt: skip
def test_what_is_no_data_set_is_refused(place, load, address, reason):
    with pytest.raises(vt.VitreousError, match=reason):
        getattr(vt.worlds, load)(address.replace("memory://set", place))


def test_a_missing_column_and_two_rows_of_one_id_are_refused(place):
    table(place, "d.parquet", image=[png(0)] * 2, id=["p", "p"])
    with pytest.raises(vt.VitreousError, match="several times"):
        vt.worlds.parquet(f"{place}/d.parquet")
    with pytest.raises(vt.VitreousError, match="has no column 'photo'; it has image, id"):
        vt.worlds.parquet(f"{place}/d.parquet", image="photo")
    table(place, "e.parquet", image=[png(0), None])
    samples = vt.worlds.parquet(f"{place}/e.parquet")
    assert samples[0].photo().size == (12, 16)
    with pytest.raises(vt.VitreousError, match=r"VX-E101.*no image"):
        samples[1].photo()
