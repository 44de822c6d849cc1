"""What the master file says became of each frame: the files win over the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from harness import record

from limadask.frames import Spec, Status
from limadask.geometry import Grid
from limadask.ledger import Ledger
from limadask.storage import Chunks, FileSeries, FrameLayout, encoder, write_master

SPEC = Spec(Grid((4, 5)), np.dtype("u2"))
P, Q, A, V = Status.PRESENT, Status.PARTIAL, Status.ABSENT, Status.VETOED


def written(
    folder: Path, ledger: Ledger, saved: dict[int, Status], spec: Spec = SPEC, **changes: Any
) -> h5py.File:
    """Save some frames of 12, write the master, and return it open."""
    series = FileSeries(folder, "r", 0, [FrameLayout(spec, "none")], 100)
    numbers = np.array(sorted(saved), np.int64)
    chunk = encoder("none")(np.ones((4, 5), "u2"))
    status = np.array([saved[number] for number in numbers.tolist()], "u1")
    series.append([Chunks(numbers, numbers * 10, status, [chunk] * len(numbers))])
    series.close()
    run = record(ledger, len(ledger), **changes)
    write_master(folder / "m.h5", "file", spec, series.paths, run)
    return h5py.File(folder / "m.h5")


def fates(file: h5py.File) -> tuple[list[int], list[str]]:
    data = file["entry/data"]
    return data["frame_status"][()].tolist(), [cause.decode() for cause in data["frame_cause"][()]]


def test_causes_come_from_the_ledger_and_presence_from_the_files(tmp_path: Path) -> None:
    ledger = Ledger(8)
    ledger.mark(0, 1, P)
    ledger.mark(1, 2, A, "worker_lost")  # the ledger does not know that it was saved
    ledger.mark(2, 3, Q, "task_error:flat")
    ledger.mark(3, 4, Q, "task_error:file")  # did not reach this file
    ledger.mark(4, 5, V, "veto:hits")
    ledger.mark(5, 6, A, "overrun")
    ledger.mark(6, 8, A, "stopped")
    with written(tmp_path, ledger, {0: P, 1: P, 2: Q}, state="stopped") as file:
        status, causes = fates(file)
        assert status == [P, P, Q, A, V, A, A, A]
        assert causes == [
            "",
            "",
            "task_error:flat",
            "task_error:file",
            "veto:hits",
            "overrun",
            "stopped",
            "stopped",
        ]
        assert file["entry/run_state"].asstr()[()] == "stopped"
        assert "end_time" not in file["entry"]
        assert "error" not in file["entry"]


def test_summed_frames_have_the_first_cause_of_their_group(tmp_path: Path) -> None:
    ledger = Ledger(10)
    ledger.mark(0, 4, P)
    ledger.mark(4, 5, A, "detector")
    ledger.mark(5, 7, A, "overrun")
    ledger.mark(7, 8, P)
    ledger.mark(8, 10, A, "timeout")
    spec = SPEC.replace(nb_merged=4)
    with written(tmp_path, ledger, {0: P, 1: Q}, spec) as file:
        assert fates(file) == ([P, Q, A], ["", "detector", "timeout"])


def test_the_name_of_a_node_may_hold_any_letters(tmp_path: Path) -> None:
    ledger = Ledger(2)
    ledger.mark(0, 1, P)
    ledger.mark(1, 2, A, "task_error:später")
    with written(tmp_path, ledger, {0: P}) as file:
        assert fates(file)[1] == ["", "task_error:später"]


def test_a_failed_run_says_why(tmp_path: Path) -> None:
    ledger = Ledger(1)
    ledger.mark(0, 1, A, "worker_lost")
    with written(tmp_path, ledger, {}, state="failed", error="no worker is left") as file:
        assert file["entry/error"].asstr()[()] == "no worker is left"


def test_masked_pixels_are_told(tmp_path: Path) -> None:
    ledger = Ledger(1)
    ledger.mark(0, 1, P)
    masked = np.zeros((4, 5), bool)
    masked[1, 2] = True
    with written(tmp_path, ledger, {0: P}, SPEC.replace(masked=masked)) as file:
        mask = file["entry/instrument/detector/pixel_mask"][()]
        assert np.array_equal(mask != 0, masked)


def test_a_run_of_no_frames_has_a_master_all_the_same(tmp_path: Path) -> None:
    with written(tmp_path, Ledger(0), {}) as file:
        assert file["entry/data/data"].shape == (0, 4, 5)
        assert fates(file) == ([], [])


@pytest.mark.parametrize("extra", [1, 5])
def test_frames_beyond_the_end_of_the_run_are_shown_too(extra: int, tmp_path: Path) -> None:
    ledger = Ledger(3)
    ledger.mark(0, 3, P)
    saved = dict.fromkeys(range(3 + extra), P)
    with written(tmp_path, ledger, saved) as file:
        assert fates(file)[0] == [P] * (3 + extra)
        assert file["entry/data/data"].shape == (3 + extra, 4, 5)
