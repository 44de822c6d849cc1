"""Programs in processes of their own, forked by a server that has imported what they need."""

from __future__ import annotations

import os
import signal
from multiprocessing import forkserver
from pathlib import Path

import dask
import psutil
import pytest
from distributed.utils import get_mp_context

from limadask.cluster.child import Child, server


def child(folder: Path, *arguments: str) -> Child:
    return Child(*arguments, variables=os.environ, folder=folder)


def test_a_program_ends_as_it_says_and_works_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("x")
    assert child(tmp_path, "zipfile", "-c", "made.zip", "here").wait(timeout=60) == 0
    assert (tmp_path / "made.zip").exists()
    assert child(tmp_path, "json.tool", "not-there").wait(timeout=60) > 0


def test_a_program_can_be_told_to_end_and_be_killed(tmp_path: Path) -> None:
    serving = "http.server", "--bind", "127.0.0.1", "0"
    for end, status in (
        (lambda one: one.send_signal(signal.SIGTERM), -signal.SIGTERM),
        (lambda one: one.kill(), -signal.SIGKILL),
    ):
        running = child(tmp_path, *serving)
        assert running.poll() is None
        assert psutil.pid_exists(running.pid)
        with pytest.raises(TimeoutError, match="has not ended within"):
            running.wait(timeout=0.05)
        end(running)
        assert running.wait(timeout=60) == status
        running.send_signal(signal.SIGCONT)  # nobody is there any more


def test_dask_leaves_it_to_us_what_is_imported_before() -> None:
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        assert get_mp_context() is server()
    known = forkserver._forkserver._preload_modules
    assert {"distributed.cli.dask_worker", "limadask", "limadask_tasks"} <= set(known)
