"""A process that owns a world, tells its process numbers, and gives it a block that does not end.

Rank 1 sleeps with the GIL held, as compiled code may; rank 0 waits for it in MPI.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

import numpy as np
import psutil
import xarray as xr

import limadask as ld
from limadask.frames import Frames, Labels, Spec
from limadask.geometry import Grid


@ld.mpi_task(plan={"pid": "i8"})
def endless(comm: Any, block: xr.DataArray) -> Any:
    if int(block.frame[0]):
        print("entered", flush=True)
        if comm.rank:
            ctypes.PyDLL(None).sleep(100)
        comm.barrier()
    return {"pid": (("frame", "band"), [[os.getpid()]])}


if __name__ == "__main__":
    spec = Spec(Grid((4, 5)), np.dtype("u2"))
    world = endless(timeout=100.0).setup(spec)
    world(Labels(spec)(Frames.of(np.zeros((1, 1, 4, 5), "u2"))))
    children = psutil.Process().children(recursive=True)
    print("processes", *(one.pid for one in children), flush=True)
    world(Labels(spec)(Frames.of(np.zeros((1, 1, 4, 5), "u2"), 1)))
