"""What workers use, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from limadask.monitoring.sampler import STAGES

OF_STAGES = {
    "allocated": "B", "in_use": "B", "high_water": "B", "allocation_rate": "B/s", "on_disk": "B",
}  # fmt: skip
"""Variables with dims ``worker`` and ``stage``, and their units."""
OF_WORKERS = {
    "cpu": "cores",
    "memory": "B",
    "memory_limit": "B",
    "disk_read": "B/s",
    "disk_write": "B/s",
    "network_received": "B/s",
    "network_sent": "B/s",
    "blocks_held": "1",
    "blocks_queued": "1",
    "tickets": "1",
    "threads_busy": "1",
    "threads": "1",
}
"""Variables with dim ``worker``, and their units."""


def table(answers: Mapping[str, Mapping[str, Any]]) -> xr.Dataset:
    """Return what workers have answered as a dataset, by name.

    Parameters
    ----------
    answers:
        By address: ``name``, ``host``, and what it ``told``, None if nothing.
    """
    known = dict(sorted(answers.items(), key=lambda item: _natural(item[1]["name"])))
    told = [one["told"] or {} for one in known.values()]
    nodes = sorted({node for one in told for node in one.get("nodes", ())})
    none: dict[str, Any] = {}
    held = [[one.get("stages", none).get(stage, none) for stage in STAGES] for one in told]
    variables = {
        name: (
            ("worker", "stage"),
            _numbers([[one.get(name) for one in row] for row in held], len(STAGES)),
            {"units": units},
        )
        for name, units in OF_STAGES.items()
    }
    single = {
        name: ("worker", _numbers([one.get(name) for one in told]), {"units": units})
        for name, units in OF_WORKERS.items()
    }
    allocators = [[str(one.get("allocator", "")) for one in row] for row in held]
    seconds = [[one["nodes"].get(node, 0.0) if one else None for node in nodes] for one in told]
    return xr.Dataset(
        {
            **variables,
            **single,
            "seconds": (("worker", "node"), _numbers(seconds, len(nodes)), {"units": "s"}),
        },
        {
            "worker": [one["name"] for one in known.values()],
            "stage": list(STAGES),
            "allocator": (("worker", "stage"), np.array(allocators, str).reshape(-1, len(STAGES))),
            "node": np.array(nodes, str),
            "address": ("worker", list(known)),
            "host": ("worker", [one["host"] for one in known.values()]),
            "answers": ("worker", [bool(one) for one in told]),
        },
    )


def _numbers(values: list[Any], *columns: int) -> NDArray[np.float64]:
    """Return numbers, NaN for None, of the right shape also where there are none."""
    return np.array(values, object).reshape(len(values), *columns).astype(float)


def _natural(name: str) -> tuple[int, str]:
    """Return what puts worker 10 behind worker 9."""
    return len(name), name
