"""Where pixels are, in a master file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from limadask.geometry import Grid
from limadask.storage.nexus import field, group


def write_geometry(detector: h5py.Group, grid: Grid, told: Mapping[str, Any]) -> None:
    """Write where the pixels are: NeXus axes for the module, and the exact matrix."""
    height, width = told.get("pixel_size") or (1.0, 1.0)
    transform = group(detector, "image_transform", "NXcollection")
    matrix = grid.affine.as_array()
    field(transform, "matrix", matrix, comment="(y, x, 1) of this image to the detector's")
    field(transform, "inverse", (~grid.affine).as_array())
    field(transform, "source_shape", told["shape"])
    axes = group(detector, "transformations", "NXtransformations")
    move = {"transformation_type": "translation", "units": "m", "offset": (0.0, 0.0, 0.0)}
    distance = float(told.get("distance") or 0.0)
    field(axes, "distance", distance, **move, vector=(0.0, 0.0, 1.0), depends_on=".")
    axis = f"{axes.name}/distance"
    field(detector, "depends_on", axis)
    module = group(detector, "module", "NXdetector_module")
    field(module, "data_origin", np.array((0, 0)))
    field(module, "data_size", np.array(grid.shape))
    # NeXus' laboratory: x to the left seen from the source, y up; rows run down
    centre = told.get("beam_centre") or (0.0, 0.0)
    corner = np.array(grid(0.0, 0.0)) - centre
    offset = (-corner[1] * width, -corner[0] * height, 0.0)
    for name, column in (("slow_pixel_direction", 0), ("fast_pixel_direction", 1)):
        dy, dx = matrix[0, column] * height, matrix[1, column] * width
        length = float(np.hypot(dy, dx))
        vector = (-dx / length, -dy / length, 0.0)
        last = "fast" in name
        if told.get("pixel_size"):  # of this image: binned, turned
            field(detector, "x_pixel_size" if last else "y_pixel_size", length, units="m")
        field(
            module,
            name,
            length,
            transformation_type="translation",
            units="m",
            vector=vector,
            offset=offset if last else (0.0, 0.0, 0.0),
            depends_on=f"{module.name}/slow_pixel_direction" if last else axis,
        )
    field(detector, "beam_center_y", (~grid)(*centre)[0], units="pixel")
    field(detector, "beam_center_x", (~grid)(*centre)[1], units="pixel")
