"""What workers and runs tell, as single readings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from limadask.monitoring.prometheus import Kind, Reading

Field = tuple[str, str, str, Kind]
"""Name of a reading, what it is, its name among what is told, and its kind."""
OF_STAGES: tuple[Field, ...] = (
    ("memory_allocated_bytes", "Memory that there is for frames.", "allocated", "gauge"),
    ("memory_in_use_bytes", "Memory that holds frames now.", "in_use", "gauge"),
    ("memory_high_water_bytes", "Most memory that held frames.", "high_water", "gauge"),
    ("disk_held_bytes", "Frames in files, for want of memory.", "on_disk", "gauge"),
    ("memory_obtained_bytes", "Memory allocated so far.", "obtained", "counter"),
)
"""Those of :meth:`limadask.monitoring.sampler.Sampler.told`, for each stage."""
OF_WORKERS: tuple[Field, ...] = (
    ("process_memory_bytes", "Resident memory of the worker's process.", "memory", "gauge"),
    ("process_memory_limit_bytes", "What it may have, if it is limited.", "memory_limit", "gauge"),
    ("cpu_cores", "Cores in use by the worker's process.", "cpu", "gauge"),
    ("disk_read_bytes_per_second", "Read from disks by the process.", "disk_read", "gauge"),
    ("disk_write_bytes_per_second", "Written to disks by the process.", "disk_write", "gauge"),
    ("network_received_bytes_per_second", "Received by the computer.", "network_received", "gauge"),
    ("network_sent_bytes_per_second", "Sent by the computer.", "network_sent", "gauge"),
    ("blocks_held", "Blocks received that have no receipt yet.", "blocks_held", "gauge"),
    ("blocks_queued", "Blocks that wait for a thread.", "blocks_queued", "gauge"),
    ("tickets_waiting", "Tickets that wait for a block.", "tickets", "gauge"),
    ("threads_busy", "Threads that process a block.", "threads_busy", "gauge"),
    ("threads", "Threads that can process blocks.", "threads", "gauge"),
    ("blocks_processed", "Blocks processed so far.", "blocks_processed", "counter"),
)
"""Those of :meth:`limadask.cluster.resources.Resources.told`."""


def of_worker(told: Mapping[str, Any]) -> Iterator[Reading]:
    """Yield what a worker tells."""
    worker = {"worker": told["name"]}
    for name, about, field, kind in OF_STAGES:
        for stage, numbers in told["stages"].items():
            yield Reading(name, about, numbers[field], {**worker, "stage": stage}, kind)
    for name, about, field, kind in OF_WORKERS:
        if told[field] is not None:
            yield Reading(name, about, told[field], worker, kind)
    for node, seconds in told["nodes"].items():
        labels = {**worker, "node": node}
        yield Reading("node_seconds", "Seconds that a node has worked.", seconds, labels, "counter")


def of_run(told: Mapping[str, Any]) -> Iterator[Reading]:
    """Yield what is known of a run."""
    run = {"acquisition": told["uuid"]}
    for name in ("received", "processed"):
        yield Reading(f"frames_{name}", f"Frames {name} so far.", told[name], run, "counter")
    for cause, count in told["absent"].items():
        about = "Frames that are absent, by cause."
        yield Reading("frames_absent", about, count, {**run, "cause": cause}, "counter")
    for receiver, count in told["backlog"].items():
        about = "Blocks that a receiver has delivered and that have no receipt yet."
        yield Reading("backlog_blocks", about, count, {**run, "receiver": receiver})
    yield Reading("rate_hertz", "Frames processed per second.", told["rate"], run)
    if told["latency"]:
        about = "Median time of the last blocks from their last frame to the end of their sinks."
        yield Reading("latency_seconds", about, told["latency"]["median"], run)
