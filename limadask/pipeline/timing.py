"""When a block is at which stage of its processing."""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping, Sequence

ENCODE, WRITE = ": encode", ": write"
"""What the names of a sink's two stages end with: the parallel part, and the serial one."""
WAITING = ("wait", "transit", "queue")
"""Stages before the nodes: in the receiver's memory, until a worker has room; on the way to that
worker; there, until a thread is free."""
DECODE = "decode"
"""The decoding of frames that came compressed, before any node."""
REST = "rest"
"""What a block spent in the engine itself between its nodes."""
NODE = ": node"
"""What the name of a node's stage ends with where one of these is the node's own name."""
FIXED = 8 + 4 * 4
"""Bytes of what is told of the whole block, before that of its stages."""
NAN = float("nan")


class Timing:
    """Begin and duration of each stage of one block, since this was made.

    The tiles of a block take turns at the nodes: a stage begins with its first tile, and lasts as
    long as all its tiles do.
    """

    __slots__ = ("_origin", "began", "stages")

    def __init__(self) -> None:
        self.began, self._origin = time.time(), time.perf_counter()
        self.stages: dict[str, tuple[float, float]] = {}

    def add(self, stage: str, began: float) -> None:
        """Note that a stage has worked since ``began``, seconds of the performance counter."""
        lasted = time.perf_counter() - began
        first, before = self.stages.get(stage, (began - self._origin, 0.0))
        self.stages[stage] = first, before + lasted

    def seconds(self) -> Mapping[str, float]:
        """Return the seconds of each node."""
        found: dict[str, float] = {}
        for stage, (_, lasted) in self.stages.items():
            node = node_of(stage)
            found[node] = found.get(node, 0.0) + lasted
        return found

    def told(
        self, born: float = 0.0, handed: float = 0.0, taken: float = 0.0
    ) -> tuple[tuple[str, ...], bytes]:
        """Return the names of the stages, and all times of a block that ends now.

        These are when it began, seconds since 1970 as float64; then, since that and as float32,
        when it was born, handed on and taken, NaN where nobody knows, and when it ended; then
        begin and duration of each stage.

        Parameters
        ----------
        born, handed, taken:
            When its last frame was complete, when its receiver let it go, and when the worker that
            processes had it, seconds since 1970; 0 if nobody knows.
        """
        before = [one - self.began if one else NAN for one in (born, handed, taken)]
        ended = time.perf_counter() - self._origin
        spent = [value for pair in self.stages.values() for value in pair]
        layout = f"<d{4 + len(spent)}f"
        return tuple(self.stages), struct.pack(layout, self.began, *before, ended, *spent)


def seconds_by_node(stages: Sequence[str], times: bytes) -> dict[str, float]:
    """Return the seconds of each node, from what :meth:`Timing.told` returns."""
    spent = struct.unpack_from(f"<{2 * len(stages)}f", times, FIXED)
    found: dict[str, float] = {}
    for stage, lasted in zip(stages, spent[1::2], strict=True):
        node = node_of(stage)
        found[node] = found.get(node, 0.0) + lasted
    return found


def node_of(stage: str) -> str:
    """Return the node that a stage belongs to."""
    return stage.removesuffix(ENCODE).removesuffix(WRITE).removesuffix(NODE)


def stage_of(node: str) -> str:
    """Return the only stage of a node that is no sink."""
    return f"{node}{NODE}" if node in (*WAITING, DECODE, REST) else node
