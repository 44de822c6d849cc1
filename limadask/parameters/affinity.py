"""Which cores the threads of a worker may use."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from limadask.model import Model

Cores = Literal["auto", "none"] | Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]


class Affinity(Model):
    """Cores that the threads of a worker are pinned to: their numbers, ``auto``, or ``none``.

    Cores that a worker must not use are left out, with a warning.
    """

    receiver: Cores = "none"
    """Of the thread that takes frames. ``auto``: one for itself, which no other receiver of the
    computer has, near the network card of the worker's address."""
    processing: Cores = "none"
    """Of the threads that process, which all acquisitions of a worker share. ``auto``: all but
    those that receivers of the computer have for themselves."""
