"""Find the files to replay, in order."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from limadask.errors import ConfigError
from limadask.storage import is_hdf5, split_path
from limadask_detectors.replay.hdf5 import Hdf5Images
from limadask_detectors.replay.images import Images
from limadask_detectors.replay.photograph import Photograph, is_photograph
from limadask_detectors.replay.pictures import Pictures


class Source(NamedTuple):
    """A file, and the dataset in it where one is named."""

    path: str
    dataset: str | None = None

    def open(self) -> Images:
        """Open it.

        Raises
        ------
        OSError
            When it cannot be read.
        ConfigError
            When it holds no images, or no such dataset.
        """
        if is_hdf5(self.path):
            return Hdf5Images(self.path, self.dataset)
        if self.dataset is not None:
            raise ConfigError(
                f"{self.path} is no HDF5 file and has no datasets",
                field="dataset",
                value=self.dataset,
                allowed="no dataset, or an HDF5 file",
            )
        return Photograph(self.path) if is_photograph(self.path) else Pictures(self.path)


def find_sources(paths: Sequence[str], dataset: str | None) -> list[Source]:
    """Return all files of some paths, those of a pattern sorted naturally: 2 before 10.

    Parameters
    ----------
    paths:
        Files or patterns, with ``::/dataset`` or not.
    dataset:
        The dataset in each of them.

    Raises
    ------
    ConfigError
        When a file is not there, or a pattern fits none.
    """
    sources = []
    for path in paths:
        pattern, named = split_path(path)
        if named and dataset and named != dataset:
            raise ConfigError(
                "the path names another dataset", field="dataset", value=dataset, allowed=named
            )
        sources += [Source(file, named or dataset) for file in _files(pattern)]
    return sources


def _files(pattern: str) -> list[str]:
    if Path(pattern).is_file():  # also one whose name looks like a pattern
        return [pattern]
    if not glob.has_magic(pattern):
        raise ConfigError("no such file", field="path", value=pattern, allowed="an existing file")
    found = [path for path in glob.glob(pattern, recursive=True) if Path(path).is_file()]
    if not found:
        raise ConfigError(
            "no file fits this pattern", field="path", value=pattern, allowed="existing files"
        )
    return sorted(found, key=_naturally)


def _naturally(path: str) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path)]
