"""``limadask bench soak``: what grows is found, and nothing of ours does."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from click import BadParameter
from click.testing import CliRunner

import limadask as ld
from limadask_benchmarks.results import Figure
from limadask_benchmarks.soak import endless, soak
from limadask_benchmarks.soak.trend import Trend
from limadask_benchmarks.soak.watch import Sample, Watch

bench = importlib.import_module("limadask.cli.bench")
series = importlib.import_module("limadask_benchmarks.soak.series").series
TIMES = np.arange(100.0)
NOISE = np.random.default_rng(3).normal(100, 2, 100)


def test_what_goes_up_and_down_does_not_grow() -> None:
    figure = Trend.of(TIMES, NOISE).figure("memory", least=1.0)
    assert figure.ratio > 2
    assert figure.repeats == 80


def test_what_grows_beneath_the_noise_is_found() -> None:
    trend = Trend.of(TIMES, NOISE + 0.2 * TIMES)
    assert trend.growth == pytest.approx(0.2 * 79, abs=2.5)
    assert trend.figure("memory", least=1.0).ratio < 1


def test_a_jump_while_it_is_warming_up_does_not_count() -> None:
    values = np.where(TIMES < 15, 0, 500) + NOISE
    assert Trend.of(TIMES, values).figure("memory", least=1.0).ratio > 2


def test_what_shrinks_is_no_growth() -> None:
    figure = Trend.of(TIMES, NOISE - TIMES).figure("memory", least=1.0)
    assert figure.value < 0
    assert figure.ratio == 100


def test_too_few_values_are_refused() -> None:
    with pytest.raises(ValueError, match="4 values tell no trend"):
        Trend.of([1, 2, 3, 4], [1, 1, 1, 1])


LEAKING = """
    import os, sys, threading
    kept = []
    for line in sys.stdin:
        kept += [b"x" * (1 << 20), os.open(os.devnull, os.O_RDONLY)]
        kept.append(os.memfd_create("limadask-test"))
        os.write(kept[-1], bytes(1 << 20))
        kept.append(threading.Thread(target=threading.Event().wait, daemon=True))
        kept[-1].start()
        print("more", flush=True)
"""


@contextmanager
def leaking() -> Iterator[subprocess.Popen[str]]:
    program = [sys.executable, "-c", "\n".join(line[4:] for line in LEAKING.splitlines())]
    process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_everything_a_process_leaks_is_seen() -> None:
    with leaking() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        watch = Watch({"leaking": process.pid, "calm": os.getpid()})
        for _ in range(10):
            process.stdin.write("more\n")
            process.stdin.flush()
            assert process.stdout.readline() == "more\n"
            watch.look()
        leaks = {"memory": 1, "shared": 1, "descriptors": 2, "segments": 1, "threads": 1}
        for kind, per_look in leaks.items():
            trend = watch.trends(kind)["leaking"]
            assert trend.growth == pytest.approx(7 * per_look, rel=0.3), kind
            assert watch.trends(kind)["calm"].growth < 2, kind
        found = {one.what: one.ratio for one in watch.figures("soak", 0.0)}
        assert found["soak_memory_leaking"] < 1
        assert found["soak_segments_leaking"] < 1


def test_a_process_that_is_gone_is_left_out() -> None:
    watch = Watch({"gone": 1 << 30, "this": os.getpid()})
    assert "gone" not in watch.now()  # children of other tests may be there
    assert isinstance(watch.now()["this"], Sample)


def test_a_part_or_a_leak_that_is_none_is_refused() -> None:
    with pytest.raises(BadParameter, match="endless, series"):
        soak(print, parts=["short"])
    with pytest.raises(BadParameter, match="memory, descriptors, threads, segments"):
        soak(print, sabotage="money")


def test_the_command_passes_its_seconds_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Entry:
        name = "soak"

        def load(self) -> object:
            def measure(say: object, seconds: int = 1, sabotage: str = "") -> list[Figure]:
                asked.append((seconds, sabotage))
                return []

            return measure

    monkeypatch.setattr(bench, "entry_points", lambda group: [Entry()])
    given = ["soak", "--seconds", "7", "--sabotage", "memory"]
    assert CliRunner().invoke(bench.bench, given).exit_code == 0
    assert asked == [(7, "memory")]
    assert CliRunner().invoke(bench.bench, ["soak", "--seed", "3"]).exit_code == 2


ALLOWED = 6.0
"""MiB that a process may grow by in a short run: while records of Dask fill up."""


def grown(figures: list[Figure]) -> list[str]:
    """What has grown, and is more than may be in a short run."""
    return [
        one.what for one in figures
        if one.value > (max(ALLOWED, one.limit) if "_memory_" in one.what else one.limit)
    ]  # fmt: skip


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("limadask_benchmarks.soak.endless")
    monkeypatch.setattr(module, "SHAPE", (256, 256))
    monkeypatch.setattr(module, "BUFFERS", ld.Buffers(nbytes=32 << 20))
    monkeypatch.setattr(module, "CALIBRATION", 1.0)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("_small")
def test_an_endless_run_does_not_grow() -> None:
    said: list[str] = []
    figures = endless(said.append, 40)
    assert not grown(figures), said
    (absent,) = (one for one in figures if one.what == "soak_absent")
    assert absent.repeats > 100


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("leak", ["memory", "segments"])
def test_a_leaking_task_is_found(leak: str) -> None:
    found = grown(endless(lambda text: None, 20, sabotage=leak))
    assert any(one.startswith(f"soak_{leak}") and "worker-" in one for one in found), found
    assert leak != "memory" or all("_memory_worker-" in one for one in found)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_acquisitions_in_a_row_do_not_grow() -> None:
    said: list[str] = []
    figures = series(said.append, 100, kept=5)
    assert {"series_pause", "series_keys"} <= {one.what for one in figures}
    assert not grown(figures), said
