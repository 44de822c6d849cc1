"""Where the blocks of a run spend their time: all of them in sum, the last ones one by one."""

from __future__ import annotations

import struct
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from limadask.pipeline.timing import WAITING, node_of

KEPT = 2000
"""Blocks whose times are kept, the last ones: some 150 bytes each."""
KINDS = 1000
"""Sets of stages that are told apart; a pipeline has a few."""
HEAD = struct.Struct("<HHHqq")
"""What is before the times of a block: which stages, receiver, worker; first and last frame."""


class Timeline:
    """Takes the times of blocks from their receipts."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        """Seconds of all blocks so far, by stage."""
        self._stages: dict[tuple[str, ...], int] = {}
        self._workers: dict[str, int] = {}
        self._blocks: deque[bytes] = deque(maxlen=KEPT)
        self._latencies: deque[float] = deque(maxlen=KEPT)

    def take(self, receipt: Mapping[str, Any], receiver: str, first: int, last: int) -> None:
        """Take the times of a block, those of :meth:`limadask.pipeline.timing.Timing.told`."""
        times: bytes = receipt["times"]
        if not times:
            return
        stages, worker = tuple(receipt["stages"]), receipt["worker"]
        _, born, handed, taken, ended, *spent = struct.unpack(f"<d{len(times) // 4 - 2}f", times)
        seconds = self.seconds
        for stage, lasted in zip(
            (*WAITING, *stages), (handed - born, taken - handed, -taken, *spent[1::2]), strict=True
        ):
            if lasted == lasted:  # known
                seconds[stage] += lasted
        if born == born:
            self._latencies.append(ended - born)
        if stages not in self._stages and len(self._stages) >= KINDS:
            return
        kind = self._stages.setdefault(stages, len(self._stages))
        numbers = [self._workers.setdefault(one, len(self._workers)) for one in (receiver, worker)]
        self._blocks.append(HEAD.pack(kind, *numbers, first, last) + times)

    def by_node(self) -> dict[str, float]:
        """Return the seconds of each node."""
        found: Counter[str] = Counter()
        for stage, lasted in self.seconds.items():
            if stage not in WAITING:
                found[node_of(stage)] += lasted
        return dict(found)

    def waiting(self) -> dict[str, float]:
        """Return the seconds of each stage before the nodes."""
        return {stage: self.seconds[stage] for stage in WAITING if stage in self.seconds}

    def latency(self) -> dict[str, float]:
        """Return how long the last blocks took from their last frame to the end of their sinks."""
        if not self._latencies:
            return {}
        median, p99 = np.percentile(np.array(self._latencies), (50, 99))
        return {"median": float(median), "p99": float(p99), "blocks": len(self._latencies)}

    def dump(self) -> dict[str, Any]:
        """Return the times of the last blocks as plain data."""
        return {
            "stages": list(self._stages),
            "workers": list(self._workers),
            "blocks": list(self._blocks),
        }
