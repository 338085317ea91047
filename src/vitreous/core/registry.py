"""Registry: things found by name, filled by a decorator in the file that defines each.

A new file is all that a new entry takes: no list elsewhere has to name it. Modules are imported on the
first question, not with the package, so that the command line can start without them.
"""

import fnmatch
import pkgutil
import threading
from collections.abc import Iterator
from importlib import import_module
from typing import Generic, TypeVar

from vitreous.core.errors import UnknownNameError, near_matches

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """Entries of one kind by name. `package` is scanned on first use: each of its public modules registers itself.

    kind     what an entry is called in messages, for instance "method"
    package  dotted name of the package whose modules are imported; those that begin with an underscore are
             not
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._package = package
        self._entries: dict[str, Entry] = {}
        self._scanned = False
        self._scanning = False
        self._lock = threading.RLock()

    def add(self, name: str, entry: Entry) -> None:
        """Register `entry`. Raises ValueError if the name is taken: that is a mistake in the code, not of a user."""
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._entries[name] = entry

    def __getitem__(self, name: str) -> Entry:
        """Find an entry. Raises UnknownNameError with near matches."""
        self._scan()
        if name not in self._entries:
            near = near_matches(name, self._entries)
            raise UnknownNameError(
                f"There is no {self.kind} {name!r}. {near}".strip(),
                f"Known: {', '.join(sorted(self._entries))}.",
            )
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        """Go through the names in alphabetical order."""
        self._scan()
        return iter(sorted(self._entries))

    def names(self, pattern: str = "*") -> list[str]:
        """List the names that match a shell pattern such as '*grad*', in alphabetical order."""
        return fnmatch.filter(self, pattern)

    def _scan(self) -> None:
        """Import the public modules of the package, once.

        A second thread waits for the first. A module that asks the registry while it is imported gets what is
        there so far, and a scan that failed is tried again by whoever asks next.
        """
        with self._lock:
            if self._scanned or self._scanning:
                return
            self._scanning = True
            try:
                for module in pkgutil.iter_modules(import_module(self._package).__path__):
                    if not module.name.startswith("_"):
                        import_module(f"{self._package}.{module.name}")
                self._scanned = True
            finally:
                self._scanning = False
