"""A GPU, where there is one."""

from __future__ import annotations

import limadask as ld
from limadask.task.libraries import library


def has_gpu() -> bool:
    """Tell whether CuPy has a GPU here."""
    try:
        library("cupy", "gpu")
    except ld.ConfigError:
        return False
    return True
