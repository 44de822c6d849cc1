"""A short, seeded part of ``limadask bench chaos``; and that it sees what it should."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import h5py
import pytest

from limadask.storage.data_file import DataFile
from limadask_benchmarks.chaos import flushes
from limadask_benchmarks.chaos.plan import KINDS, Kill
from limadask_benchmarks.chaos.run import Verdict, expected_frames, run

SOAK = pytest.mark.soak
RARE = ("processor", "client")
KINDS_HERE = [pytest.param(one, marks=SOAK if one in RARE else ()) for one in KINDS]
MOMENTS = {
    "receiver": ("flushing", 0.6),
    "processor": ("acquiring", 0.4),
    "scheduler": ("flushing", 0.5),
    "client": ("closing", 0.1),
    "local": ("acquiring", 0.3),
}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return expected_frames(tmp_path_factory.mktemp("chaos"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS_HERE)
def test_no_acknowledged_frame_is_lost(kind: str, expected: Path, tmp_path: Path) -> None:
    phase, moment = MOMENTS[kind]
    found = run(Kill(kind, phase, moment), tmp_path, expected)
    assert found.acknowledged > 0
    assert (found.lost, found.nameless, found.wrong, found.hangs) == (0, 0, 0, 0)


@pytest.mark.slow
@SOAK
@pytest.mark.parametrize(
    ("topology", "kind"),
    [
        ("dynamic", "scheduler"), ("apart_separate", "receiver"), ("assembled", "receiver"),
    ],
)  # fmt: skip
def test_nor_with_several_receivers(
    kind: str, topology: str, expected: Path, tmp_path: Path
) -> None:
    """One kill each; the long series of ``limadask bench chaos`` have all of them."""
    phase, moment = MOMENTS[kind]
    found = run(Kill(kind, phase, moment, topology), tmp_path, expected)
    assert found.acknowledged > 0
    assert (found.lost, found.nameless, found.wrong, found.hangs) == (0, 0, 0, 0)


@pytest.mark.slow
@SOAK
@pytest.mark.parametrize("phase", ["prepare", "closing"])
def test_nothing_is_left_half_done(phase: str, expected: Path, tmp_path: Path) -> None:
    found = run(Kill("processor", phase, 0.5), tmp_path, expected)
    assert (found.lost, found.nameless, found.wrong, found.hangs) == (0, 0, 0, 0)


@pytest.mark.slow
def test_it_goes_red_without_the_flush(expected: Path, tmp_path: Path) -> None:
    assert run(Kill("processor", "acquiring", 0.5), tmp_path, expected, "flush").lost > 0


@SOAK
@pytest.mark.slow
def test_it_goes_red_when_a_status_is_dropped(expected: Path, tmp_path: Path) -> None:
    found = run(Kill("client", "acquiring", 0.5), tmp_path, expected, "status")
    assert (found.nameless, found.lost) == (1, 1)


@SOAK
@pytest.mark.slow
def test_it_goes_red_when_files_do_not_tell_causes(expected: Path, tmp_path: Path) -> None:
    found = run(Kill("scheduler", "acquiring", 0.5), tmp_path, expected, "causes")
    assert found.nameless > 0
    assert found.lost > 0


def test_a_flush_is_heard_of_as_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed, over = list[int](), Event()
    monkeypatch.setattr(flushes, "_flush", flushed.append)
    for patched in (DataFile, h5py.Dataset):
        monkeypatch.setattr(patched, "flush", patched.flush)  # to be put back

    def flush() -> None:
        while not over.wait(0.001):
            DataFile.flush(len(flushed))  # type: ignore[arg-type]

    with closing(flushes.Flushes(tmp_path)) as heard:
        assert not heard.wait(None, 0.01)
        flushes.tell_flushes(tmp_path)
        telling = Thread(target=flush)
        telling.start()
        found = [heard.wait(process, 0.2) for process in (None, os.getpid(), os.getpid() + 1)]
        over.set()
        telling.join(30)
    assert found == [True, True, False]
    assert flushed == list(range(len(flushed)))


def test_verdicts_add_up() -> None:
    total = Verdict(faults=1, acknowledged=10, longest=3.0)
    total += Verdict(faults=1, acknowledged=5, hangs=1, longest=2.0)
    assert total == Verdict(faults=2, acknowledged=15, hangs=1, longest=3.0)
