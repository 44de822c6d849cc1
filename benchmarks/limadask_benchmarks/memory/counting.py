"""Large allocations of a process, counted by a small library that is preloaded into it."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGE = 64 << 10
"""Bytes from which on an allocation counts."""
COMPILERS = ("cc", "gcc", "clang")
PATH = "LIMADASK_COUNTING"
"""Environment variable that tells the process where the library is."""


@dataclass(frozen=True, slots=True)
class Site:
    """Who has allocated.

    Parameters
    ----------
    where:
        Lines of Python, the innermost first; or a library and its function.
    count, nbytes:
        How often, and how much in all.
    """

    where: str
    count: int
    nbytes: int


def compiled(folder: Path) -> Path | None:
    """Compile the library; None where there is no compiler of C.

    Raises
    ------
    RuntimeError
        When it does not compile, as with another C library than glibc.
    """
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        return None
    source, library = Path(__file__).with_name("allocations.c"), folder / "allocations.so"
    command = [compiler, "-O2", "-shared", "-fPIC", str(source), "-o", str(library), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"allocations cannot be counted here: {done.stderr}")
    return library


def environment(library: Path) -> dict[str, str]:
    """Return the environment of a process whose allocations can be counted."""
    # Python's own pools of small objects would count whenever they grow
    return {**os.environ, "LD_PRELOAD": str(library), PATH: str(library), "PYTHONMALLOC": "malloc"}


@contextmanager
def counted() -> Iterator[list[Site]]:
    """Count the allocations of this process meanwhile; the list is filled in the end.

    Raises
    ------
    KeyError
        When the process was not started with :func:`environment`.
    """
    library = ctypes.CDLL(os.environ[PATH])
    library.limadask_site.restype = ctypes.c_char_p
    found: list[Site] = []
    library.limadask_count(1)
    try:
        yield found
    finally:
        library.limadask_count(0)
        found += [_site(library, number) for number in range(library.limadask_sites())]
        found.sort(key=lambda one: -one.nbytes)


def _site(library: Any, number: int) -> Site:
    count, nbytes = ctypes.c_long(), ctypes.c_longlong()
    text = library.limadask_site(number, ctypes.byref(count), ctypes.byref(nbytes))
    return Site(text.decode(errors="replace").strip(), count.value, nbytes.value)
