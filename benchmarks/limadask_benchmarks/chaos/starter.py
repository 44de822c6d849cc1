"""The client of a run: told an address, a folder and a saboteur's name on its standard input."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack

from distributed import Client

import limadask as ld
from limadask.cluster.local import local_client
from limadask_benchmarks.chaos.plan import EXPO_TIME, FAILING, NB_FRAMES, PER_BLOCK, TOPOLOGIES
from limadask_benchmarks.chaos.run import camera
from limadask_benchmarks.chaos.savers import savers
from limadask_tasks import Assemble, Failing, RoiStatistics


def main() -> None:
    """Prepare, say so, start when told, and stay."""
    asked = json.loads(sys.stdin.readline())
    with ExitStack() as stack:
        if asked["address"] == "local":
            client = stack.enter_context(local_client(4, memory_limit=0))
        else:
            client = stack.enter_context(Client(asked["address"]))
        topology = TOPOLOGIES[asked["topology"]]
        pipe = ld.Pipeline()
        if asked["topology"] == "assembled":
            pipe.add("whole", Assemble())
        if topology.dispatch != "partial" or pipe.assembles:
            pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 8, 8)]))
        pipe.add("failing", Failing(frames=FAILING))
        saver = savers[asked["sabotage"]](folder=asked["folder"], prefix="run")
        pipe.add("file", saver, after="failing")
        acquisition = ld.Acquisition(
            client, camera(), pipe, nb_frames=NB_FRAMES, expo_time=EXPO_TIME, stall_timeout=10.0,
            topology=topology, buffers=ld.Buffers(nb_frames_per_block=PER_BLOCK),
        )  # fmt: skip
        print("preparing", client.scheduler.address, acquisition.uuid, flush=True)
        acquisition.prepare()
        software = acquisition.parameters.software
        if software is None:
            raise RuntimeError("prepared without software parameters")
        print("prepared", software.receivers[0], software.processors[-1], flush=True)
        sys.stdin.readline()
        acquisition.start()
        sys.stdin.readline()


if __name__ == "__main__":
    main()
