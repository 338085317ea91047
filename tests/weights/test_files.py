"""Weight files as they come: damaged, disguised, hostile. None runs code, and each is refused in a sentence."""

import argparse
import errno
import io
import json
import os
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vitreous.core.errors import UnsafeWeightsError, WeightsError
from vitreous.vit.weights import load_weights

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.tensor([1.0, 2.0])}


def same(loaded) -> bool:
    return loaded.keys() == TENSORS.keys() and all(torch.equal(loaded[name], TENSORS[name]) for name in TENSORS)


def header(path, content, body=b"", length=None):
    """Write a safetensors file by hand, as its format says: length, header, numbers."""
    told = content if isinstance(content, bytes) else json.dumps(content).encode()
    path.write_bytes(struct.pack("<Q", len(told) if length is None else length) + told + body)
    return path


class Bomb:
    """Unpickled without restriction, it creates a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


# -- safetensors ------------------------------------------------------------------------------------------------


def test_safetensors_round_trip(tmp_path):
    save_file(TENSORS, tmp_path / "w.safetensors")
    assert same(load_weights(tmp_path / "w.safetensors"))
    assert same(load_weights(str(tmp_path / "w.safetensors")))


FLOATS = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("name", "content", "body", "length"),
    [
        ("header length huge", {}, b"", 2**62),
        ("header length beyond the file", {"a": FLOATS}, bytes(8), 4096),
        ("numbers cut short", {"a": FLOATS}, bytes(4), None),
        ("numbers left over", {"a": FLOATS}, bytes(12), None),
        ("offsets overlap", {"a": FLOATS, "b": {**FLOATS, "data_offsets": [4, 12]}}, bytes(12), None),
        ("offsets backwards", {"a": {**FLOATS, "data_offsets": [8, 0]}}, bytes(8), None),
        ("shape and length differ", {"a": {**FLOATS, "shape": [3]}}, bytes(8), None),
        ("shape overflows", {"a": {**FLOATS, "shape": [2**40, 2**40]}}, bytes(8), None),
        ("shape negative", {"a": {**FLOATS, "shape": [-2]}}, bytes(8), None),
        ("type unknown", {"a": {**FLOATS, "dtype": "Q7"}}, bytes(8), None),
        ("no JSON", b"{nothing", b"", None),
        ("a list", b"[]", b"", None),
    ],
)
def test_damaged_safetensors(tmp_path, name, content, body, length):
    path = header(tmp_path / "w.safetensors", content, body, length)
    with pytest.raises(WeightsError, match=r"no valid safetensors file.*download or write it again"):
        load_weights(path)


def test_truncated_at_every_length(tmp_path):
    """Cut anywhere, the file is refused: a prefix of a safetensors file is never a safetensors file."""
    save_file(TENSORS, tmp_path / "whole.safetensors")
    whole = (tmp_path / "whole.safetensors").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut.safetensors").write_bytes(whole[:length])
        with pytest.raises(WeightsError):
            load_weights(tmp_path / "cut.safetensors")


def test_safetensors_without_tensors(tmp_path):
    with pytest.raises(WeightsError, match="holds no tensors"):
        load_weights(header(tmp_path / "w.safetensors", {}))


# -- pickles ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".pth", ".pt", ".bin", ".ckpt"])
@pytest.mark.parametrize("zipped", [True, False])
def test_pickle_of_tensors(tmp_path, ending, zipped):
    path = tmp_path / f"w{ending}"
    torch.save(TENSORS, path, _use_new_zipfile_serialization=zipped)
    assert same(load_weights(path))


OTHERS = {name: tensor + 1 for name, tensor in TENSORS.items()}


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": TENSORS, "epoch": 3},
        {"model": TENSORS, "args": argparse.Namespace(lr=0.1)},
        {"model": {"state_dict": TENSORS}},
        {"model_state_dict": TENSORS, "optimizer": {"state": {}}},
        {"state_dict": OTHERS, "state_dict_ema": TENSORS},
        {"model": OTHERS, "model_ema": TENSORS},
        {"student": OTHERS, "teacher": TENSORS},
        {"state_dict": TENSORS, "state_dict_ema": None},
    ],
)
def test_nested_checkpoints(tmp_path, content):
    """Of a trained and an averaged model, the averaged one is taken, which is the one that is evaluated."""
    torch.save(content, tmp_path / "w.pth")
    assert same(load_weights(tmp_path / "w.pth"))


def test_checkpoint_that_contains_itself(tmp_path):
    content = {"epoch": 1}
    content["model"] = content
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="holds no tensors"):
        load_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_bomb_does_not_go_off(tmp_path, zipped):
    trace = tmp_path / "the bomb went off"
    torch.save({**TENSORS, "x": Bomb(trace)}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafeWeightsError, match="could run code"):
        load_weights(tmp_path / "w.pth")
    assert not trace.exists()
    # The bomb is real: unpickled without restriction, it does go off.
    torch.load(tmp_path / "w.pth", weights_only=False)
    assert trace.exists()


def test_bomb_names_what_it_asks_for(tmp_path):
    torch.save({"x": Bomb(tmp_path / "x")}, tmp_path / "w.pth")
    with pytest.raises(UnsafeWeightsError, match=r"posix.mkdir|nt.mkdir"):
        load_weights(tmp_path / "w.pth")


def test_bare_pickle(tmp_path):
    trace = tmp_path / "the bomb went off"
    (tmp_path / "w.pth").write_bytes(pickle.dumps(Bomb(trace)))
    with pytest.raises(WeightsError):
        load_weights(tmp_path / "w.pth")
    assert not trace.exists()


def test_whole_module(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(UnsafeWeightsError, match=r"Linear.*state_dict"):
        load_weights(tmp_path / "w.pth")


def test_numpy_inside(tmp_path):
    torch.save({"a": np.zeros(3)}, tmp_path / "w.pth")
    with pytest.raises(UnsafeWeightsError, match="numpy"):
        load_weights(tmp_path / "w.pth")


def test_numpy_pickle_under_another_name(tmp_path):
    trace = tmp_path / "the bomb went off"
    with (tmp_path / "w.pth").open("wb") as file:
        np.save(file, np.array([Bomb(trace)], dtype=object), allow_pickle=True)
    with pytest.raises(WeightsError, match="is no PyTorch file"):
        load_weights(tmp_path / "w.pth")
    assert not trace.exists()


@pytest.mark.parametrize("ending", [".npz", ".npy", ".pkl", ".joblib", ".h5", ".onnx", ".pt2", ".gguf", ""])
def test_other_endings(tmp_path, ending):
    (tmp_path / f"w{ending}").write_bytes(b"something")
    with pytest.raises(UnsafeWeightsError, match=r"\.safetensors"):
        load_weights(tmp_path / f"w{ending}")


def test_old_tar_format(tmp_path):
    trace = tmp_path / "the bomb went off"
    with tarfile.open(tmp_path / "w.pth", "w") as tar:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            content = pickle.dumps(Bomb(trace), protocol=2)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(UnsafeWeightsError, match=r"\.tar format"):
        load_weights(tmp_path / "w.pth")
    assert not trace.exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_torchscript(tmp_path):
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "w.pt")
    with pytest.raises(UnsafeWeightsError, match="TorchScript"):
        load_weights(tmp_path / "w.pt")


def test_tensor_without_a_name(tmp_path):
    torch.save(torch.zeros(3), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="found Tensor"):
        load_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("zipped", [True, False])
def test_truncated_pickle(tmp_path, share, zipped):
    torch.save({"a": torch.arange(4000.0)}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(WeightsError):
        load_weights(tmp_path / "w.pth")


# -- what is no file of weights at all --------------------------------------------------------------------------


def test_web_page_instead_of_weights(tmp_path):
    (tmp_path / "w.pth").write_text("<!doctype html><title>404</title>")
    with pytest.raises(WeightsError, match=r"is no PyTorch file.*<!doctyp"):
        load_weights(tmp_path / "w.pth")


def test_endings_exchanged(tmp_path):
    save_file(TENSORS, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"safetensors file by its content.*\.safetensors"):
        load_weights(tmp_path / "w.pth")
    torch.save(TENSORS, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"PyTorch file by its content.*\.pth"):
        load_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_empty_file(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(WeightsError, match="empty"):
        load_weights(tmp_path / name)


def test_folder(tmp_path):
    with pytest.raises(WeightsError, match=r"is a folder.*open_vit\(FOLDER\)"):
        load_weights(tmp_path)


def test_missing_file_names_its_neighbours(tmp_path):
    (tmp_path / "deit_tiny.safetensors").touch()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(WeightsError, match=r"does not exist. Did you mean 'deit_tiny.safetensors'"):
        load_weights(tmp_path / "deit_tyni.safetensors")
    with pytest.raises(WeightsError, match="does not exist"):
        load_weights(tmp_path / "no such folder" / "w.pth")


def test_unreadable_file(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    save_file(TENSORS, tmp_path / "w.safetensors")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(WeightsError, match="cannot be read: Permission denied"):
        load_weights(tmp_path / "w.safetensors")


def test_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save_file(TENSORS, tmp_path / "w.safetensors")
    assert same(load_weights("~/w.safetensors"))
