"""Workers with roles, by resource and by name, on a cluster of real processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

import limadask as ld
from limadask.cluster.local import process_cluster
from limadask_detectors import Simulator

NODES = {
    "a": (),
    "b": ("--resources", "processing=1 GPU=1"),
    "proc-0": (),
    "rx-9": (),
    "z": ("--resources", "receiver=1"),
}


@pytest.fixture(scope="module")
def roles() -> Iterator[Client]:
    with process_cluster(NODES) as cluster, Client(cluster.address) as client:
        yield client


def prepared(client: Client, **topology: Any) -> tuple[list[str], list[str]]:
    """Return who would receive and process."""
    camera, how = Simulator(shape=(16, 16)), ld.Topology(**topology)
    with ld.Acquisition(client, camera, nb_frames=8, topology=how) as acquisition:
        acquisition.prepare()
        software = acquisition.parameters.software
        assert software is not None
        return list(software.receivers), list(software.processors)


def test_each_does_what_its_role_says(roles: Client) -> None:
    assert prepared(roles, roles="separate", workers=3) == (["rx-9"], ["b", "proc-0", "a"])
    assert prepared(roles) == (["rx-9"], ["rx-9"])
    assert prepared(roles, workers=3) == (["rx-9"], ["rx-9", "b", "proc-0"])


def test_the_frames_are_received_there(roles: Client) -> None:
    topology = ld.Topology(workers=2, roles="separate")
    camera = Simulator(shape=(16, 16))
    with ld.Acquisition(roles, camera, nb_frames=20, topology=topology) as acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait(timeout=60)
    assert acquisition.record().counts()["present"] == 20
    assert set(acquisition.ledger.receiver.values.tolist()) == {"rx-9"}


def test_a_role_that_is_wanting_is_named(roles: Client) -> None:
    with pytest.raises(ld.ConfigError, match=r"3 worker.*'processing'.*needs 4"):
        prepared(roles, workers=4, roles="separate")


def test_workers_that_come_later_need_nothing_but_the_package(tmp_path: Path) -> None:
    with process_cluster({"rx-0": ()}) as cluster, Client(cluster.address) as client:
        assert prepared(client) == (["rx-0"], ["rx-0"])
        command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.address]
        options = ["--name", "proc-0", "--local-directory", str(tmp_path), "--no-dashboard"]
        with subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL) as late:
            try:
                client.wait_for_workers(2, timeout=60)
                assert prepared(client, roles="separate") == (["rx-0"], ["proc-0"])
            finally:
                late.terminate()
