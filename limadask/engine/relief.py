"""What a receiver does when its memory is full, by the policy."""

from __future__ import annotations

from collections.abc import Callable

from limadask.engine.blocks import Blocks
from limadask.engine.gauge import Gauge
from limadask.engine.holding import HeldBlocks
from limadask.engine.matched import MatchedBlocks
from limadask.parameters import Every, Policy

Post = Callable[[Callable[[], object]], object]
"""Calls a function in another thread, soon."""


class Relief:
    """Waits for room; the source feels it. All calls come from the acquisition thread.

    Parameters
    ----------
    gauge:
        What is told how full the pool is.
    """

    def __init__(self, gauge: Gauge | None = None) -> None:
        self._gauge = gauge

    def note(self, starved: bool) -> None:
        """Take note that a slot has been taken, or that none was free."""
        if self._gauge is not None:
            self._gauge.note(starved)

    def leaves_out(self) -> bool:
        """Tell whether frames are taken and left out while no slot is free.

        Then the receiver goes on, and sees the end.
        """
        return False

    def skips(self, place: int) -> bool:
        """Tell whether the frame at a place is left out though there is room."""
        return False


class Dropping(Relief):
    """Leaves out the newest frames, those that come while no slot is free, nor being made.

    Parameters
    ----------
    gauge:
        What is told how full the pool is.
    """

    def __init__(self, gauge: Gauge) -> None:
        super().__init__(gauge)
        self._watched = gauge

    def leaves_out(self) -> bool:
        """Tell whether the pool is full, and not merely growing."""
        return self._watched.free == 0


class Thinning(Dropping):
    """Keeps every n-th frame from the level ``high`` on.

    Parameters
    ----------
    gauge:
        Who knows the level.
    every:
        Of so many neighbours one is kept.
    """

    def __init__(self, gauge: Gauge, every: int) -> None:
        super().__init__(gauge)
        self._every = every

    def skips(self, place: int) -> bool:
        """Tell whether a frame is not among those that are kept."""
        return self._watched.pressure.level != "ok" and place % self._every != 0


class LettingGo(Relief):
    """Lets the oldest block go that no worker has got.

    Parameters
    ----------
    gauge:
        What is told how full the pool is.
    blocks:
        The blocks.
    post:
        Calls a function in the thread whose they are, soon.
    """

    def __init__(self, gauge: Gauge, blocks: Blocks, post: Post) -> None:
        super().__init__(gauge)
        self._watched, self._blocks, self._post = gauge, blocks, post
        self._has_asked = False

    def note(self, starved: bool) -> None:
        """Let the oldest go where the next slot would have to be waited for."""
        super().note(starved)
        if self._watched.free == 0 and self._blocks.waiting and not self._has_asked:
            self._has_asked = True
            self._post(self._let_go)

    def leaves_out(self) -> bool:
        """Tell whether all are being worked on: then there is nothing else to let go."""
        return self._watched.free == 0 and not self._blocks.waiting

    def _let_go(self) -> None:
        """Let one block go, if that is still needed: this thread may have been late."""
        self._has_asked = False
        self._watched.look()
        if self._watched.free == 0:
            self._blocks.let_go()


class Holding(Relief):
    """Waits while blocks go to disk; leaves frames out when the disk has refused one.

    Parameters
    ----------
    gauge:
        What is told how full the pool is.
    blocks:
        The blocks.
    """

    def __init__(self, gauge: Gauge, blocks: HeldBlocks) -> None:
        super().__init__(gauge)
        self._blocks = blocks

    def leaves_out(self) -> bool:
        """Tell whether the pool will not get free by itself."""
        return self._blocks.is_stuck


def relief(
    policy: Policy,
    gauge: Gauge,
    blocks: Blocks | MatchedBlocks | None,
    post: Post,
) -> Relief:
    """Return what a policy asks for; ``post`` calls a function in the thread of the blocks."""
    if policy.on_overrun == "drop":
        if isinstance(policy.drop, Every):
            return Thinning(gauge, policy.drop.every)
        if policy.drop == "oldest" and isinstance(blocks, Blocks):
            return LettingGo(gauge, blocks, post)
        return Dropping(gauge)
    return Holding(gauge, blocks) if isinstance(blocks, HeldBlocks) else Relief(gauge)
