"""By-products of some frames, as sinks get them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Frames, Status
from limadask.task.products import Products, Values, chosen, stacked


@dataclass(frozen=True, slots=True)
class Rows:
    """By-products of some frames, with what is known of these.

    Parameters
    ----------
    numbers, timestamps, status:
        As in :class:`~limadask.frames.Frames`.
    values:
        Name to array ``(frame, …)``; ``(row, …)`` where a frame has any number of rows.
    causes:
        Why frames are not present, by number.
    """

    numbers: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    status: NDArray[np.uint8]
    values: Values
    causes: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, frames: Frames, values: Values) -> Rows:
        """Return the by-products of ``frames``."""
        odd = frames.numbers[frames.status != Status.PRESENT].tolist()
        causes = {number: frames.causes[number] for number in odd if number in frames.causes}
        return cls(frames.numbers, frames.timestamps, frames.status, values, causes)

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """Return several parts, one after the other, as one."""
        return cls(
            np.concatenate([part.numbers for part in parts]),
            np.concatenate([part.timestamps for part in parts]),
            np.concatenate([part.status for part in parts]),
            stacked([part.values for part in parts]),
            {number: cause for part in parts for number, cause in part.causes.items()},
        )

    def taking(self, products: Products, frames: NDArray[np.bool_]) -> Rows:
        """Return those of some frames."""
        places = np.flatnonzero(frames)
        return Rows(
            self.numbers[places],
            self.timestamps[places],
            self.status[places],
            chosen(products, self.values, places),
            self.causes,
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return sum(one.nbytes for one in self.values.values())
