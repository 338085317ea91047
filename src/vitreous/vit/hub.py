"""Model hubs: files fetched at a known revision, and their many ways to fail, each as one sentence and the fix.

Fetching is kept apart from building, so that an error here is always the hub's, and so that the files can be read
without running code. A repository is asked for once and with a time limit: a hub out of reach is told within seconds.
"""

import errno
import fnmatch
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import Request, urlopen

import torch

from vitreous.core.errors import HubError, MissingExtraError, VitreousError

TIMEOUT = 10.0
"""Seconds to wait for a server that does not answer."""

_CACHED = "Connect to the network once so that it is cached, or use what is on this machine:"
OWN_FILES = f"{_CACHED} weights=FILE (--weights FILE), or a checkpoint folder instead of a name."
_WRITABLE = "Point HF_HOME (TORCH_HOME for plain downloads) to a folder you can write to."
_AGAIN = "Run it again; what was fetched is kept."
_LOGIN = "Check the name, or log in with `hf auth login`."


@dataclass(frozen=True)
class _Seen:
    """What an exception and its causes tell: class names, error numbers, answers of the server, and the words."""

    kinds: frozenset[str]
    numbers: frozenset[int]
    status: int
    text: str


@contextmanager
def explained_hub_errors(wanted: str, instead: str = OWN_FILES) -> Iterator[None]:
    """Turn whatever a hub library raises while it fetches `wanted` into one HubError.

    The block must only fetch: every exception in it is taken for the hub's. `instead` is the advice for a hub out of
    reach.
    """
    try:
        yield
    except VitreousError:
        raise
    except Exception as problem:
        sentence, fix = _explain(_seen(problem), instead)
        raise HubError(f"{wanted} could not be fetched: {sentence}", fix) from problem


def fetch_snapshot(name: str, files: Sequence[str], wanted: str, instead: str = OWN_FILES) -> Path:
    """Fetch those of `files` (patterns) that `REPOSITORY[@REVISION]` has, and give their folder, named by its commit.

    Without a connection they come from the cache. Raises HubError, also if the repository has none of them.
    """
    with explained_hub_errors(wanted, instead):
        found = _look_up(name)
        chosen = [each for each in found.names if any(fnmatch.fnmatchcase(each, pattern) for pattern in files)]
        paths = [found.get(each) for each in chosen]
    if not paths:
        raise _none_of(name, files, wanted, instead)
    return paths[0].parent


def fetch_file(name: str, candidates: Sequence[str], wanted: str) -> Path:
    """Fetch the first of `candidates` that `REPOSITORY[@REVISION]` has. Raises HubError if it has none of them."""
    with explained_hub_errors(wanted):
        found = _look_up(name)
        chosen = next((each for each in candidates if each in found.names), None)
        if chosen is not None:
            return found.get(chosen)
    raise _none_of(name, candidates, wanted, OWN_FILES)


@dataclass(frozen=True)
class _Found:
    """A repository at one commit: in the cache alone (`folder`), or at the hub."""

    repository: str
    revision: str
    commit: str
    names: tuple[str, ...]
    folder: Path | None

    def get(self, name: str) -> Path:
        """Give the path of a file, fetching it if need be, and let the cache remember which commit the revision was."""
        if self.folder is not None:
            return self.folder / name
        from huggingface_hub import hf_hub_download  # noqa: PLC0415  (present: `_look_up` imported it)

        path = Path(hf_hub_download(self.repository, name, revision=self.commit, etag_timeout=TIMEOUT))
        reference = path.parents[2] / "refs" / self.revision
        if self.revision != self.commit:
            reference.parent.mkdir(parents=True, exist_ok=True)
            reference.write_text(self.commit, encoding="utf-8")
        return path


def _look_up(name: str) -> _Found:
    """Ask the hub for the commit and the files of `REPOSITORY[@REVISION]`; look into the cache if it does not answer.

    Asked here rather than left to the library, whose own question has no time limit, and whose download of a single
    file tries for 23 seconds to reach a hub that is not there.
    """
    try:
        from huggingface_hub import HfApi, snapshot_download  # noqa: PLC0415  (named in the error below if absent)
    except ImportError as problem:
        raise MissingExtraError.of("huggingface_hub", "hf", f"Fetching {name}") from problem
    repository, _, revision = name.partition("@")
    revision = revision or "main"
    try:
        answer = HfApi().model_info(repository, revision=revision, timeout=TIMEOUT)
    except Exception as problem:
        # The hub knows better than the cache whether a revision exists; in all other cases what is cached will do.
        if {"RevisionNotFoundError", "HFValidationError"} & _seen(problem).kinds:
            raise
        try:
            folder = Path(snapshot_download(repository, revision=revision, local_files_only=True))
        except FileNotFoundError as absent:
            # Incomplete counts as found: what is missing may be what nobody asks for.
            if not hasattr(absent, "snapshot_path"):
                raise problem from None
            folder = Path(absent.snapshot_path)
        names = tuple(path.name for path in folder.iterdir() if path.is_file())
        return _Found(repository, revision, folder.name, names, folder)
    names = tuple(str(file.rfilename) for file in answer.siblings or ())
    return _Found(repository, revision, str(answer.sha), names, None)


def _none_of(name: str, files: Sequence[str], wanted: str, instead: str) -> HubError:
    return HubError(
        f"{wanted} could not be fetched: {name} has none of {', '.join(files)}, or the cached copy is incomplete.",
        f"Check that it holds a Vision Transformer. {instead}",
    )


def pinned(name: str, path: Path) -> str:
    """Name a repository at the commit that a fetched file or folder belongs to: what provenance records."""
    parts = path.parts
    commit = parts[parts.index("snapshots") + 1] if "snapshots" in parts[:-1] else "unknown"
    return f"{name.partition('@')[0]}@{commit}"


def fetch_url(url: str, wanted: str) -> Path:
    """Fetch a file by its address into PyTorch's cache, whole or not at all. Raises HubError.

    A name such as `vit_b_16-c867db91.pth` promises the first digits of its sha256, which are checked.
    """
    name = Path(urlparse(url).path).name
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    cached = folder / name
    if cached.is_file():
        return cached
    with explained_hub_errors(wanted):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=name, suffix=".partial", delete=False) as part:
            try:
                _download(url, Path(part.name))
                Path(part.name).replace(cached)
            finally:
                Path(part.name).unlink(missing_ok=True)
    return cached


def _download(url: str, path: Path) -> None:
    """Stream an address to a file; the address is out of a library's own table, never out of a configuration file."""
    request = Request(url, headers={"User-Agent": "vitreous"})  # noqa: S310
    with urlopen(request, timeout=TIMEOUT) as answer, path.open("wb") as file:  # noqa: S310
        promised = answer.headers.get("Content-Length")
        shutil.copyfileobj(answer, file, 1024 * 1024)
    if promised is not None and path.stat().st_size != int(promised):
        raise OSError(f"Consistency check failed: {path.stat().st_size} bytes of {promised}")
    digits = Path(urlparse(url).path).stem.rpartition("-")[2]
    if len(digits) == 8 and not _sha256(path).startswith(digits):
        raise OSError("Consistency check failed: another sha256 than the name promises")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seen(problem: BaseException) -> _Seen:
    """Collect what an exception and its causes tell: libraries wrap the telling one."""
    kinds: set[str] = set()
    numbers: set[int] = set()
    status, told, met = 0, [], set[int]()
    current: BaseException | None = problem
    while current is not None and id(current) not in met:
        met.add(id(current))
        kinds.update(kind.__name__ for kind in type(current).__mro__)
        numbers.update({number} if isinstance(number := getattr(current, "errno", None), int) else ())
        answer = getattr(getattr(current, "response", None), "status_code", getattr(current, "code", 0))
        status = status or (answer if isinstance(answer, int) else 0)
        told.append(f"{type(current).__name__}: {current}")
        # urllib keeps the telling exception in `reason`
        inner = getattr(current, "reason", None)
        current = inner if isinstance(inner, BaseException) else current.__cause__ or current.__context__
    return _Seen(frozenset(kinds), frozenset(numbers), status, "\n".join(told))


def _explain(seen: _Seen, instead: str) -> tuple[str, str]:
    """Find the sentence and the fix for what was seen: the disk first, then what the hub said, then the way to it."""
    for find in (_disk, _answer, _way):
        told = find(seen, instead)
        if told is not None:
            return told
    return f"{seen.text.splitlines()[0][:200].rstrip('.')}.", f"Try again later. {instead}"


def _disk(seen: _Seen, _instead: str) -> tuple[str, str] | None:
    if errno.ENOSPC in seen.numbers or errno.EDQUOT in seen.numbers or "No space left" in seen.text:
        return (
            "the disk of the cache folder is full.",
            "Free space, or point HF_HOME (TORCH_HOME) to another disk.",
        )
    refused = {
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.ENOTDIR,
    } & seen.numbers or "PermissionError" in seen.kinds
    if refused and not {"ConnectError", "URLError"} & seen.kinds:
        return "the cache folder cannot be written.", _WRITABLE
    if "Consistency check failed" in seen.text or {"IncompleteRead", "ContentTooShortError"} & seen.kinds:
        return "the download was cut short or damaged.", _AGAIN
    return None


def _answer(seen: _Seen, instead: str) -> tuple[str, str] | None:
    """Explain what the hub said; the order matters, since a gated repository is also a kind of missing one."""
    page = "Accept the terms on its page at the hub, and log in with `hf auth login`."
    for kind, sentence, fix in (
        ("GatedRepoError", "its owner must grant you access first.", page),
        ("DisabledRepoError", "the hub has switched this repository off.", "Choose another model."),
        ("RevisionNotFoundError", "that revision does not exist.", "Check the part after '@'."),
        ("RepositoryNotFoundError", "no repository of that name exists, or it is private.", _LOGIN),
        (
            "HFValidationError",
            "that is no name of a repository.",
            "Write ORGANISATION/NAME, optionally @REVISION.",
        ),
        (
            "IncompleteSnapshotError",
            "the copy in the cache is incomplete, and the hub cannot be reached.",
            instead,
        ),
        (
            "OfflineModeIsEnabled",
            "HF_HUB_OFFLINE is set, and it is not in the cache.",
            f"Unset it. {instead}",
        ),
        (
            "RemoteEntryNotFoundError",
            "the repository lacks a file.",
            "Check that it holds a Vision Transformer.",
        ),
    ):
        if kind in seen.kinds:
            return sentence, fix
    if seen.status == 429:
        return (
            "the hub asks to slow down (status 429).",
            "Wait a few minutes, or log in with `hf auth login`.",
        )
    if seen.status in {401, 403}:
        return f"the hub refuses access (status {seen.status}).", _LOGIN
    if seen.status == 404:
        return "it is no longer at its published address (status 404).", instead
    if seen.status >= 500:
        return f"the hub has trouble (status {seen.status}).", f"Try again later. {instead}"
    return None


def _way(seen: _Seen, instead: str) -> tuple[str, str] | None:
    if "CERTIFICATE_VERIFY_FAILED" in seen.text:
        fix = "If a company proxy re-signs traffic, point SSL_CERT_FILE to its certificate."
        return "the certificate of the hub cannot be verified.", fix
    if "ProxyError" in seen.kinds:
        return "the proxy refuses the connection.", "Check HTTPS_PROXY, or ask who runs the proxy."
    if {"TimeoutException", "TimeoutError"} & seen.kinds or errno.ETIMEDOUT in seen.numbers:
        return "the hub did not answer in time.", f"Try again later. {instead}"
    unreachable = {"ConnectError", "NetworkError", "ProtocolError", "URLError", "ConnectionError", "gaierror"}
    if {*unreachable, "LocalEntryNotFoundError"} & seen.kinds:
        return "the hub cannot be reached, and it is not in the cache.", instead
    return None
