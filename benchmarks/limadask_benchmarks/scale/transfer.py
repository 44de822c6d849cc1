"""Blocks from worker to worker: through shared memory, against TCP."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

import dask
from distributed import Client, Future

import limadask as ld
from limadask.cluster.local import local_client
from limadask.cluster.transfer import SharedBlock
from limadask.frames import Frames
from limadask.memory import BufferPool, SharedAllocator, SharedReader
from limadask_benchmarks.results import Figure, paired
from limadask_benchmarks.spine import COLUMNS, ROWS, pipeline
from limadask_benchmarks.workload import camera

MIB = 1 << 20
SIZES = (MIB // 16, MIB // 4, MIB // 2, MIB, 4 * MIB, 16 * MIB, 64 * MIB, 128 * MIB)
"""Bytes of a block."""
REPEATS = 7
BLOCKS = 4
"""Blocks sent one after the other in each repeat."""
FRAMES = 3000
RUNS = 5


class Spent(NamedTuple):
    """Seconds for a block or a frame: by the clock, and of CPU in both workers."""

    seconds: float
    cpu: float


def transfer(say: Callable[[str], object]) -> list[Figure]:
    """Measure blocks of several sizes, sent one by one, then whole runs."""
    with local_client(2, memory_limit=0) as client:
        return [*_singles(client, say), *_separate(client, say)]


def singles(say: Callable[[str], object]) -> list[Figure]:
    """Measure blocks of several sizes alone."""
    with local_client(2, memory_limit=0) as client:
        return _singles(client, say)


# ---- blocks, one by one -------------------------------------------------------------------------


def _singles(client: Client, say: Callable[[str], object]) -> list[Figure]:
    sender, receiver = client.scheduler_info()["workers"]
    pairs = [_single(client, sender, receiver, nbytes, say) for nbytes in SIZES]
    return [figure for pair in pairs for figure in pair]


def _single(
    client: Client, sender: str, receiver: str, nbytes: int, say: Callable[[str], object]
) -> list[Figure]:
    """Measure from the submission of a task that reads all pixels of a block to its result."""
    shape, size = (1, 1, nbytes // 512, 256), f"{nbytes / MIB:g}"
    client.run(Desk.open, shape)
    shared, tcp = list[Spent](), list[Spent]()
    for repeat in range(REPEATS + 1):
        for is_shared, done in ((True, shared), (False, tcp)):
            spent = _send(client, sender, receiver, is_shared)
            if repeat:  # the first one maps the memory, and opens connections
                done.append(spent)
    client.run(Desk.close)
    mine, other = _median(shared), _median(tcp)
    say(
        f"transfer of {size} MiB: {mine.seconds * 1e3:.1f} ms, {mine.cpu * 1e3:.1f} of CPU; "
        f"by TCP {other.seconds * 1e3:.1f} and {other.cpu * 1e3:.1f}"
    )
    return _figures(f"transfer_{size}", shared, tcp, nbytes / MIB)


def _send(client: Client, sender: str, receiver: str, is_shared: bool) -> Spent:
    """Send some blocks, one after the other; return what each took."""
    blocks = [
        client.submit(Desk.offer, number, is_shared, workers=[sender], pure=False)
        for number in range(BLOCKS)
    ]
    ready = client.submit(_count, blocks, workers=[sender], pure=False)
    if ready.result(timeout=60) != BLOCKS:
        raise RuntimeError("there are too few blocks")
    busy, began = _cpu(client), time.perf_counter()
    for number, block in enumerate(blocks):
        seen: Future = client.submit(Desk.look, block, workers=[receiver], pure=False)
        if seen.result(timeout=60) != number:
            raise RuntimeError(f"block {number} has come with other pixels")
    seconds = time.perf_counter() - began
    return Spent(seconds / BLOCKS, (_cpu(client) - busy) / BLOCKS)


def _count(blocks: Sequence[object]) -> int:
    return len(blocks)


class Desk:
    """What a worker holds for this: a pool of either kind, and a reader."""

    pools: dict[bool, BufferPool]
    allocator: SharedAllocator
    reader: SharedReader
    shape: tuple[int, ...]
    held: list[Frames]

    @classmethod
    def open(cls, shape: tuple[int, ...]) -> None:
        """Make the pools."""
        cls.shape, nbytes = shape, 2 * prod(shape)
        cls.allocator, cls.reader = SharedAllocator(BLOCKS, nbytes), SharedReader()
        cls.pools = {
            True: BufferPool(BLOCKS, nbytes, cls.allocator),
            False: BufferPool(BLOCKS, nbytes),
        }
        cls.held = []

    @classmethod
    def close(cls) -> None:
        """Give their memory back."""
        del cls.allocator, cls.reader, cls.pools, cls.held

    @classmethod
    def offer(cls, number: int, is_shared: bool) -> Frames | SharedBlock:
        """Return a block, or its handle."""
        if not number:
            cls.held.clear()
        pixels = cls.pools[is_shared].lend(cls.shape, "u2", timeout=30)
        if pixels is None:
            raise RuntimeError("no slot has come back")
        pixels[...] = number
        block = Frames.of(pixels)
        if not is_shared:
            return block
        cls.held.append(block)
        handle = cls.allocator.handle(pixels)
        if handle is None:
            raise RuntimeError("a slot is not where it should be")
        return SharedBlock(block.carrying(pixels[:0].copy()), handle, "")

    @classmethod
    def look(cls, block: Frames | SharedBlock) -> int:
        """Read all pixels of a block."""
        if isinstance(block, Frames):
            return int(block.pixels.max())
        cls.reader.open(block.handle.segment)
        pixels = cls.reader.read(block.handle)
        return -1 if pixels is None else int(pixels.max())


# ---- whole runs ---------------------------------------------------------------------------------


def _separate(client: Client, say: Callable[[str], object]) -> list[Figure]:
    """Measure one receiver and one worker that corrects and reduces frames as fast as it can."""
    shared, tcp = list[Spent](), list[Spent]()
    for repeat in range(RUNS + 1):
        for is_shared, done in ((True, shared), (False, tcp)):
            client.run(_choose, is_shared)
            spent = _run(client)
            if repeat:
                done.append(spent)
    client.run(_choose, True)
    mine, other = _median(shared), _median(tcp)
    say(
        f"1 receiver, 1 processing worker: {1 / mine.seconds:.0f} frames/s, "
        f"{mine.cpu * 1e3:.2f} ms of CPU each; by TCP {1 / other.seconds:.0f} "
        f"and {other.cpu * 1e3:.2f}"
    )
    return _figures("separate", shared, tcp, 1)


def _run(client: Client) -> Spent:
    acquisition = ld.Acquisition(
        client,
        camera(ROWS, COLUMNS),
        pipeline(None),
        nb_frames=FRAMES,
        expo_time=0,
        topology=ld.Topology(roles="separate"),
        buffers=ld.Buffers(nbytes=512 * MIB, nb_frames_per_block=16),
    )
    with acquisition:
        acquisition.prepare()
        busy = _cpu(client)
        acquisition.start()
        acquisition.wait()
        busy = _cpu(client) - busy
    told = acquisition.statistics()
    if absent := told["frames"]["absent"]:
        raise RuntimeError(f"{absent} frames are absent: the figures would be worthless")
    return Spent((told["ended"] - told["began"]) / FRAMES, busy / FRAMES)


def _choose(is_shared: bool) -> None:
    dask.config.set({"limadask.shared-memory": is_shared})


# ---- figures ------------------------------------------------------------------------------------


def _cpu(client: Client) -> float:
    return float(sum(client.run(time.process_time).values()))


def _median(done: Sequence[Spent]) -> Spent:
    return Spent(*(statistics.median(column) for column in zip(*done, strict=True)))


def _figures(
    what: str, shared: Sequence[Spent], tcp: Sequence[Spent], amount: float
) -> list[Figure]:
    """Return the rate and the CPU time of shared memory, against those of TCP."""
    rates = [(amount / a.seconds, amount / b.seconds) for a, b in zip(shared, tcp, strict=True)]
    mine, other = (_median(done).cpu * 1e3 for done in (shared, tcp))
    return [paired(what, rates), Figure.cost(f"{what}_cpu", mine, other, len(shared))]
