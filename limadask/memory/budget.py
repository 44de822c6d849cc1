"""The memory that frames may have in one process, all stages together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from limadask.memory.usage import METERS, Meters


class Budget:
    """How much there may be of all that is metered.

    It is told its bounds, by whoever knows what the process may have; without any, all is granted.
    Pools ask before they grow, and what they have given back is left for others at once.

    Parameters
    ----------
    meters:
        What is counted.
    """

    def __init__(self, meters: Meters = METERS) -> None:
        self._meters = meters
        self._lock = threading.Lock()
        self._bounds: dict[str, int] = {}

    def bound(self, owner: str, nbytes: int | None) -> None:
        """Be told what the process may have; of several owners' bounds the lowest holds."""
        with self._lock:
            if nbytes is None:
                self._bounds.pop(owner, None)
            else:
                self._bounds[owner] = nbytes

    @property
    def most(self) -> int | None:
        """Bytes there may be; None for any number."""
        return min(self._bounds.values(), default=None)

    @property
    def used(self) -> int:
        """Bytes there are; those mapped of other processes' memory count in both."""
        usages = self._meters.usages()
        return sum(one.allocated - one.reserved + one.mapped for one in usages)

    @property
    def left(self) -> int | None:
        """Bytes that are left, 0 where more than all are used; None for any number."""
        most = self.most
        return None if most is None else max(0, most - self.used)

    @contextmanager
    def room(self, nbytes: int) -> Iterator[bool]:
        """Tell whether there is room for so many bytes; nobody else gets it until they count."""
        with self._lock:
            left = self.left
            yield left is None or nbytes <= left

    def refusal(self, nbytes: int) -> str:
        """Return why there is no room for so many bytes."""
        return (
            f"{nbytes} bytes do not fit: frames may have {self.most} bytes in this process, and "
            f"have {self.used}"
        )


BUDGET = Budget()
"""That of this process."""
