"""Worlds that do not start, and worlds whose owner is killed."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import psutil
import pytest
import xarray as xr

import limadask as ld
from limadask.frames import Spec
from limadask.geometry import Grid
from limadask.memory.janitor import clean
from limadask.testing.leftovers import Leftovers

SPEC = Spec(Grid((4, 5)), np.dtype("u2"))
BOUND = 60.0


@ld.mpi_task(plan="same")
def unchanged(comm: Any, block: xr.DataArray, gain: float = 1.0) -> Any:
    """Return the block."""
    return block


def refused(**fields: Any) -> ld.ConfigError:
    """The error of a pipeline with such a task, its node named."""
    before, pipe = Leftovers(), ld.Pipeline()
    pipe.add("node", unchanged(**fields))
    with pytest.raises(ld.ConfigError) as caught:
        ld.process(np.zeros((2, 4, 5), "u2"), pipe)
    assert caught.value.node == "node"
    assert before.found() == set()
    return caught.value


def test_without_mpi4py_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert "pip install 'limadask[mpi]'" in refused().message


@pytest.mark.parametrize("launcher", ["nowhere -n {ranks}", "mpiexec -n {cores}", "", "'mpiexec"])
def test_a_launcher_that_is_none_is_named(launcher: str) -> None:
    error = refused(launcher=launcher)
    assert (error.field, error.value) == ("launcher", launcher)
    assert error.allowed is not None


def test_a_launcher_that_fails_tells_what_it_has_printed() -> None:
    error = refused(launcher="sh -c 'echo no such partition >&2; exit 3'")
    assert error.field == "launcher"
    assert "it ended at once, status 3: no such partition" in error.message


def test_a_world_that_does_not_come_is_waited_for_no_longer_than_allowed() -> None:
    began = time.monotonic()
    error = refused(launcher="sh -c 'exec sleep 100'", start_timeout=0.5)
    assert "0 of 2 ranks have come in time: nothing was printed" in error.message
    assert time.monotonic() - began < BOUND / 2


def test_a_launcher_of_another_mpi_is_found_out() -> None:
    assert "a world of 1 ranks where 2 are wanted" in refused(launcher="env").message


def test_a_function_that_ranks_cannot_get_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def process(comm: Any, block: xr.DataArray) -> Any:
        return block

    module = ModuleType("only_here")
    process.__module__, process.__qualname__ = module.__name__, "process"
    module.__dict__["process"] = process
    monkeypatch.setitem(sys.modules, module.__name__, module)
    task = ld.mpi_task(plan="same")(process)
    with pytest.raises(ld.ConfigError, match=r"cannot begin: ModuleNotFoundError: .*only_here"):
        task().setup(SPEC)


def test_arguments_must_not_be_called_as_fields_are() -> None:
    def slow(comm: Any, block: xr.DataArray, timeout: float = 1.0) -> Any:
        return block

    with pytest.raises(ld.ConfigError, match="has an argument whose name is a field") as caught:
        ld.mpi_task(plan="same")(slow)
    assert caught.value.field == "timeout"


def test_its_fields_are_those_of_the_world_and_those_of_the_function() -> None:
    task = unchanged(ranks=4, gain=3)
    assert task.parameters == {"gain": 3.0}
    told = task.effective(SPEC)
    assert told["ranks"] == 4
    assert told["launcher"] == "mpiexec -n {ranks}"
    with pytest.raises(ld.ConfigError, match="ranks"):
        unchanged(ranks=0)


def test_nothing_is_left_of_a_world_whose_owner_is_killed() -> None:
    program = [sys.executable, str(Path(__file__).with_name("owner.py"))]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        title, *numbers = owner.stdout.readline().split()
        assert title == "processes"
        processes = [psutil.Process(int(one)) for one in numbers]
        assert len(processes) >= 3  # the launcher and two ranks at least
        owner.kill()
    gone, alive = psutil.wait_procs(processes, BOUND)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
    assert gone


def test_names_of_a_world_that_is_killed_while_it_starts_are_taken_away(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "starting")
    told = os.open(tmp_path / "starting", os.O_RDONLY | os.O_NONBLOCK)
    program = [sys.executable, str(Path(__file__).with_name("starting.py"))]
    places = {"STARTING": str(tmp_path / "starting"), "TMPDIR": str(tmp_path)}
    claims = tmp_path / f"limadask-claims-{os.getuid()}"
    with subprocess.Popen(program, env={**os.environ, **places}) as owner:
        try:
            assert select.select([told], [], [], BOUND)[0]
            assert clean(claims) == []  # its owner lives
            (claim,) = claims.iterdir()
            names = [json.loads(line)[0] for line in claim.read_text().splitlines()]
            processes = psutil.Process(owner.pid).children(recursive=True)
            assert any("mpich_shm" in one for one in names)
            assert any("hydra" in one for one in names)
            assert all(os.path.exists(one) for one in names)
            # all at once, as a full memory or a queue's end would have it: nobody can tidy up
            for one in (owner, *processes):
                one.kill()
        finally:
            owner.kill()
            os.close(told)
    psutil.wait_procs(processes, BOUND)
    assert set(clean(claims)) == set(names)
    assert not any(os.path.exists(one) for one in names)
    assert list(claims.iterdir()) == []
