"""Arrays that tell when nobody uses their memory any more."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


class _Loan:
    """The base of every array on some memory: it dies with the last of them."""

    def __init__(self, memory: NDArray[np.uint8]) -> None:
        self._memory = memory  # the array interface is a bare address: keep what is there
        self.__array_interface__ = memory.__array_interface__


def lent(
    memory: NDArray[np.uint8], given_back: Callable[..., object], *arguments: Any
) -> NDArray[np.uint8]:
    """Return an array on ``memory``; call ``given_back`` when the last view of it is gone.

    It is called from a destructor: in any thread, at any moment.
    """
    loan = _Loan(memory)
    weakref.finalize(loan, given_back, *arguments).atexit = False
    return np.asarray(loan)
