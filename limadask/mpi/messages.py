"""What a worker and the ranks of its world tell each other."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from limadask.frames import DIMS
from limadask.memory import Segment
from limadask.task.products import as_dataset

ADDRESS = "LIMADASK_MPI"
"""The variable of the environment that has port and token."""
END = b""
"""Sent in place of work when there is none any more."""
HELLO = struct.Struct("!32siiiB")
"""Token, process number, rank and size of the world, and whether it is a lifeline."""
Spans = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Work:
    """One block; the first of all is the function, its fields and the spec, pickled.

    Parameters
    ----------
    body, spans:
        The frames, and the mask of all where it is not that of the spec: a pickle, and where in
        the memory its arrays lie.
    given, room:
        The memory of the block, and that for what rank 0 returns.
    afresh:
        Whether messages may be left over from a block that failed.
    """

    body: bytes
    spans: Spans
    given: Segment
    room: Segment
    afresh: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a call on one rank.

    Parameters
    ----------
    body, spans:
        What rank 0 has returned; empty from others.
    error, details:
        What was raised, in one line, and its traceback.
    """

    body: bytes = b""
    spans: Spans | None = None
    error: str = ""
    details: str = ""


@dataclass(frozen=True, slots=True)
class Returned:
    """What a function has returned, as plain arrays.

    Parameters
    ----------
    numbers:
        Frame numbers, None where it does not say.
    values:
        Pixels ``(frame, band, y, x)``, or by-products: name to dims and values.
    """

    numbers: NDArray[Any] | None
    values: NDArray[Any] | dict[str, tuple[tuple[str, ...], NDArray[Any]]]

    @classmethod
    def of(cls, result: Any) -> Returned:
        """Describe what a function has returned."""
        if isinstance(result, xr.DataArray) and set(result.dims) == set(DIMS):
            numbers = result.coords["frame"].values if "frame" in result.coords else None
            return cls(numbers, np.ascontiguousarray(result.transpose(*DIMS).values))
        if isinstance(result, xr.Dataset | Mapping):
            found = as_dataset(result)
            values = {
                str(name): (tuple(map(str, one.dims)), np.ascontiguousarray(one.values))
                for name, one in found.data_vars.items()
            }
            return cls(found.coords["frame"].values if "frame" in found.coords else None, values)
        raise TypeError(
            f"rank 0 must return a DataArray with dims {DIMS}, or by-products as a Dataset or a "
            f"mapping; it returned {getattr(result, 'dims', type(result).__name__)}"
        )

    def labelled(self) -> xr.DataArray | xr.Dataset:
        """Return it as a task may return it."""
        coordinates = {} if self.numbers is None else {"frame": self.numbers}
        if isinstance(self.values, dict):
            return xr.Dataset(self.values, coordinates)
        return xr.DataArray(self.values, coordinates, DIMS)


def connected(port: int, token: bytes, *, pid: int, rank: int, size: int, lifeline: bool) -> Any:
    """Return a socket to the worker, which knows by then who is there."""
    found = socket.create_connection(("127.0.0.1", port), timeout=10.0)
    found.sendall(HELLO.pack(token, pid, rank, size, lifeline))
    found.settimeout(None)
    return found
