"""What one is told of a cluster at work, on real processes."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import h5py
import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from distributed import Client
from prometheus_client.parser import text_string_to_metric_families
from waiting import until

import limadask as ld
from limadask.cli import main
from limadask.cluster.local import process_cluster
from limadask_detectors import Simulator
from limadask_tasks import Bin, SaveHdf5

BOUND = 60.0
CAMERA = Simulator(shape=(256, 256))
LONG: dict[str, Any] = {"nb_frames": 100_000, "expo_time": 0.01}
SEPARATE = ld.Topology(workers=2, roles="separate")


def pipeline(folder: Path) -> ld.Pipeline:
    pipe = ld.Pipeline()
    pipe.add("half", Bin(y=2, x=2))
    pipe.add("file", SaveHdf5(folder=str(folder), prefix="run"), after="half")
    return pipe


@pytest.fixture(scope="module")
def ended(client: Client, tmp_path_factory: pytest.TempPathFactory) -> ld.Acquisition:
    """A run whose receiver hands its blocks to two other workers."""
    pipe, fields = pipeline(tmp_path_factory.mktemp("run")), {"nb_frames": 120, "expo_time": 0.005}
    with ld.Acquisition(client, CAMERA, pipe, topology=SEPARATE, **fields) as acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait(timeout=BOUND)
    return acquisition


def served(client: Client) -> dict[str, Any]:
    """What Dask serves at ``/metrics``, by the names of workers."""
    info = client.scheduler_info(n_workers=-1)
    ports = {str(one["name"]): one["services"]["dashboard"] for one in info["workers"].values()}
    return {name: metrics(port) for name, port in ports.items()} | {
        "scheduler": metrics(info["services"]["dashboard"])
    }


def metrics(port: int) -> dict[str, Any]:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=BOUND) as page:
        text = page.read().decode()
    return {one.name: one for one in text_string_to_metric_families(text)}


TRAFFIC = {"disk_read", "disk_write", "network_received", "network_sent"}


def value(found: dict[str, Any], name: str, **labels: str) -> float:
    """The only value of a metric with some labels."""
    (sample,) = (
        one
        for one in found[f"limadask_{name}".removesuffix("_total")].samples
        if one.name == f"limadask_{name}" and labels.items() <= one.labels.items()
    )
    return float(sample.value)


def test_resources_and_metrics_tell_of_a_run_that_goes_on(client: Client, tmp_path: Path) -> None:
    with ld.Acquisition(client, CAMERA, pipeline(tmp_path), **LONG) as acquisition:
        acquisition.prepare()
        acquisition.start()
        until(lambda: acquisition.statistics()["processed"] > 100)
        software = acquisition.parameters.software
        table, found = ld.resources(client), served(client)
        shown = acquisition._repr_html_()
        acquisition.stop()
        acquisition.wait(timeout=BOUND)
    assert software is not None
    (receiver,) = software.receivers
    assert table["answers"].all()
    here = table.sel(worker=receiver)
    floor = software.pool_nbytes // software.nb_slots * software.nb_least_slots
    allocated = here["allocated"].sel(stage="receive")
    assert floor <= allocated <= software.pool_nbytes
    assert 0 < here["high_water"].sel(stage="receive") <= software.pool_nbytes
    assert "pages" in str(here["allocator"].sel(stage="receive").values)
    assert (here["on_disk"] == 0).all()
    assert here["tickets"] > 0
    assert here["threads"] == 1
    assert here["seconds"].sel(node=["half", "file"]).values.min() > 0
    assert (table["memory"] < table["memory_limit"]).all()
    assert table["in_use"].to_dataframe().index.names == ["worker", "stage"]
    assert "limadask-waterfall" in shown
    run, worker = found["scheduler"], found[receiver]
    assert value(run, "frames_received_total", acquisition=acquisition.uuid) > 100
    assert value(run, "frames_processed_total", acquisition=acquisition.uuid) > 100
    assert value(run, "latency_seconds", acquisition=acquisition.uuid) > 0
    assert floor <= value(worker, "memory_allocated_bytes", stage="receive") <= software.pool_nbytes
    assert value(worker, "blocks_processed_total") > 0
    assert value(worker, "node_seconds_total", node="file") > 0
    assert "dask_worker_tasks" in worker


def test_absent_frames_are_served_by_cause(client: Client) -> None:
    camera = Simulator(shape=(64, 48), faults={"overrun": [3, 4, 11]})
    with ld.Acquisition(client, camera, nb_frames=20, expo_time=0.005) as acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait(timeout=BOUND)
    found = served(client)["scheduler"]
    assert value(found, "frames_absent_total", acquisition=acquisition.uuid, cause="overrun") == 3


def test_a_block_s_way_between_workers_is_told_stage_by_stage(ended: ld.Acquisition) -> None:
    times, software = ended.waterfall, ended.parameters.software
    assert software is not None
    numbers = [np.arange(one["first"], one["last"] + 1) for one in blocks(times)]
    assert np.concatenate(numbers).tolist() == list(range(120))
    assert set(times["receiver"].values.tolist()) == set(software.receivers)
    assert set(times["worker"].values.tolist()) <= set(software.processors)
    assert times["stage"].values.tolist() == [
        "wait", "transit", "queue", "half", "file: encode", "file: write",
    ]  # fmt: skip
    durations = times["duration"]
    assert bool((durations.sel(stage=["transit", "half", "file: encode"]) > 0).all())
    # one computer has one clock: what follows begins where what was before ends
    begun = times["begin"] + durations
    for before, after in (("wait", "transit"), ("transit", "queue"), ("queue", "half")):
        gap = times["begin"].sel(stage=after) - begun.sel(stage=before)
        assert float(gap.min()) > -1e-3
        assert float(gap.max()) < 1.0
    assert bool((times["ended"] >= times["born"] + durations.sum("stage") - 1e-3).all())
    assert float(times["born"].min()) > 0


def blocks(times: xr.Dataset) -> list[xr.Dataset]:
    return [times.isel(block=number) for number in range(times.sizes["block"])]


def test_statistics_are_the_sums_of_the_waterfall(ended: ld.Acquisition) -> None:
    sums = ended.waterfall["duration"].sum("block").to_series()
    told = ended.statistics()["seconds"]
    assert told["half"] == pytest.approx(sums["half"], rel=1e-3)
    assert told["file"] == pytest.approx(sums["file: encode"] + sums["file: write"], rel=1e-3)


def test_who_attaches_sees_the_same(client: Client, ended: ld.Acquisition) -> None:
    xr.testing.assert_identical(ld.attach(client, ended.uuid).waterfall, ended.waterfall)


def test_the_master_file_has_waterfall_and_statistics(ended: ld.Acquisition) -> None:
    path, times, software = ended.files["file"], ended.waterfall, ended.parameters.software
    group = "entry/process/waterfall"
    with xr.open_dataset(path, engine="h5netcdf", group=group) as saved:
        xr.testing.assert_allclose(saved.load().drop_attrs(), times.drop_attrs())
    assert software is not None
    (receiver,) = software.receivers
    with h5py.File(path) as file:
        statistics = file["entry/process/statistics"]
        high_water = statistics["memory_high_water"]
        assert set(high_water) == {*software.receivers, *software.processors}
        assert 0 < high_water[receiver]["receive"][()] <= software.pool_nbytes
        used = {name: one[()] for name, one in statistics["used"][receiver].items()}
        assert used["allocated"] >= high_water[receiver]["receive"][()]
        assert 0 < used["cpu"] < 60
        assert set(used) == {"allocated", "cpu", *TRAFFIC}
        assert set(statistics["used"]) == set(high_water)
        assert set(statistics["seconds_waiting"]) == {"wait", "transit", "queue"}
        assert statistics["seconds_by_node/half"][()] > 0
        assert file[group]["duration"].attrs["units"] == "s"


def test_node_by_node_the_way_of_a_block_is_told_too(client: Client, tmp_path: Path) -> None:
    fields = {"nb_frames": 20, "expo_time": 0.005, "fuse": False}
    with ld.Acquisition(client, CAMERA, pipeline(tmp_path), **fields) as acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait(timeout=BOUND)
    durations = acquisition.waterfall["duration"]
    assert bool((durations.sel(stage=["half", "file: encode", "file: write"]) > 0).all())
    assert float(durations.min()) > -1e-3


def test_a_frozen_worker_is_listed_and_holds_nobody_up() -> None:
    with process_cluster(2) as cluster, Client(cluster.address, set_as_default=False) as client:
        assert ld.resources(client)["answers"].all()
        cluster.send("worker-1", signal.SIGSTOP)
        table = ld.resources(client)
        assert table["answers"].values.tolist() == [True, False]
        assert np.isnan(table["memory"].sel(worker="worker-1"))
        assert table["memory"].sel(worker="worker-0") > 0
        ran = CliRunner().invoke(main, ["resources", "--cluster", cluster.address, "--json"])
        assert ran.exit_code == 0
        told = json.loads(ran.stdout)
        assert told["worker-0"]["in_use"]["receive"] == 0
        assert told["worker-1"]["memory"] is None


def test_a_cluster_that_is_not_there_is_an_error_in_words() -> None:
    where = ["--cluster", "tcp://127.0.0.1:1", "--timeout", "1"]
    ran = CliRunner().invoke(main, ["resources", *where])
    assert ran.exit_code == 1
    assert "Error: " in ran.stderr
