"""Checksums of files, in the form that ``sha256sum -c`` reads."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from limadask.storage.alone import alone


class Digests:
    """SHA-256 of files, each computed in a thread beside the run as soon as it is finished."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._begun: set[str] = set()
        self._known: dict[str, str] = {}

    def add(self, paths: Iterable[str]) -> None:
        """Take files that will not change any more; those it knows already are left out."""
        with self._lock:
            for path in paths:
                if path not in self._begun:
                    self._begun.add(path)
                    self._queue.put(path)
            if self._begun and self._thread is None:
                # keeps no process alive, should the disk hang
                self._thread = threading.Thread(
                    target=self._compute, name="limadask-digests", daemon=True
                )
                self._thread.start()

    def close(self) -> dict[str, str]:
        """Wait for what was added; return the digests by path, of files that can be read."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join()
        return dict(self._known)

    def _compute(self) -> None:
        while (path := self._queue.get()) is not None:
            with suppress(OSError):  # whoever joins the files will say so
                self._known[path] = digest(path)


def digest(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits.

    Raises
    ------
    OSError
        When it cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(path: Path, digests: Mapping[str, str], master: Path) -> None:
    """Write the digests of files beside the manifest, by name; those of others in it are kept.

    That of the master is computed here, where nobody else may change it meanwhile.

    Raises
    ------
    OSError
        When it cannot be read or written.
    """
    with alone(path.parent):
        lines = path.read_text().splitlines() if path.exists() else []
        known = {line.partition("  ")[2]: line for line in lines}
        every = {**digests, master.name: digest(master)}
        known.update((_escaped(name)[1], _line(name, value)) for name, value in every.items())
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_text("".join(f"{known[name]}\n" for name in sorted(known)))
        os.replace(temporary, path)


def _line(name: str, value: str) -> str:
    mark, escaped = _escaped(name)
    return f"{mark}{value}  {escaped}"


def _escaped(name: str) -> tuple[str, str]:
    """Return a name as sha256sum writes it, and the mark before a line whose name is escaped."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return ("\\" if escaped != name else ""), escaped
