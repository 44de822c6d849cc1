"""Frames to which something goes wrong on purpose, named or drawn by chance."""

from __future__ import annotations

from typing import Annotated
from zlib import crc32

import numpy as np
from pydantic import Field, NonNegativeInt

Chosen = frozenset[NonNegativeInt] | Annotated[float, Field(ge=0, le=1)]
"""Frames by their numbers, or the probability of each, a float."""
NONE: frozenset[int] = frozenset()


def happens(chosen: Chosen, number: int, fault: str, seed: int = 0) -> bool:
    """Tell whether a fault happens to a frame, by ``seed``, ``fault`` and ``number`` alone.

    Examples
    --------
    >>> happens(frozenset({3, 7}), 7, "drop"), happens(0.0, 7, "drop"), happens(1.0, 7, "drop")
    (True, False, True)
    """
    if isinstance(chosen, frozenset):
        return number in chosen
    return bool(chosen) and draws(fault, number, seed).random() < chosen


def draws(fault: str, number: int, seed: int = 0) -> np.random.Generator:
    """Return the random numbers of a fault of one frame."""
    return np.random.default_rng((seed, crc32(fault.encode()), number))
