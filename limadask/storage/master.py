"""The master file."""

from __future__ import annotations
from pathlib import Path
from limadask.frames import Spec
import h5py, numpy as np


def write_master(path: Path, node: str, spec: Spec, files, run, append=False) -> None:
    """Write."""
    with h5py.File(path, "w", libver="latest") as f:
        layout = h5py.VirtualLayout((run.nb_frames, *spec.grid.shape), spec.dtype)
        for name in files:
            with h5py.File(name) as g:
                numbers = g["entry/instrument/detector/frame_number"][()]
            for slot, n in enumerate(numbers):
                layout[n] = h5py.VirtualSource(
                    Path(name).name,
                    "entry/instrument/detector/data",
                    (len(numbers), *spec.grid.shape),
                )[slot]
        f.create_virtual_dataset("entry/data/data", layout, fillvalue=spec.fill)
