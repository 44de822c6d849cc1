"""The parts of the benchmark: each saver against its loop, and uncompressed against ``write``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from limadask.task import Sink
from limadask_benchmarks.parts import check_parts
from limadask_benchmarks.results import Figure, paired, paired_cost
from limadask_benchmarks.save import loops
from limadask_benchmarks.save.listener import listening
from limadask_benchmarks.save.work import Pace, saver
from limadask_tasks import SaveHdf5, SaveImages, SaveZarr, StreamZmq

Say = Callable[[str], object]
Run = Callable[[], Pace]
"""Saves the frames."""
REPEATS = 7


def hdf5(say: Say, repeats: int = REPEATS) -> list[Figure]:
    """Measure SaveHdf5."""
    return [
        *_files("hdf5", lambda one: SaveHdf5(folder=one), loops.hdf5, repeats, say),
        *_files("hdf5_raw", lambda one: SaveHdf5(folder=one, compression="none"), loops.write,
               repeats, say),
    ]  # fmt: skip


def zarr(say: Say, repeats: int = REPEATS) -> list[Figure]:
    """Measure SaveZarr."""
    return [
        *_files("zarr", lambda one: SaveZarr(folder=one), loops.zarr, repeats, say),
        *_files("zarr_raw", lambda one: SaveZarr(folder=one, compression="none"), loops.write,
               repeats, say),
    ]  # fmt: skip


def images(say: Say, repeats: int = REPEATS) -> list[Figure]:
    """Measure SaveImages: CBF, and EDF, which is not compressed."""
    return [
        *_files("images", lambda one: SaveImages(folder=one), loops.images, repeats, say),
        *_files("images_raw", lambda one: SaveImages(folder=one, format="edf"), loops.write,
               repeats, say),
    ]  # fmt: skip


def zmq(say: Say, repeats: int = REPEATS) -> list[Figure]:
    """Measure StreamZmq, with a listener in a process of its own."""
    with listening() as address:
        packing = StreamZmq(address=address, patience=20)
        plain = packing.replace(compression="none")
        return [
            *_compare(
                "zmq", lambda: saver(packing), lambda: loops.zmq_stream(address), repeats, say
            ),
            *_compare(
                "zmq_raw", lambda: saver(plain), lambda: loops.zmq_raw(address), repeats, say
            ),
        ]


PARTS: Mapping[str, Callable[[Say], list[Figure]]] = {
    "hdf5": hdf5,
    "zarr": zarr,
    "images": images,
    "zmq": zmq,
}
"""The parts by name; each is told where to say what goes on."""


def save(say: Say, parts: Sequence[str] = ()) -> list[Figure]:
    """Measure ``parts``, all where none is named.

    Raises
    ------
    BadParameter
        When there is no such part.
    """
    check_parts(parts, PARTS)
    return [figure for one in parts or PARTS for figure in PARTS[one](say)]


def _files(
    what: str, sink: Callable[[str], Sink], loop: Callable[[Path], Pace], repeats: int, say: Say
) -> list[Figure]:
    """Compare savers of files, each time in a folder that is empty."""

    def mine() -> Pace:
        with tempfile.TemporaryDirectory() as folder:
            return saver(sink(folder))

    def other() -> Pace:
        with tempfile.TemporaryDirectory() as folder:
            return loop(Path(folder))

    return _compare(what, mine, other, repeats, say)


def _compare(what: str, mine: Run, other: Run, repeats: int, say: Say) -> list[Figure]:
    """Run both in turn; the first pair only makes them warm."""
    pairs: list[tuple[Pace, Pace]] = []
    for repeat in range(repeats + 1):
        # each goes first as often as the other
        runs = (mine, other) if repeat % 2 else (other, mine)
        paces = {run: run() for run in runs}
        if not repeat:
            continue
        pairs.append((paces[mine], paces[other]))
        (rate, cpu), (bare, bare_cpu) = pairs[-1]
        say(
            f"{what}: {rate:.0f} frames/s, by hand {bare:.0f}: {rate / bare:.2f}; "
            f"CPU {cpu:.2f} and {bare_cpu:.2f} ms a frame"
        )
    rates = [(ours.rate, bare.rate) for ours, bare in pairs]
    costs = [(ours.cpu, bare.cpu) for ours, bare in pairs]
    return [paired(what, rates), paired_cost(f"{what}_cpu", costs)]
