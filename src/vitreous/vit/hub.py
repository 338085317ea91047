"""Model hubs: their many ways to fail, each as one sentence and the fix."""

from collections.abc import Iterator
from contextlib import contextmanager

from vitreous.core.errors import HubError, VitreousError

_OFFLINE_FIX = "Connect to the network once so that it is cached, or name local weights with weights=FILE (--weights FILE)."
_CAUSES = (
    # (part of the exception's class name or message, sentence, fix); the first that fits is told.
    ("LocalEntryNotFound", "the hub cannot be reached and it is not in the cache.", _OFFLINE_FIX),
    ("gated", "its owner must grant you access first.", "Accept the terms on its page and log in with `hf auth login`."),
    ("401", "it is private, or does not exist.", "Check the name, or log in with `hf auth login`."),
    ("RevisionNotFound", "that revision does not exist.", "Check the part after '@'."),
    ("RepositoryNotFound", "no repository of that name exists.", "Check the name."),
    ("EntryNotFound", "the repository has no file that this library can load.", "Check that it holds a Vision Transformer."),
    ("Read-only", "the cache folder cannot be written.", "Point HF_HOME (or TORCH_HOME) to a folder you can write to."),
    ("Permission denied", "the cache folder cannot be written.", "Point HF_HOME (or TORCH_HOME) to a folder you can write to."),
    ("No space left", "the disk of the cache folder is full.", "Free space, or point HF_HOME to another disk."),
    ("No pretrained", "it has no published weights.", "Name local weights with weights=FILE."),
)
_NETWORK = (
    "Connection", "Timeout", "timed out", "Offline", "offline", "LocalEntryNotFound", "resolve", "Max retries", "couldn't connect",
    "cached", "unreachable", "URLError", "urlopen", "SSL", "ProxyError", "getaddrinfo",
)  # fmt: skip


@contextmanager
def explained_hub_errors(wanted: str) -> Iterator[None]:
    """Turn what hub libraries raise while fetching `wanted` into one HubError; other errors pass."""
    try:
        yield
    except VitreousError:
        raise
    except (OSError, RuntimeError, ValueError) as problem:
        told = f"{_chain(problem)}"
        for part, sentence, fix in _CAUSES:
            if part in told:
                raise HubError(f"{wanted} could not be fetched: {sentence}", fix) from problem
        if any(part in told for part in _NETWORK):
            raise HubError(f"{wanted} could not be fetched: the hub cannot be reached.", _OFFLINE_FIX) from problem
        raise


def _chain(problem: BaseException | None) -> str:
    """Collect class names and messages of an exception and its causes: libraries wrap the telling one."""
    told = []
    while problem is not None:
        told.append(f"{' '.join(kind.__name__ for kind in type(problem).__mro__[:-2])}: {problem}")
        problem = problem.__cause__ or problem.__context__
    return " | ".join(told)
