"""Shared libraries, loaded where they are used."""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path
from typing import Any

from limadask.errors import ConfigError
from limadask.native import abi

_loaded: dict[str, tuple[int, ...]] = {}
"""What each library's file was like when this process loaded it, by path."""
_lock = threading.Lock()


def include_folder() -> Path:
    """Return the folder of ``limadask.h`` and ``limadask.hpp``."""
    return Path(__file__).parent / "include"


def load(path: str) -> ctypes.CDLL:
    """Load a library; its functions are called without the GIL.

    Raises
    ------
    ConfigError
        When there is none, it cannot be loaded, or it was compiled for another version of the
        interface; and when the file has changed since: a process keeps what it has loaded.
    """
    file = Path(path).absolute()
    try:
        found = file.stat()
        library = ctypes.CDLL(str(file))
    except FileNotFoundError:
        raise _refused("no such file", path, "a shared library") from None
    except OSError as error:
        raise _refused(f"it cannot be loaded: {error}", path, "a shared library") from error
    state = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
    with _lock:
        before = _loaded.setdefault(str(file), state)
    if before != state:
        raise _refused(
            "it has changed since this worker has loaded it, and a process keeps what it has",
            path,
            "the library that was loaded, a restart of the workers, or another file name",
        )
    _check_version(library, path)
    return library


def function(library: ctypes.CDLL, name: str, path: str) -> Any:
    """Return a function of a library.

    Raises
    ------
    ConfigError
        When it exports none of this name.
    """
    try:
        return library[name]
    except AttributeError:
        raise ConfigError(
            f"{path} exports no such function",
            field="function",
            value=name,
            allowed="a function behind LIMADASK_EXPORT or LIMADASK_TASK; C++ names need the former",
        ) from None


def optional(library: ctypes.CDLL, name: str) -> Any | None:
    """Return a function of a library; None where it exports none of this name."""
    try:
        return library[name]
    except AttributeError:
        return None


def _check_version(library: ctypes.CDLL, path: str) -> None:
    if (told := optional(library, "limadask_abi")) is None:
        raise _refused(
            "it does not tell the version of its interface", path, "one that includes limadask.h"
        )
    told.restype = ctypes.c_int32
    if (version := told()) != abi.VERSION:
        raise _refused(
            f"it was compiled for version {version} of the interface",
            path,
            f"version {abi.VERSION}: compile it again",
        )


def _refused(text: str, path: str, allowed: str) -> ConfigError:
    return ConfigError(text, field="library", value=path, allowed=allowed)
