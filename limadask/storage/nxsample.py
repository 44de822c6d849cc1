"""What a master file tells of the sample: its name, and how the goniometer turns it."""

from __future__ import annotations

import h5py
import numpy as np

from limadask.storage.nexus import field, group
from limadask.task import RunRecord


def write_sample(entry: h5py.Group, run: RunRecord, count: int, nb_merged: int) -> None:
    """Write the sample, and the angles of its axes at the begin of each frame.

    Parameters
    ----------
    entry:
        The run's NXentry.
    run:
        The run.
    count:
        Frames in the master.
    nb_merged:
        The detector's frames that one of them stands for.
    """
    sample = group(entry, "sample", "NXsample")
    field(sample, "name", str(run.metadata.get("sample", "unknown")))
    axes = run.detector.get("goniometer") or ()
    if not axes:
        field(sample, "depends_on", ".")
        return
    chain = group(sample, "transformations", "NXtransformations")
    paths = [f"{chain.name}/{axis['name']}" for axis in axes]
    field(sample, "depends_on", paths[0])
    for axis, below in zip(axes, [*paths[1:], "."], strict=True):
        step = axis["increment"] * nb_merged
        angles = axis["start"] + step * np.arange(count)
        field(
            chain, axis["name"], angles, units="degree", transformation_type="rotation",
            vector=tuple(axis["vector"]), offset=(0.0, 0.0, 0.0), depends_on=below,
        )  # fmt: skip
        field(chain, f"{axis['name']}_end", angles + step, units="degree")
        field(chain, f"{axis['name']}_increment_set", step, units="degree")
