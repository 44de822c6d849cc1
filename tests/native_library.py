"""Compiles libraries with the system's compiler, and does in NumPy what the example does."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import generic_filter

from limadask.native import include_folder

EXAMPLES = Path(__file__).parents[1] / "examples" / "native"
COMPILERS = ("c++", "g++", "clang++")


def compiled(source: str | Path, folder: Path, *options: str) -> str:
    """Compile C++, strictly; return the library's path. Skips where there is no compiler."""
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        pytest.skip(f"no compiler of C++ here: none of {', '.join(COMPILERS)}")
    source = EXAMPLES / source
    library = folder / f"lib{source.stem}.so"
    command = [
        compiler, "-std=c++17", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-shared",
        "-fPIC", f"-I{include_folder()}", *options, str(source), "-o", str(library),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return str(library)


def medians(pixels: Any, masked: Any = None) -> Any:
    """The lower median of each pixel's neighbours, by SciPy."""
    values = pixels.astype("f8")
    if masked is not None:
        values[np.broadcast_to(masked, values.shape)] = np.nan

    def lower(around: Any) -> float:
        others = np.delete(around, 4)
        known = np.sort(others[~np.isnan(others)])
        return float(known[(len(known) - 1) // 2]) if len(known) else float("nan")

    found = np.stack(
        [generic_filter(image, lower, 3, mode="constant", cval=np.nan) for image in _images(values)]
    ).reshape(values.shape)
    return np.where(np.isnan(found), values, found)


def _images(values: Any) -> Any:
    return values.reshape(-1, *values.shape[2:])
