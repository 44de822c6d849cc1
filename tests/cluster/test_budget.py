"""A pool at its ceiling leaves Dask in peace; one that asks for too much is refused."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import xarray as xr
from distributed import Client
from waiting import until

import limadask as ld
from limadask import memory
from limadask_detectors import Simulator

CAMERA = Simulator(shape=(1024, 1024))
MIB = 1 << 20
BOUND = 60.0
SLOTS, PER_BLOCK = 24, 10


class Gated(ld.Task):
    """Lets nothing through before a file is there."""

    gate: str

    def __call__(self, block: xr.DataArray) -> xr.DataArray:
        deadline, never = time.monotonic() + BOUND, threading.Event()
        while not Path(self.gate).exists() and time.monotonic() < deadline:
            never.wait(0.01)
        return block[:, :, :8, :8].copy()


class Heavy(Gated):
    """Has a large table besides."""

    nbytes: int

    def setup(self, spec: ld.Spec, *others: ld.Spec) -> Any:
        table = np.ones(self.nbytes, np.uint8)
        run = super().setup(spec, *others)
        return lambda block: (run(block), table)[0]


def look(dask_worker: Any) -> dict[str, Any]:
    """What Dask thinks of a worker, and what frames have there."""
    spilled = getattr(dask_worker.data, "spilled_total", None)
    pools = [one for one in memory.METERS.usages() if one.stage == "receive" and one.allocated]
    return {
        "status": dask_worker.status.name,
        "spilled": spilled.disk if spilled else 0,
        "pid": os.getpid(),
        "allocated": sum(one.allocated for one in pools),
        "resident": psutil.Process().memory_info().rss,
        "total": sum(one.total for one in pools),
        "left": memory.BUDGET.left,
    }


def gated(client: Client, tmp_path: Path, **buffers: Any) -> ld.Acquisition:
    """An acquisition whose task waits, in blocks of 20 MiB."""
    pipe = ld.Pipeline()
    pipe.add("gated", Gated(gate=str(tmp_path / "gate")))
    return ld.Acquisition(
        client, CAMERA, pipe, nb_frames=2 * SLOTS * PER_BLOCK, expo_time=0,
        buffers=ld.Buffers(nb_frames_per_block=PER_BLOCK, **buffers),
    )  # fmt: skip


def test_a_full_pool_makes_dask_neither_spill_nor_pause_nor_kill(
    client: Client, tmp_path: Path
) -> None:
    block = PER_BLOCK * 2 * MIB
    before = client.run(look)
    with gated(client, tmp_path, nbytes=SLOTS * block, least_nbytes=3 * block) as acquisition:
        acquisition.prepare()
        software = acquisition.parameters.software
        assert software is not None
        assert (software.nb_least_slots, software.nb_slots) == (3, SLOTS)
        (receiver,) = (one for one, told in client.run(look).items() if told["allocated"])
        assert client.run(look)[receiver]["allocated"] == 3 * block
        acquisition.start()
        until(lambda: 0 in acquisition.statistics()["free"].values())
        full = client.run(look)[receiver]
        (tmp_path / "gate").touch()
        acquisition.wait(timeout=BOUND)
        after = client.run(look)
        assert full["allocated"] == SLOTS * block  # it has grown to its ceiling
        for told in (full, after[receiver]):
            assert (told["status"], told["spilled"]) == ("running", 0)
            assert told["pid"] == before[receiver]["pid"]
        assert sum(acquisition.record().counts().values()) == 2 * SLOTS * PER_BLOCK
    until(lambda: client.run(look)[receiver]["allocated"] == 0)


def test_what_a_task_has_set_up_is_left_to_it(client: Client, tmp_path: Path) -> None:
    """The pool grows less where the process itself has more than it usually needs."""
    block, heavy = PER_BLOCK * 2 * MIB, 500 * MIB
    pipe = ld.Pipeline()
    pipe.add("heavy", Heavy(gate=str(tmp_path / "gate"), nbytes=heavy))
    buffers = ld.Buffers(nb_frames_per_block=PER_BLOCK, nbytes=SLOTS * block)
    with ld.Acquisition(
        client, CAMERA, pipe, nb_frames=2 * SLOTS * PER_BLOCK, expo_time=0, buffers=buffers
    ) as acquisition:
        acquisition.prepare()
        acquisition.start()
        until(lambda: 0 in acquisition.statistics()["free"].values())
        (full,) = (one for one in client.run(look).values() if one["allocated"])
        (tmp_path / "gate").touch()
        acquisition.wait(timeout=BOUND)
    assert full["resident"] > full["allocated"] + heavy
    assert full["resident"] <= 0.6 * 2048 * MIB + 64 * MIB  # Python and NumPy need a little on top
    assert full["allocated"] < SLOTS * block
    assert sum(acquisition.record().counts().values()) == 2 * SLOTS * PER_BLOCK


@pytest.mark.parametrize("nbytes", [1200 * MIB])
def test_a_pool_beyond_the_budget_is_refused_with_its_numbers(
    client: Client, tmp_path: Path, nbytes: int
) -> None:
    acquisition = gated(client, tmp_path, nbytes=nbytes)
    with acquisition, pytest.raises(ld.ConfigError) as caught:
        acquisition.prepare()
    error = caught.value
    assert (error.node, error.field, error.value) == ("buffers", "nbytes", nbytes)
    most = int(str(error.allowed).removeprefix("at most "))
    assert 0.4 * 2048 * MIB < most < 0.6 * 2048 * MIB
    assert str(nbytes) in str(error)
