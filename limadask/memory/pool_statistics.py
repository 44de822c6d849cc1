"""What a pool holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """What a pool holds and has lent.

    Parameters
    ----------
    slots:
        Slots there are.
    slot_nbytes:
        Bytes of each.
    free:
        Slots not lent at the moment.
    lowest:
        Fewest that could ever have been lent, those counted that would have been made for it.
    lent:
        Loans so far.
    ceiling:
        Slots there may be.
    high_water:
        Most that were ever lent at a time.
    refused:
        Why it does not grow although it should, empty where it does.
    """

    slots: int
    slot_nbytes: int
    free: int
    lowest: int
    lent: int
    ceiling: int
    high_water: int
    refused: str = ""

    @property
    def most(self) -> int:
        """Slots there can be, those lent counted: fewer than the ceiling where it cannot grow."""
        return self.slots - self.free + self.left

    @property
    def left(self) -> int:
        """Slots that can still be lent, those counted that would be made for it."""
        return self.free + (0 if self.refused else max(0, self.ceiling - self.slots))
