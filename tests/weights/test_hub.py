"""The many ways of a hub to fail: each becomes one HubError with its cause and a fix, within seconds."""

import errno
import hashlib
import http.client
import importlib
import socket
import threading
import time
import urllib.error
from email.message import Message
from pathlib import Path

import pytest
from huggingface_hub import constants, errors

from vitreous.core.errors import HubError, InputError
from vitreous.vit import hub as hubs
from vitreous.vit.hub import explained_hub_errors, fetch_file, fetch_snapshot, fetch_url, pinned

from .conftest import COMMIT, put

# The hub library raises the exceptions of httpx, which its second version calls httpx.
httpx = importlib.import_module(errors.HfHubHTTPError.__mro__[1].__module__.partition(".")[0])
REQUEST = httpx.Request("GET", "https://huggingface.co/org/name")


def answered(kind: type[Exception], status: int) -> Exception:
    return kind(f"{status} Client Error", response=httpx.Response(status, request=REQUEST))


def caused(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


NONE = "no repository of that name exists, or it is private"
AWAY, LATE, GONE = "cannot be reached", "did not answer in time", "no longer at its published address"
FULL, LATER = "disk of the cache folder is full", "Try again later"
UNKNOWN_HOST, NO_SPACE = "Name or service not known", "No space left on device"

FAILURES = [
    (answered(errors.GatedRepoError, 403), "grant you access", "hf auth login"),
    (answered(errors.RepositoryNotFoundError, 401), NONE, "hf auth login"),
    (answered(errors.RepositoryNotFoundError, 404), NONE, "Check the name"),
    (answered(errors.RevisionNotFoundError, 404), "that revision does not exist", "after '@'"),
    (answered(errors.DisabledRepoError, 403), "switched this repository off", "another model"),
    (answered(errors.RemoteEntryNotFoundError, 404), "lacks a file", "Vision Transformer"),
    (answered(errors.HfHubHTTPError, 401), "refuses access", "hf auth login"),
    (answered(errors.HfHubHTTPError, 429), "slow down", "Wait"),
    (answered(errors.HfHubHTTPError, 503), "has trouble (status 503)", LATER),
    (caused(errors.LocalEntryNotFoundError("x"), answered(errors.HfHubHTTPError, 500)), "has trouble", LATER),
    (errors.IncompleteSnapshotError("x", snapshot_path="/x"), "the cache is incomplete", "weights=FILE"),
    (caused(errors.LocalEntryNotFoundError("x"), errors.OfflineModeIsEnabled("x")), "HF_HUB_OFFLINE is set", "Unset"),
    (errors.LocalEntryNotFoundError("x"), "cannot be reached, and it is not in the cache", "weights=FILE"),
    (caused(errors.LocalEntryNotFoundError("x"), httpx.ConnectError(UNKNOWN_HOST)), AWAY, "weights=FILE"),
    (caused(errors.LocalEntryNotFoundError("x"), httpx.ConnectTimeout("timed out")), LATE, LATER),
    (httpx.ReadTimeout("timed out"), LATE, LATER),
    (httpx.ProxyError("407 Proxy Authentication Required"), "the proxy refuses", "HTTPS_PROXY"),
    (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"), "certificate", "SSL_CERT_FILE"),
    (httpx.RemoteProtocolError("peer closed connection"), AWAY, "weights=FILE"),
    (errors.HFValidationError("Repo id must be in the form"), "no name of a repository", "ORGANISATION/NAME"),
    (urllib.error.URLError(socket.gaierror(-2, UNKNOWN_HOST)), AWAY, "weights=FILE"),
    (urllib.error.URLError(TimeoutError("timed out")), LATE, LATER),
    (urllib.error.HTTPError("https://x", 404, "Not Found", Message(), None), GONE, "weights=FILE"),
    (urllib.error.HTTPError("https://x", 403, "Forbidden", Message(), None), "refuses access", "hf auth login"),
    (http.client.IncompleteRead(b"x"), "cut short", "again"),
    (OSError("Consistency check failed: file should be of size 5 but has size 3"), "cut short", "again"),
    (OSError(errno.ENOSPC, NO_SPACE), FULL, "Free space"),
    (RuntimeError("Data processing error: No space left on device (os error 28)"), FULL, "Free space"),
    (OSError(errno.EROFS, "Read-only file system"), "cannot be written", "HF_HOME"),
    (PermissionError(errno.EACCES, "Permission denied"), "cannot be written", "HF_HOME"),
    (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), AWAY, "weights=FILE"),
    (RuntimeError("something new\nin two lines"), "RuntimeError: something new.", LATER),
]  # fmt: skip


@pytest.mark.parametrize(("problem", "cause", "fix"), FAILURES, ids=lambda value: type(value).__name__)
def test_each_failure_has_its_sentence(problem, cause, fix):
    with pytest.raises(HubError) as caught, explained_hub_errors("hf:org/name"):
        raise problem
    assert caught.value.__cause__ is problem
    assert caught.value.cause.startswith("hf:org/name could not be fetched: ")
    assert cause in caught.value.cause
    assert fix in caught.value.fix
    assert "\n" not in str(caught.value)
    assert caught.value.code == "VX-E303"


def test_a_repository_called_gated_is_not_taken_for_a_gated_one():
    with (
        pytest.raises(HubError, match="no repository of that name"),
        explained_hub_errors("hf:org/gated-vit"),
    ):
        raise answered(errors.RepositoryNotFoundError, 401)


def test_own_errors_and_interruptions_pass():
    with pytest.raises(InputError), explained_hub_errors("hf:org/name"):
        raise InputError("a", "b")
    with pytest.raises(KeyboardInterrupt), explained_hub_errors("hf:org/name"):
        raise KeyboardInterrupt


def test_exceptions_that_cause_one_another():
    one, other = OSError("a"), OSError("b")
    one.__cause__, other.__cause__ = other, one
    with pytest.raises(HubError, match="OSError: a"), explained_hub_errors("hf:org/name"):
        raise one


# -- the cache --------------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"numbers")
    return folder


def test_from_the_cache_without_a_connection(cache, repository):
    snapshot = put(cache, "org/tiny", repository)
    assert fetch_snapshot("org/tiny", ["config.json"], "x") == snapshot
    assert fetch_file("org/tiny", ["model.safetensors"], "x") == snapshot / "model.safetensors"
    assert pinned("org/tiny", snapshot) == f"org/tiny@{COMMIT}"
    assert pinned("org/tiny@main", snapshot / "model.safetensors") == f"org/tiny@{COMMIT}"


def test_revision_is_resolved_to_its_commit(cache, repository):
    put(cache, "org/tiny", repository)
    put(cache, "org/tiny", repository, commit="f" * 40, revision="v2")
    assert pinned("x", fetch_snapshot("org/tiny@v2", ["config.json"], "x")) == f"x@{'f' * 40}"
    assert pinned("x", fetch_snapshot(f"org/tiny@{COMMIT}", ["config.json"], "x")) == f"x@{COMMIT}"
    with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
        fetch_snapshot("org/tiny@v3", ["config.json"], "x")


def test_second_choice_of_a_file(cache, repository):
    put(cache, "org/tiny", repository)
    assert fetch_file("org/tiny", ["absent.bin", "model.safetensors"], "x").name == "model.safetensors"


def test_incomplete_cache(cache, repository):
    snapshot = put(cache, "org/tiny", repository)
    (snapshot / "model.safetensors").resolve().unlink()  # a blob that was never finished: the link leads nowhere
    with pytest.raises(HubError, match=r"none of model.safetensors.*incomplete"):
        fetch_file("org/tiny", ["model.safetensors"], "timm:x")


def test_cache_that_lacks_what_nobody_asks_for(cache, repository):
    """A listing of all files lies in the cache, as after a download of some: the library calls that incomplete."""
    snapshot = put(cache, "org/tiny", repository)
    entry = {"size": 1, "blob_id": "x", "lfs_sha256": None, "lfs_size": None, "xet_hash": None}
    from huggingface_hub import _tree_cache

    entries = {name: _tree_cache.TreeCacheEntry(**entry) for name in ("config.json", "pytorch_model.bin")}
    _tree_cache.write_tree_cache(str(snapshot.parents[1]), COMMIT, entries)
    from huggingface_hub import snapshot_download

    with pytest.raises(errors.IncompleteSnapshotError):
        snapshot_download("org/tiny")
    assert fetch_snapshot("org/tiny", ["config.json"], "x") == snapshot


@pytest.mark.parametrize("name", ["../../etc", "a/b/c", "org/na me", "-x", "org/..", ""])
def test_names_that_are_no_repository(cache, name):
    with pytest.raises(HubError):
        fetch_snapshot(name, ["config.json"], "hf:x")


# -- a hub that answers -----------------------------------------------------------------------------------------


def test_fetching_for_real(hub, cache, repository, monkeypatch):
    hub.folder = repository
    path = fetch_file("org/tiny", ["model.safetensors"], "x")
    assert path.read_bytes() == b"numbers"
    assert pinned("org/tiny", path) == f"org/tiny@{COMMIT}"
    assert not any("config.json" in asked for asked in hub.asked), "only what was asked for is fetched"
    asked = len(hub.asked)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch_file("org/tiny", ["model.safetensors"], "x") == path, "the cache remembers what 'main' was"
    assert len(hub.asked) == asked


@pytest.mark.parametrize(
    ("status", "code", "cause"),
    [
        (403, "GatedRepo", "grant you access"),
        (401, "RepoNotFound", "no repository of that name exists, or it is private"),
        (404, "RepoNotFound", "no repository of that name exists, or it is private"),
        (404, "RevisionNotFound", "that revision does not exist"),
        (401, "", "no repository of that name|refuses access"),
        (503, "", "has trouble"),
        (429, "", "slow down"),
    ],
)
def test_a_hub_that_refuses(hub, status, code, cause):
    hub.refuse = (status, code)
    began = time.monotonic()
    with pytest.raises(HubError, match=cause):
        fetch_snapshot("org/tiny", ["config.json"], "hf:org/tiny")
    assert time.monotonic() - began < 3


def test_a_hub_that_sleeps(hub, monkeypatch):
    """The library's own question for a commit has no time limit, and would wait for ever."""
    hub.wait = 1.0
    monkeypatch.setattr(hubs, "TIMEOUT", 0.1)
    began = time.monotonic()
    with pytest.raises(HubError, match="did not answer in time"):
        fetch_snapshot("org/tiny", ["config.json"], "hf:org/tiny")
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("refuse", [(403, "GatedRepo"), (401, "RepoNotFound"), (503, "")])
def test_cached_though_the_hub_refuses(hub, cache, repository, refuse):
    snapshot = put(cache, "org/tiny", repository)
    hub.refuse = refuse
    assert fetch_snapshot("org/tiny", ["config.json"], "x") == snapshot


def test_the_hub_knows_better_than_the_cache_that_a_revision_is_gone(hub, cache, repository):
    put(cache, "org/tiny", repository)
    hub.refuse = (404, "RevisionNotFound")
    with pytest.raises(HubError, match="that revision does not exist"):
        fetch_snapshot("org/tiny", ["config.json"], "x")


def test_nobody_answers(unreachable):
    began = time.monotonic()
    with pytest.raises(HubError, match="the hub cannot be reached, and it is not in the cache"):
        fetch_snapshot("org/tiny", ["config.json"], "hf:org/tiny")
    assert time.monotonic() - began < 3


def test_cached_though_nobody_answers(unreachable, cache, repository):
    snapshot = put(cache, "org/tiny", repository)
    assert fetch_snapshot("org/tiny", ["config.json"], "x") == snapshot


def test_files_are_chosen_by_pattern(hub, repository):
    hub.folder = repository
    for name in ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "pytorch_model.bin"):
        (repository / name).write_bytes(b"x")
    folder = fetch_snapshot("org/tiny", ["model-*-of-*.safetensors"], "x")
    assert sorted(path.name for path in folder.iterdir()) == [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    with pytest.raises(HubError, match="none of absent"):
        fetch_snapshot("org/tiny", ["absent.*"], "x")


def test_download_cut_short_leaves_nothing_behind(hub, repository, cache, monkeypatch):
    from huggingface_hub import file_download

    hub.folder = repository
    monkeypatch.setattr(file_download.time, "sleep", lambda _: None)  # its five tries, without the waiting
    (repository / "model.safetensors").write_bytes(b"numbers" * 100)
    hub.short = 5
    with pytest.raises(HubError, match=r"cannot be reached|cut short"):
        fetch_file("org/tiny", ["model.safetensors"], "x")
    assert not [path for path in cache.rglob("model.safetensors") if path.is_file()]
    hub.short = 0
    assert fetch_file("org/tiny", ["model.safetensors"], "x").read_bytes() == b"numbers" * 100


def test_full_disk_while_fetching(hub, repository, monkeypatch):
    """The library's own writing fails: what it raises then is explained, and the next try succeeds."""
    hub.folder = repository
    from huggingface_hub import file_download

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(file_download, "http_get", full)
        with pytest.raises(HubError, match="disk of the cache folder is full"):
            fetch_file("org/tiny", ["model.safetensors"], "x")
    assert fetch_file("org/tiny", ["model.safetensors"], "x").read_bytes() == b"numbers"


def test_cache_that_cannot_be_written(hub, repository, tmp_path, monkeypatch):
    """A file stands where the cache folder should be: even root cannot write there."""
    hub.folder = repository
    (tmp_path / "blocked").write_text("")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "blocked" / "hub"))
    with pytest.raises(HubError, match="cannot be written"):
        fetch_file("org/tiny", ["model.safetensors"], "x")


# -- plain addresses --------------------------------------------------------------------------------------------


@pytest.fixture
def named_by_digest(hub, tmp_path) -> str:
    """Put a file on the server whose name promises the first digits of its sha256; give its address."""
    folder = tmp_path / "files"
    folder.mkdir()
    content = b"numbers" * 1000
    name = f"vit-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (folder / name).write_bytes(content)
    hub.folder = folder
    return f"{hub.address}/{name}"


def torch_cache(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "torch").rglob("*") if path.is_file())


def test_address_is_fetched_once(hub, named_by_digest, tmp_path, capfd):
    path = fetch_url(named_by_digest, "torchvision:x")
    assert path.read_bytes() == b"numbers" * 1000
    assert fetch_url(named_by_digest, "torchvision:x") == path
    assert len(hub.asked) == 1
    assert torch_cache(tmp_path) == [path.name]
    assert capfd.readouterr() == ("", "")


def test_address_with_another_content(hub, named_by_digest, tmp_path):
    (hub.folder / named_by_digest.rpartition("/")[2]).write_bytes(b"something else")
    with pytest.raises(HubError, match="cut short or damaged"):
        fetch_url(named_by_digest, "torchvision:x")
    assert torch_cache(tmp_path) == []


def test_address_cut_short(hub, named_by_digest, tmp_path):
    hub.short = 5
    with pytest.raises(HubError, match="cut short or damaged"):
        fetch_url(named_by_digest, "torchvision:x")
    assert torch_cache(tmp_path) == []


def test_address_that_is_gone(hub, named_by_digest, tmp_path):
    hub.refuse = (404, "")
    with pytest.raises(HubError, match="no longer at its published address"):
        fetch_url(named_by_digest, "torchvision:x")
    assert torch_cache(tmp_path) == []


def test_address_that_sleeps(hub, named_by_digest, tmp_path, monkeypatch):
    monkeypatch.setattr(hubs, "TIMEOUT", 0.1)
    hub.wait = 1.0
    with pytest.raises(HubError, match="did not answer in time"):
        fetch_url(named_by_digest, "torchvision:x")
    assert torch_cache(tmp_path) == []


def test_address_and_a_full_disk(named_by_digest, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(hubs.shutil, "copyfileobj", full)
    with pytest.raises(HubError, match="disk of the cache folder is full"):
        fetch_url(named_by_digest, "torchvision:x")
    assert torch_cache(tmp_path) == []


def test_address_and_a_cache_that_cannot_be_written(named_by_digest, tmp_path, monkeypatch):
    (tmp_path / "blocked").write_text("")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "blocked"))
    with pytest.raises(HubError, match="cannot be written"):
        fetch_url(named_by_digest, "torchvision:x")


def test_several_at_once(hub, named_by_digest):
    """Two processes that fetch the same file never see half of it: each writes its own part and renames it."""
    hub.wait = 0.05
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch_url(named_by_digest, "x").read_bytes())) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert found == [b"numbers" * 1000] * 4
