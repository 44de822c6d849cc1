"""What a receiver does when its memory is full, by the policy."""

from __future__ import annotations

from collections.abc import Callable

from limadask.engine.blocks import Blocks
from limadask.engine.gauge import Gauge
from limadask.engine.holding import HeldBlocks
from limadask.engine.matched import MatchedBlocks
from limadask.parameters import Every, Policy


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
    """Leaves out the newest frames, those that come while no slot is free."""

    def leaves_out(self) -> bool:
        """Tell that they are left out."""
        return True


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
        self._watched, self._every = gauge, every

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
    let_go:
        Lets the oldest of them go, in the thread whose they are.
    """

    def __init__(self, gauge: Gauge, blocks: Blocks, let_go: Callable[[], object]) -> None:
        super().__init__(gauge)
        self._watched, self._blocks, self._let_go = gauge, blocks, let_go

    def note(self, starved: bool) -> None:
        """Let the oldest go where the next slot would have to be waited for."""
        super().note(starved)
        if self._watched.free == 0 and self._blocks.waiting:
            self._let_go()

    def leaves_out(self) -> bool:
        """Tell whether all are being worked on: then there is nothing else to let go."""
        return not self._blocks.waiting


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
    let_go: Callable[[], object],
) -> Relief:
    """Return what a policy asks for; ``let_go`` lets the oldest block go."""
    if policy.on_overrun == "drop":
        if isinstance(policy.drop, Every):
            return Thinning(gauge, policy.drop.every)
        if policy.drop == "oldest" and isinstance(blocks, Blocks):
            return LettingGo(gauge, blocks, let_go)
        return Dropping(gauge)
    return Holding(gauge, blocks) if isinstance(blocks, HeldBlocks) else Relief(gauge)
