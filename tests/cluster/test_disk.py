"""Disks that get full, folders that turn read-only or go away: during a run, and around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from disk import on_small_disk

SCENARIO = Path(__file__).with_name("disk_scenario.py")
EVERY = list(range(600))
FULL = "No space left on device"
PROMPT = 15.0
"""Seconds from a fault to the end of a run that it ends, on a busy machine."""


def scenario(tmp_path: Path, *options: str) -> dict[str, Any]:
    """Run a scenario; check what holds for every one of them."""
    told = on_small_disk(SCENARIO, tmp_path / "disk", *options, size="8m")
    assert told["held"] == [], "files are left open"
    assert told["temporary"] == []
    assert told["again"], "the cluster does not serve the next run"
    assert told["processes"] == []
    assert told["files"]["wrong"] == []
    assert len(set(told["files"]["numbers"])) == len(told["files"]["numbers"])
    return told


WITHIN_OR_NEXT = [
    pytest.param("1000", id="within_a_file"),
    pytest.param("5", id="at_the_next_file", marks=pytest.mark.soak),
]
NEXT_OR_WITHIN = [
    pytest.param("5", id="at_the_next_file"),
    pytest.param("1000", id="within_a_file", marks=pytest.mark.soak),
]


def check_ledger(told: dict[str, Any], mark: bool) -> None:
    """The ledger is complete and agrees with the files; other branches got all their data."""
    ledger = told["ledger"]
    assert sorted(ledger["present"] + ledger["partial"] + ledger["absent"]) == EVERY
    assert ledger["present"] == told["files"]["numbers"], "ledger and files differ"
    assert ledger["partial"], "the fault came too late"
    assert ledger["causes"]["partial"] == ["task_error:file"]
    assert told["stats"] == sorted(ledger["present"] + ledger["partial"])
    if mark:
        assert ledger["absent"] == []
    else:
        assert ledger["causes"]["absent"] == ["stopped"]
        assert told["kind"] == "AcquisitionFailed"
        assert "'file' raised for frames" in told["error"]
        assert told["seconds"] < PROMPT


@pytest.mark.parametrize("per_file", WITHIN_OR_NEXT)
def test_a_full_disk_costs_only_the_frames_that_have_no_room(tmp_path: Path, per_file: str) -> None:
    told = scenario(tmp_path, "full", "mark", per_file)
    check_ledger(told, mark=True)
    # for the master there is no room either: it can be made later
    assert told["kind"] == "AcquisitionFailed"
    assert "'file' has no master file, `limadask recover` makes it" in told["error"]
    assert FULL in told["error"]
    assert told["master"] is None


@pytest.mark.parametrize("per_file", NEXT_OR_WITHIN)
def test_frames_are_saved_again_once_there_is_room(tmp_path: Path, per_file: str) -> None:
    told = scenario(tmp_path, "full", "mark", per_file, "mends")
    check_ledger(told, mark=True)
    assert told["error"] == ""
    assert told["outcome"][1] == "processed"
    assert told["files"]["numbers"][-1] == EVERY[-1]
    assert told["master"] == told["files"]["numbers"]


@pytest.mark.parametrize("per_file", WITHIN_OR_NEXT)
def test_a_full_disk_ends_the_run_where_the_policy_says_so(tmp_path: Path, per_file: str) -> None:
    told = scenario(tmp_path, "full", "abort", per_file)
    check_ledger(told, mark=False)
    assert FULL in told["error"]


def test_a_full_disk_is_found_before_the_first_exposure(tmp_path: Path) -> None:
    told = scenario(tmp_path, "first", "mark", "1000")
    assert told["kind"] == "ConfigError"
    assert "file.folder" in told["error"]
    assert FULL in told["error"]
    assert told["files"]["names"] == []


def test_without_room_for_the_master_all_frames_are_in_the_data_files(tmp_path: Path) -> None:
    told = scenario(tmp_path, "master", "abort", "1000")
    assert told["ledger"]["present"] == told["files"]["numbers"] == told["stats"] == EVERY
    assert told["kind"] == "AcquisitionFailed"
    assert "'file' has no master file" in told["error"]
    assert FULL in told["error"]
    assert told["master"] is None


def test_a_folder_that_is_read_only_for_a_while(tmp_path: Path) -> None:
    told = scenario(tmp_path, "readonly", "mark", "20", "mends")
    check_ledger(told, mark=True)
    assert told["error"] == ""
    assert told["master"] == told["files"]["numbers"]
    assert told["files"]["numbers"][-1] == EVERY[-1]


def test_a_folder_that_turns_read_only_ends_the_run_where_the_policy_says_so(
    tmp_path: Path,
) -> None:
    told = scenario(tmp_path, "readonly", "abort", "20")
    check_ledger(told, mark=False)
    assert "Read-only file system" in told["error"]


def test_a_folder_that_is_removed_ends_the_run_where_the_policy_says_so(tmp_path: Path) -> None:
    told = scenario(tmp_path, "removed", "abort", "1000")
    ledger = told["ledger"]
    assert sorted(ledger["present"] + ledger["partial"] + ledger["absent"]) == EVERY
    assert ledger["causes"]["partial"] == ["task_error:file"]
    assert told["kind"] == "AcquisitionFailed"
    assert "'file' raised for frames" in told["error"]
    assert "has been removed" in told["error"] or "No such file" in told["error"]
    assert told["seconds"] < PROMPT


def test_a_folder_that_was_removed_and_made_again_gets_the_later_frames(tmp_path: Path) -> None:
    told = scenario(tmp_path, "removed", "mark", "1000", "mends")
    assert told["stats"] == EVERY
    later = told["files"]["numbers"]
    assert later[-1] == EVERY[-1]
    assert told["master"] == later
    # what was saved before is gone with its files, and this is told
    assert told["kind"] == "AcquisitionFailed"
    assert "'file' has lost what it had saved" in told["error"]
    assert "run_0_00000.h5: the file is gone" in told["error"]
    lost = set(told["ledger"]["partial"])
    assert lost
    assert lost.isdisjoint(later)


def test_frames_held_on_a_full_disk_are_kept_in_memory_then_absent(tmp_path: Path) -> None:
    told = on_small_disk(SCENARIO.with_name("spool_scenario.py"), tmp_path / "disk")
    counts = told["counts"]
    assert counts["present"] + counts["absent"] == 200
    assert 40 <= counts["present"] < 100  # what the disk and the pool had room for
    assert told["causes"] == ["overrun"]
    assert len(told["numbers"]) == counts["present"]
    assert told["wrong"] == []
    (failure,) = told["failures"]
    assert failure["node"] == "input"
    assert FULL in failure["text"]
    assert told["left"] == ["filler"]
