"""What became of a frame, and why it is missing."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """What became of an expected frame; also the values of ``frame_status`` in files."""

    PENDING = 0
    """Expected; nothing is known yet. No frame ends like this."""
    PRESENT = 1
    PARTIAL = 2
    """There, but with parts missing: pixels, or the data of some branch of the pipeline."""
    ABSENT = 3
    VETOED = 4
    """Left out on purpose, by a task."""


CAUSES = (
    "detector",  # the detector never sent it
    "packets_lost",
    "overrun",  # no buffer was free
    "receiver_lost",  # the receiver's worker died before the frame was acknowledged
    "worker_lost",  # the processing worker did
    "timeout",
    "decode_error",
    "task_error:<node>",
    "veto:<node>",
    "file_lost",  # in a master only: it was processed, and no data file holds it
    "stopped",  # the run was stopped before the frame came
)
"""The causes of a frame that is not present; ``<node>`` stands for a node's name."""
