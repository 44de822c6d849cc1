"""``limadask bench spine``: what the engine costs, against a bare loop on the same cores.

``process``: mask and flat-field merged, then statistics of four regions, on frames of 1 Mpixel
uint16. ``process_save``: the same with the corrected frames saved, bslz4. Both against
:mod:`limadask_benchmarks.bare_loop`, run in turn with it. The rest is measured on a scheduler in
a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from distributed import Client

import limadask as ld
from limadask.cluster.local import local_client, process_cluster
from limadask_benchmarks.results import Figure, paired
from limadask_benchmarks.workload import ROIS, camera, corrections
from limadask_tasks import RoiStatistics, SaveHdf5

ROWS = COLUMNS = 1024
POOL = 1 << 30
WORKER_BASE = 300 << 20
"""Bytes that a worker may use besides its pool."""


def spine(
    say: Callable[[str], object],
    frames: tuple[int, int] = (6000, 1500),
    repeats: tuple[int, int] = (7, 5),
    few_and_many: tuple[int, int] = (200, 4000),
    paced: int = 1000,
    blocks: int = 10_000,
) -> list[Figure]:
    """Measure everything.

    Parameters
    ----------
    say:
        Is told what goes on.
    frames, repeats:
        Of ``process``, and of ``process_save``.
    few_and_many:
        Frames of the two runs whose memory is measured.
    paced:
        Blocks that come 50 a second, for the latency and the scheduler's load.
    blocks:
        Blocks over which the scheduler's cost may grow.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with local_client(1, memory_limit=0) as client:
            figures = [
                _against_bare("process", client, frames[0], None, repeats[0], say),
                _against_bare("process_save", client, frames[1], folder, repeats[1], say),
            ]
        figures.append(_peak_memory(folder, few_and_many, say))
        say(_references(folder, figures[0].limit, figures[1].limit))
        return [*figures, *_latency(folder, paced, say), *_scheduler(paced, blocks, say)]


def pipeline(folder: Path | None) -> ld.Pipeline:
    """Return the pipeline that is measured."""
    pipe = ld.Pipeline()
    mask, flat = corrections(ROWS, COLUMNS)
    pipe.add("masked", mask)
    pipe.add("flat", flat, after="masked")
    pipe.add("stats", RoiStatistics(rois=ROIS), after="flat")
    if folder is not None:
        pipe.add("file", _saver(folder), after="flat")
    return pipe


def _saver(folder: Path) -> SaveHdf5:
    return SaveHdf5(
        folder=str(folder),
        prefix="bench",
        file_exists_policy="overwrite",
        nb_frames_per_file=100_000,
    )


def run(client: Client, pipe: ld.Pipeline, **parameters: Any) -> dict[str, Any]:
    """Run an acquisition of the benchmark's camera to its end; return its statistics."""
    buffers = parameters.pop("buffers", ld.Buffers(nbytes=POOL))
    acquisition = ld.Acquisition(client, camera(ROWS, COLUMNS), pipe, buffers=buffers, **parameters)
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait()
    told = acquisition.statistics()
    absent = told["frames"]["absent"]
    if absent:
        raise RuntimeError(f"{absent} frames are absent: the figures would be worthless")
    return told


def bare_loop(frames: int, folder: Path | None, threads: int = 2) -> tuple[float, float]:
    """Return frames a second and CPU seconds a frame of the bare loop, in a process of its own."""
    sizes = map(str, (frames, ROWS, COLUMNS, POOL // (ROWS * COLUMNS * 2), threads))
    command = [sys.executable, "-m", "limadask_benchmarks.bare_loop", *sizes]
    if folder is not None:
        command.append(str(folder / "bare.h5"))
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    rate, cpu = map(float, done.stdout.split())
    return rate, cpu


def _against_bare(
    what: str,
    client: Client,
    frames: int,
    folder: Path | None,
    repeats: int,
    say: Callable[[str], object],
) -> Figure:
    pairs = []
    run(client, pipeline(folder), nb_frames=200, expo_time=0)  # warm
    for _ in range(repeats):
        bare, _ = bare_loop(frames, folder)
        told = run(client, pipeline(folder), nb_frames=frames, expo_time=0)
        mine = frames / (told["ended"] - told["began"])
        say(f"{what}: {mine:.0f} frames/s, bare loop {bare:.0f}: {mine / bare:.2f}")
        pairs.append((mine, bare))
    return paired(what, pairs)


def _peak_memory(
    folder: Path, few_and_many: tuple[int, int], say: Callable[[str], object]
) -> Figure:
    """Measure the worker's own memory at its highest, for few and for many frames.

    Program code mapped from files is left out: all processes of a computer share it.
    """
    bound = 256 << 20
    with local_client(1, memory_limit=0) as client:
        peaks = [
            _peak_of_run(client, frames, ld.Buffers(nbytes=bound), folder)
            for frames in few_and_many
        ]
    own = [peak["own"] for peak in peaks]
    for frames, peak in zip(few_and_many, peaks, strict=True):
        say(
            f"peak_memory: {peak['own'] >> 20} MiB, and {peak['code'] >> 20} MiB of code, "
            f"for {frames} frames"
        )
    return Figure.cost("peak_memory", max(own), bound + WORKER_BASE, len(own))


def _peak_of_run(client: Client, frames: int, buffers: ld.Buffers, folder: Path) -> dict[str, int]:
    pipe = pipeline(folder)
    acquisition = ld.Acquisition(
        client, camera(ROWS, COLUMNS), pipe, buffers=buffers, nb_frames=frames, expo_time=0
    )
    client.run(_reset_peak)
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait()
    return next(iter(client.run(_memory).values()))


def _latency(folder: Path, paced: int, say: Callable[[str], object]) -> list[Figure]:
    """Measure the time from a frame's end to the end of its sinks, 50 blocks a second.

    Corrected, measured, and saved as the detector sent it; saving the corrected frames, float32,
    takes twice the bytes, and has a figure of its own.
    """
    raw = pipeline(None)
    raw.add("file", _saver(folder), after="input")
    buffers = ld.Buffers(nbytes=POOL, nb_frames_per_block=1)
    with local_client(1, memory_limit=0) as client:
        told = [
            run(client, pipe, nb_frames=paced, expo_time=0.02, buffers=buffers)
            for pipe in (raw, pipeline(folder))
        ]
    for what, one in zip(("raw", "corrected"), told, strict=True):
        of_sink = one["seconds"]["file"] / one["processed"]
        median, p99 = (one["latency"][name] for name in ("median", "p99"))
        say(
            f"latency, saving {what} frames: median {median * 1e3:.1f} ms, of which compressing "
            f"and writing {of_sink * 1e3:.1f}; p99 {p99 * 1e3:.1f}"
        )
    found, corrected = (one["latency"] for one in told)
    return [
        Figure.cost("latency_median", found["median"] * 1e3, 5.0, found["blocks"]),
        Figure.cost("latency_p99", found["p99"] * 1e3, 20.0, found["blocks"]),
        Figure.cost(
            "latency_median_corrected", corrected["median"] * 1e3, 5.0, corrected["blocks"]
        ),
    ]


def _scheduler(paced: int, blocks: int, say: Callable[[str], object]) -> list[Figure]:
    """Measure the scheduler's load at 50 blocks/s, and what many blocks do to it."""
    with process_cluster(1, threads=2) as cluster, Client(cluster.address) as client:
        scheduler = psutil.Process(cluster.scheduler.pid)
        block = ld.Buffers(nb_frames_per_block=1)
        with _started(client, nb_frames=paced, expo_time=0.02, buffers=block) as acquisition:
            began, busy = time.perf_counter(), _busy(scheduler)
            acquisition.wait()
            share = (_busy(scheduler) - busy) / (time.perf_counter() - began)
        say(f"scheduler_cpu: {share:.3f} of a core at 50 blocks/s")
        costs: list[tuple[int, float]] = []
        with _started(
            client, nb_frames=blocks, expo_time=0.0, buffers=block, shape=(64, 64)
        ) as acquisition:
            acquisition.wait(told=lambda told: costs.append((told["processed"], _busy(scheduler))))
        done, spent = (np.array(column, float) for column in zip(*costs, strict=True))
        tenth = blocks // 10
        first = np.interp(tenth, done, spent) - np.interp(0, done, spent)
        last = np.interp(blocks, done, spent) - np.interp(blocks - tenth, done, spent)
        say(f"scheduler_growth: {first:.2f} and {last:.2f} s for the first and last {tenth} blocks")
    return [
        Figure.cost("scheduler_cpu", share, 0.15),
        Figure.rate("scheduler_growth", first / last, 1.0),
    ]


def _started(
    client: Client, shape: tuple[int, int] = (ROWS, COLUMNS), **parameters: Any
) -> ld.Acquisition:
    pipe = ld.Pipeline()
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 32, 32)]))
    acquisition = ld.Acquisition(client, camera(*shape), pipe, **parameters)
    acquisition.prepare()
    acquisition.start()
    return acquisition


def _references(folder: Path, process: float, save: float) -> str:
    """Return what the machine can do at best, and the bare loop's share of it.

    Copied are frames as they come, uint16; written are those that the loop saves, float32.
    """
    frame = np.ones((ROWS, COLUMNS), np.uint16)
    copies = [frame.copy() for _ in range(64)]
    corrected = np.ones((ROWS, COLUMNS), np.float32)

    def copy() -> None:
        for one in copies:
            np.copyto(one, frame)

    def write() -> None:
        with (folder / "plain").open("wb", buffering=0) as file:
            for _ in copies:
                file.write(corrected.data)

    rates = {}
    for name, job in (("memcpy", copy), ("write", write)):
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            job()
            seconds.append(time.perf_counter() - began)
        rates[name] = len(copies) / min(seconds)
    return (
        f"memcpy {rates['memcpy']:.0f} frames/s, of which the bare loop reaches "
        f"{process / rates['memcpy']:.0%}; plain write {rates['write']:.0f} frames/s, of which the "
        f"bare loop with saving reaches {save / rates['write']:.0%}"
    )


def _busy(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _memory() -> dict[str, int]:
    """Return the peak of the process's own memory, and its program code, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    sizes = {
        name: int(rest.split()[0]) * 1024
        for name, _, rest in (line.partition(":") for line in lines)
        if name in ("VmHWM", "RssFile")
    }
    return {"own": sizes["VmHWM"] - sizes["RssFile"], "code": sizes["RssFile"]}
