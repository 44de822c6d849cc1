"""What workers use: as a table, in words, on a page, and for Prometheus."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from limadask.monitoring.prometheus import Exporter, Reading
from limadask.monitoring.readings import of_run, of_worker
from limadask.monitoring.rows import as_text
from limadask.monitoring.sampler import STAGES
from limadask.monitoring.table import OF_WORKERS, table
from limadask.views import resources_html

MIB = 1 << 20


def told(name: str, **fields: Any) -> dict[str, Any]:
    """What a worker says."""
    empty: dict[str, Any] = dict.fromkeys(
        ("allocated", "in_use", "high_water", "obtained", "allocation_rate"), 0
    )
    empty |= {"on_disk": 0, "allocator": ""}
    stages = {stage: dict(empty) for stage in STAGES}
    stages["receive"] |= {"allocated": 100 * MIB, "in_use": 25 * MIB, "high_water": 75 * MIB,
                          "obtained": 300 * MIB, "allocation_rate": 2.5,
                          "allocator": "locked, pages"}  # fmt: skip
    stages["hold"]["on_disk"] = 50 * MIB
    usual = {**dict.fromkeys(OF_WORKERS, 1), "blocks_processed": 9, "nodes": {"bin": 2.5}}
    return {"name": name, "host": "here", "stages": stages, **usual, **fields}


def answers(**workers: dict[str, Any] | None) -> dict[str, Any]:
    return {
        f"tcp://{name}": {"name": name, "host": "here", "told": one}
        for name, one in workers.items()
    }


def test_a_worker_that_does_not_answer_is_listed_all_the_same() -> None:
    found = table(answers(w10=told("w10"), w9=None))
    assert found["worker"].values.tolist() == ["w9", "w10"]
    assert found["answers"].values.tolist() == [False, True]
    assert found["address"].values.tolist() == ["tcp://w9", "tcp://w10"]
    assert all(np.isnan(one.sel(worker="w9")).all() for one in found.values())
    one = found.sel(worker="w10", stage="receive")
    assert (one["in_use"], one["allocation_rate"]) == (25 * MIB, 2.5)
    assert found["seconds"].sel(worker="w10", node="bin") == 2.5
    assert {found[name].attrs["units"] for name in ("in_use", "high_water", "memory")} == {"B"}
    assert "does not answer" in as_text(found)
    assert "does not answer" in resources_html(found)


def test_what_is_not_limited_and_nodes_of_others_are_no_errors() -> None:
    found = table(answers(a=told("a", memory_limit=None, nodes={}), b=told("b")))
    assert np.isnan(found["memory_limit"].sel(worker="a"))
    assert found["seconds"].sel(node="bin").values.tolist() == [0.0, 2.5]


def test_a_cluster_without_workers_is_an_empty_table() -> None:
    found = table({})
    assert found.sizes == {"worker": 0, "stage": len(STAGES), "node": 0}
    assert as_text(found).startswith("worker")


def test_words_and_page_tell_the_memory_of_each_stage_in_use() -> None:
    found = table(answers(w=told("<b>w", nodes={"<i>": 1.0})))
    assert "receive 25.00 MiB of 100.00 MiB (75.00 MiB)" in as_text(found)
    assert "hold 0 B of 0 B, 50.00 MiB on disk" in as_text(found)
    assert found["allocator"].isel(worker=0).sel(stage="receive") == "locked, pages"
    page = resources_html(found, "ended: <u>")
    assert "receive 25.00 MiB of 100.00 MiB" in page
    assert "hold 0 B of 0 B, 50.00 MiB on disk" in page
    assert '<rect width="25.0"' in page
    assert "decode" not in page
    assert not any(markup in page for markup in ("<b>", "<i>", "<u>"))


class Teller:
    def __init__(self, *readings: Reading) -> None:
        self._readings = readings

    def readings(self) -> Any:
        return iter(self._readings)


def exported(*sources: Teller) -> dict[str, Any]:
    """All metrics of some sources, as Prometheus would read them."""
    exporter, registry = Exporter(), CollectorRegistry()
    exporter._is_registered = True  # not with the process's own registry
    for one in sources:
        exporter.add(one)
    registry.register(exporter)
    text = generate_latest(registry).decode()
    return {one.name: one for one in text_string_to_metric_families(text)}


def test_two_workers_of_a_process_share_their_metrics() -> None:
    one, other = Teller(*of_worker(told("a"))), Teller(*of_worker(told("b")))
    found = exported(one, other)
    samples = found["limadask_memory_in_use_bytes"].samples
    in_use = {
        one.labels["worker"]: one.value for one in samples if one.labels["stage"] == "receive"
    }
    assert in_use == {"a": 25 * MIB, "b": 25 * MIB}
    assert found["limadask_memory_obtained_bytes"].type == "counter"
    (seconds,) = (
        one for one in found["limadask_node_seconds"].samples if one.labels["worker"] == "a"
    )
    assert (seconds.name, seconds.labels["node"], seconds.value) == (
        "limadask_node_seconds_total", "bin", 2.5,
    )  # fmt: skip


def test_a_worker_without_a_limit_tells_none() -> None:
    found = exported(Teller(*of_worker(told("a", memory_limit=None))))
    assert "limadask_process_memory_limit_bytes" not in found
    assert found["limadask_process_memory_bytes"].samples[0].value == 1


def test_a_run_tells_its_frames_by_cause() -> None:
    run = {"uuid": "u", "received": 8, "processed": 5, "absent": {"overrun": 2, "detector": 1},
           "backlog": {"w": 3}, "rate": 7.0, "latency": {"median": 0.5}}  # fmt: skip
    found = exported(Teller(*of_run(run)))
    lost = {one.labels["cause"]: one.value for one in found["limadask_frames_absent"].samples}
    assert lost == {"overrun": 2, "detector": 1}
    assert all(one.name.endswith("_total") for one in found["limadask_frames_absent"].samples)
    assert found["limadask_backlog_blocks"].samples[0].labels == {
        "acquisition": "u",
        "receiver": "w",
    }
    assert found["limadask_latency_seconds"].samples[0].value == 0.5
    assert exported(Teller(*of_run({**run, "latency": {}, "absent": {}}))).keys() == {
        "limadask_frames_received", "limadask_frames_processed", "limadask_backlog_blocks",
        "limadask_rate_hertz",
    }  # fmt: skip


class Broken:
    def readings(self) -> Any:
        raise ValueError("a meter is broken")


def test_one_that_cannot_tell_does_not_keep_the_others_from_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = exported(Broken(), Teller(Reading("ours", "Ours.", 1.0, {})))  # type: ignore[arg-type]
    assert found["limadask_ours"].samples[0].value == 1
    assert "Broken tells nothing" in caplog.text


def test_sources_are_collected_for_as_long_as_they_are_there() -> None:
    exporter, one = Exporter(), Teller(Reading("ours", "Ours.", 1.0, {}))
    exporter.add(one)
    try:
        assert b"limadask_ours 1.0" in generate_latest()
    finally:
        exporter.remove(one)
    assert b"limadask_ours" not in generate_latest()
