"""A task that leaks on purpose."""

from __future__ import annotations

import os
import threading
from typing import Literal, get_args

import numpy as np
import xarray as xr

import limadask as ld

Leak = Literal["memory", "descriptors", "threads", "segments"]
LEAKS: tuple[Leak, ...] = get_args(Leak)
NBYTES = 512 << 10
"""Bytes a block."""
EVERY = 8
"""Blocks for each descriptor, thread or segment."""
_kept: list[object] = []
_count = 0


class Leaking(ld.Task):
    """Keeps something of every block for ever."""

    leak: Leak
    """What."""

    def __call__(self, block: xr.DataArray) -> xr.DataArray:
        """Return the block as it is."""
        global _count
        _count += 1
        if self.leak == "memory":
            _kept.append(np.ones(NBYTES, np.uint8))
        elif _count % EVERY == 0:
            _kept.append(self._taken())
        return block

    def _taken(self) -> object:
        if self.leak == "descriptors":
            return os.open(os.devnull, os.O_RDONLY)
        if self.leak == "segments":
            return os.memfd_create("limadask-leak")
        waiting = threading.Thread(target=threading.Event().wait, daemon=True)
        waiting.start()
        return waiting
