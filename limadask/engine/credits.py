"""How many blocks a receiver lends to those who process them."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from limadask.parameters import OnOverrun

LINGERING: tuple[OnOverrun, ...] = ("hold", "drop")
"""Policies under which blocks linger with their receiver: what is lent cannot go any more."""


def lent_blocks(
    threads: Mapping[str, int], receivers: int, own: str, nb_slots: int, on_overrun: OnOverrun
) -> dict[str, int]:
    """Return how many blocks each processing worker may hold at a time.

    Parameters
    ----------
    threads:
        Threads of each of them, by address.
    receivers:
        Receivers among which that is shared out.
    own:
        The only one, where each receiver processes what it has received; empty where any may.
    nb_slots:
        Blocks of the receiver's pool.
    on_overrun:
        The policy.
    """
    lent = {one: ceil(max(2, 2 * count) / receivers) for one, count in threads.items()}
    if own:
        # nobody else could take them
        kept = max(2, 2 * threads[own]) if on_overrun in LINGERING else nb_slots
        return {own: kept}
    return lent
