"""A hub on this machine: the library's cache layout, and a small server on the loopback that answers as a hub would."""

import hashlib
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache of the hub library and of torch.hub, with the hub switched off."""
    from huggingface_hub import constants

    folder = tmp_path / "hf" / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return folder


def put(cache: Path, repository: str, source: Path, commit: str = COMMIT, revision: str = "main") -> Path:
    """Lay out a repository in the cache as the hub library does: refs name commits, snapshots link to blobs."""
    root = cache / f"models--{repository.replace('/', '--')}"
    (root / "refs").mkdir(parents=True, exist_ok=True)
    (root / "refs" / revision).write_text(commit)
    snapshot = root / "snapshots" / commit
    snapshot.mkdir(parents=True, exist_ok=True)
    (root / "blobs").mkdir(exist_ok=True)
    for file in source.iterdir():
        blob = root / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        blob.write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(blob)
    return snapshot


class Hub(ThreadingHTTPServer):
    """A hub with one repository in `folder`; `refuse` answers every request with a status and an error code."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.folder: Path | None = None
        self.refuse: tuple[int, str] | None = None
        self.wait = 0.0
        self.short = 0
        self.asked: list[str] = []

    def handle_error(self, *args) -> None:
        """Say nothing when a client that lost patience has gone."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answer(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *args) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET(body=False)

    def do_GET(self, body: bool = True) -> None:
        hub = self.server
        hub.asked.append(f"{self.command} {self.path}")
        time.sleep(hub.wait)
        if hub.refuse is not None:
            status, code = hub.refuse
            self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": "no"} if code else {}, body)
        elif self.path.startswith("/api/models/"):
            siblings = [{"rfilename": file.name} for file in sorted(hub.folder.iterdir())]
            self._send(200, json.dumps({"id": "org/tiny", "sha": COMMIT, "siblings": siblings}).encode(), {}, body)
        else:
            content = (hub.folder / self.path.rpartition("/")[2]).read_bytes()
            etag = hashlib.sha256(content).hexdigest()
            self._send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, body)

    def _send(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content[: len(content) - self.server.short])


@pytest.fixture
def hub(cache, monkeypatch) -> Iterator[Hub]:
    """A running hub on the loopback, at which the hub library looks."""
    from huggingface_hub import constants

    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    yield server
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


@pytest.fixture
def unreachable(cache, monkeypatch) -> None:
    """A hub that nobody runs: connections to it are refused, which no retry mends."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")


def tiny_timm(classes: int = 3, size: int = 32, seed: int = 0, **options) -> torch.nn.Module:
    """A timm ViT of two blocks with random weights."""
    import timm

    torch.manual_seed(seed)
    shape = {"embed_dim": 16, "depth": 2, "num_heads": 2, "patch_size": 8, **options}
    return timm.create_model("vit_tiny_patch16_224", num_classes=classes, img_size=size, **shape).eval()


def tiny_vit_config(classes: int = 3, **options):
    """The configuration of a transformers ViT of two blocks."""
    import transformers

    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return transformers.ViTConfig(**shape, image_size=32, patch_size=8, num_labels=classes, **options)


@pytest.fixture(scope="session")
def hf_model():
    import transformers

    torch.manual_seed(0)
    config = tiny_vit_config(id2label={0: "cat", 1: "dog", 2: "hen"}, label2id={"cat": 0, "dog": 1, "hen": 2})
    return transformers.ViTForImageClassification(config).eval()


@pytest.fixture(scope="session")
def hf_saved(hf_model, tmp_path_factory) -> Path:
    """A folder written by save_pretrained of a model and of its processor."""
    import transformers

    folder = tmp_path_factory.mktemp("hf") / "tiny-vit"
    hf_model.save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def timm_model() -> torch.nn.Module:
    return tiny_timm()


@pytest.fixture(scope="session")
def timm_saved(timm_model, tmp_path_factory) -> Path:
    """A folder in timm's hub format."""
    from timm.models import _hub

    folder = tmp_path_factory.mktemp("timm") / "tiny-timm"
    _hub.save_for_hf(
        timm_model,
        folder,
        model_config={"label_names": ["a", "b", "c"]},
        model_args={"embed_dim": 16, "depth": 2, "num_heads": 2, "patch_size": 8, "img_size": 32},  # 1.0.28 needs them
        safe_serialization=True,
    )
    return folder


@pytest.fixture
def copied(tmp_path):
    """Copy a saved folder so that a test may change it: copied(folder) -> its copy."""
    import shutil

    def copy(folder: Path) -> Path:
        return Path(shutil.copytree(folder, Path(tempfile.mkdtemp(dir=tmp_path)) / folder.name))

    return copy


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
