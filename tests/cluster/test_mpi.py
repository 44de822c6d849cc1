"""Worlds of MPI on real workers: each has its own, and loses no more than its block."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import xarray as xr
from distributed import Client

import limadask as ld
from limadask_detectors import Simulator

CAMERA = Simulator(shape=(64, 48), photons=3.0)


@ld.mpi_task(plan={"total": "f8", "pid": "i8"})
def total(comm: Any, block: xr.DataArray, kills: int = -1) -> Any:
    """Sums, each rank its rows."""
    if comm.rank == 1 and kills in block.frame.values:
        os.kill(os.getpid(), signal.SIGKILL)
    mine = block[..., comm.rank :: comm.size, :].sum(("y", "x"), dtype="f8").values
    whole = comm.allreduce(mine)
    dims = ("frame", "band")
    return {"total": (dims, whole), "pid": (dims, np.full(whole.shape, os.getpid()))}


def ranks_of(client: Client) -> list[int]:
    """Processes of worlds that the workers have now."""

    def found() -> list[int]:
        children = psutil.Process().children(recursive=True)
        return [one.pid for one in children if "limadask.mpi.rank" in " ".join(one.cmdline())]

    return [pid for pids in client.run(found).values() for pid in pids]


def test_a_rank_that_is_killed_costs_its_block(
    client: Client, run: Callable[..., ld.Acquisition]
) -> None:
    pipe = ld.Pipeline()
    pipe.add("total", total(kills=17, ranks=2))
    acquisition = run(
        pipe,
        CAMERA,
        nb_frames=60,
        topology=ld.Topology(workers=2),
        buffers=ld.Buffers(nb_frames_per_block=4),
    )
    ledger, found = acquisition.ledger, acquisition.data["total"]
    lost = ledger.frame.values[ledger.cause == "task_error:total"].tolist()
    assert lost == [16, 17, 18, 19]
    assert found.frame.values.tolist() == [one for one in range(60) if one not in lost]
    for number in (0, 15, 20, 59):
        image = CAMERA.frame(number).values
        assert found["total"].sel(frame=number).values.tolist() == [image.sum()]
    worlds = set(found["pid"].values.ravel().tolist())
    assert len(worlds) >= 2  # the workers' own, and at most the one started again
    assert len(worlds) <= 3
    assert ranks_of(client) == []
