"""The version, and those of what takes part in a run."""

from __future__ import annotations

import platform
from importlib.metadata import version

__version__ = version("limadask")
_TOLD = ("limadask", "distributed", "numpy", "xarray", "h5py", "hdf5plugin", "numba")


def versions() -> dict[str, str]:
    """Return the versions that a run's results depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in _TOLD}}
