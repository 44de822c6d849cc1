"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

Make = Callable[[str], object]
"""Makes a file at a path."""


def make_whole(path: str, make: Make, scratch: str | Path) -> None:
    """Let a file be made elsewhere, then put it in its place, where an older one may be.

    Whoever is killed meanwhile leaves the old one. Nothing is flushed to the disk itself: a power
    failure spares neither.

    Parameters
    ----------
    path:
        The file.
    make:
        Makes it.
    scratch:
        A folder on the same file system, that nobody else writes in.

    Raises
    ------
    OSError
        When it cannot be written; the old one is as it was.
    """
    temporary = os.path.join(scratch, os.path.basename(path))
    try:
        make(temporary)
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary)
        raise OSError(error.errno, error.strerror, path) from error


def write_whole(path: str | Path, content: bytes, scratch: str | Path) -> None:
    """Write a file as :func:`make_whole` does."""
    make_whole(str(path), partial(write_pieces, [content]), scratch)


def write_pieces(pieces: Sequence[bytes], path: str) -> None:
    """Write a file of several pieces, one after the other."""
    with open(path, "wb", buffering=0) as file:
        for piece in pieces:
            _write_all(file, memoryview(piece))


def _write_all(file: Any, rest: memoryview) -> None:
    """Write all of it: one call may take less, and tells."""
    while rest:
        rest = rest[file.write(rest) :]
