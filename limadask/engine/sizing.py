"""How many frames make a block, and how many blocks the pool holds."""

from __future__ import annotations

from math import ceil

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.parameters import Buffers, HardwareParameters

WORK = 256 << 20
"""Bytes of a block: 50 ms of the lightest work, so that Dask's 5 ms a block hardly matter."""
LATENCY = 0.1
"""Seconds that a block may take to fill."""
RATE = 100
"""Blocks a second that one scheduler bears well."""
LEAST_SLOTS = 4
"""Blocks that are being filled, waiting, and in the hands of two threads."""


def size_blocks(
    raw: Spec,
    period: float,
    hardware: HardwareParameters,
    buffers: Buffers,
    pool_nbytes: int,
    nb_merged: int = 1,
    threads: int = 1,
) -> tuple[int, int, int]:
    """Return frames per block, and blocks in the pool: from the beginning, and at most.

    Parameters
    ----------
    raw:
        Frames as they are received, by one receiver.
    period:
        Seconds from one of them to the next.
    hardware:
        What starts them.
    buffers:
        What the user wants.
    pool_nbytes:
        Bytes the pool may have.
    nb_merged:
        Frames that some accumulation adds up: blocks are made of whole groups, or groups of
        whole blocks.
    threads:
        Those that process what this receiver receives.

    Raises
    ------
    ConfigError
        When the pool is too small, or its floor higher than it.
    """
    fits = pool_nbytes // raw.frame_nbytes
    if buffers.nb_frames_per_block is None:
        count = _aligned(min(_wanted(raw, period, hardware), fits // LEAST_SLOTS), nb_merged)
        least = LEAST_SLOTS
    else:
        count, least = buffers.nb_frames_per_block, 2
    slots = fits // max(count, 1)
    if count < 1 or slots < least:
        needed = least * max(count, 1) * raw.frame_nbytes
        raise ConfigError(
            f"the receiver's pool of {pool_nbytes} bytes is too small for {least} blocks of "
            f"{max(count, 1)} frames ({raw.frame_nbytes} bytes each)",
            node="buffers",
            field="nbytes",
            value=pool_nbytes,
            allowed=f"at least {needed}",
        )
    if raw.nb_frames is not None:
        slots = max(least, min(slots, ceil(raw.nb_frames / count) + 1))
    return count, _floor(buffers, pool_nbytes, count * raw.frame_nbytes, slots, threads), slots


def _floor(buffers: Buffers, pool_nbytes: int, block: int, slots: int, threads: int) -> int:
    """Return the blocks of ``block`` bytes that the pool has from the beginning."""
    if buffers.least_nbytes is None:
        # two in the hands of each thread or on the way to it, one that fills, one that is next
        return min(slots, 2 * threads + 2)
    if buffers.least_nbytes > pool_nbytes:
        raise ConfigError(
            f"the receiver's pool has at most {pool_nbytes} bytes",
            node="buffers",
            field="least_nbytes",
            value=int(buffers.least_nbytes),
            allowed=f"at most {pool_nbytes}",
        )
    return max(2, min(slots, buffers.least_nbytes // block))


def _wanted(raw: Spec, period: float, hardware: HardwareParameters) -> int:
    count = max(1, WORK // raw.frame_nbytes)
    if period > 0:
        count = min(count, max(1, round(LATENCY / period)))
        count = max(count, ceil(1 / RATE / period))
    if hardware.trigger_mode != "internal":
        count = min(count, hardware.nb_frames_per_trigger)
    if raw.nb_frames is not None:  # a short run, too, is to use all threads
        count = min(count, ceil(raw.nb_frames / 16))
    return count


def _aligned(count: int, group: int) -> int:
    if count >= group:
        return count // group * group
    return max((one for one in range(1, count + 1) if group % one == 0), default=count)
