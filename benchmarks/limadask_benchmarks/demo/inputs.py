"""What the demo begins with: a mask, a flat-field and a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from limadask.storage.nexus import group
from limadask_detectors import Simulator

MEMORY = "1.5GB"
"""Memory of the worker."""
DISK_NBYTES = 3_000_000_000
"""Disk that 1000 frames may need."""
CAMERA = {
    "shape": [1062, 1028],
    "bands": ["4 keV", "8 keV"],
    "modules": 2,
    "photons": 0.1,
    "hot_pixels": 40,
    "growth": 10.0,
}
"""An EIGER2 1M: two modules of 512 × 1028 pixels, 38 rows apart."""
ROIS = """\
      - {name: centre, y: 430, x: 470, height: 64, width: 64}
      - {name: first ring, y: 531, x: 514, r1: 358, r2: 402, a1: 200, a2: 250}
      - {name: second ring, y: 531, x: 514, r1: 528, r2: 572, a1: 200, a2: 230}
      - {name: corner, y: 930, x: 850, height: 80, width: 120}
"""
"""Regions in detector coordinates."""
_YAML = """\
# What `limadask demo` ran; run it again with
#     limadask run {name}
detector:
  type: simulator
{camera}
acquisition: {{nb_frames: {frames}, expo_time: 1.0e-3}}
topology: {{receivers: 1, workers: 1}}
policy: {{on_absent: mark}}
metadata: {{sample: LaB6, instrument: limadask demo}}
pipeline:
  - {{name: raw, task: save_hdf5, folder: ., prefix: raw, file_exists_policy: overwrite}}
  - {{name: masked, task: mask, after: input, path: mask.h5}}
  - {{name: flat, task: flatfield, after: masked, path: flat.h5}}
  - {{name: upside_down, task: flip, after: flat, axis: y}}
  - {{name: cut, task: crop, after: upside_down, y: 31, x: 14, height: 1000, width: 1000}}
  - name: stats
    task: roi_statistics
    after: cut
    coordinates: detector
    rois:
{rois}\
  - {{name: corrected, task: save_hdf5, after: cut, folder: ., prefix: corrected, \
file_exists_policy: overwrite}}
  - {{name: live, task: observe, after: cut, history: 16, every: 10}}
"""


def write_inputs(folder: Path, frames: int) -> Path:
    """Write mask, flat-field and configuration; return the configuration's path."""
    folder.mkdir(parents=True, exist_ok=True)
    camera = Simulator(**CAMERA)
    write_image(folder / "mask.h5", "mask", bad_pixels(camera).astype("u1"))
    write_image(folder / "flat.h5", "flatfield", flatfield(camera.shape))
    path = folder / "demo.yaml"
    lines = "\n".join(f"  {name}: {_yaml(value)}" for name, value in CAMERA.items())
    text = _YAML.format(name=path.name, camera=lines, frames=frames, rois=ROIS)
    path.write_text(text, encoding="utf-8")
    return path


def bad_pixels(camera: Simulator) -> NDArray[np.bool_]:
    """Return the gaps between the modules, and the pixels that count far too much."""
    mean = np.mean([camera.frame(number).values[0] for number in range(8)], axis=0)
    hot: NDArray[np.bool_] = mean > 20
    return hot | camera.gaps()


def flatfield(shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return the response of every pixel: one value for each chip of 256 × 256 pixels."""
    rows, columns = shape
    random = np.random.default_rng(7)
    chips = random.normal(1, 0.03, (rows // 256 + 1, columns // 256 + 1)).astype(np.float32)
    return np.repeat(np.repeat(chips, 256, 0), 256, 1)[:rows, :columns]


def write_image(path: Path, name: str, image: NDArray[Any]) -> None:
    """Write one image as the default plot of a NeXus file."""
    with h5py.File(path, "w") as file:
        group(file, "/", "NXroot", default="entry")
        entry = group(file, "entry", "NXentry", default="data")
        data = group(entry, "data", "NXdata", signal=name)
        data.create_dataset(name, data=image, compression="gzip")


def _yaml(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_yaml(one) for one in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)
