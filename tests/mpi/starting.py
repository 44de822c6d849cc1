"""A process that owns a world whose ranks never begin: they wait while they get their function."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import xarray as xr

import limadask as ld
from limadask.frames import Spec
from limadask.geometry import Grid


def wait_for_ever() -> None:
    with open(os.environ["STARTING"], "wb", buffering=0) as told:
        told.write(b"1")
    threading.Event().wait()


class Never:
    """Is never unpickled to the end."""

    def __reduce__(self) -> tuple[Any, ...]:
        return wait_for_ever, ()


NEVER = Never()


@ld.mpi_task(plan={"nothing": "i8"})
def begun(comm: Any, block: xr.DataArray) -> Any:
    return NEVER


if __name__ == "__main__":
    begun(start_timeout=60.0).setup(Spec(Grid((4, 5)), np.dtype("u2")))
