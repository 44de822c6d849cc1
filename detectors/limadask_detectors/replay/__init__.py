"""Frames from files, as if a detector took them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, field_validator

from limadask.detector import Capabilities, Detector, DetectorInfo
from limadask.errors import ConfigError
from limadask.geometry import Pattern
from limadask.parameters import HardwareParameters
from limadask.storage import absolute_path, is_hdf5
from limadask_detectors.replay.files import Source, find_sources
from limadask_detectors.replay.images import Images
from limadask_detectors.replay.receiver import ReplayReceiver
from limadask_detectors.replay.series import Series, differs


class Replay(Detector):
    """Feeds frames from files, in order, at full speed or at a given rate.

    It reads NeXus/HDF5 – masters with external or virtual links, Lima1, Lima2, plain datasets
    ``(y, x)``, ``(frame, y, x)`` or ``(frame, band, y, x)`` – PNG, JPEG, and through fabio CBF,
    EDF, TIFF and others. Colours become bands; in HDF5 they may come last, as in the images that
    NeXus calls ``rgba-image``. The images are the full detector image.

    ``nb_frames=0`` takes all frames there are. When more are asked than the files hold, the
    rest is absent with cause ``detector``, as are those that limadask noted as absent when it
    saved them; images that cannot be read are absent with cause ``decode_error``. With ``rate``,
    or else with an exposure time, frames come at that pace.
    """

    path: str | tuple[str, ...] = Field(min_length=1)
    """A file, a pattern such as ``scan_*.cbf``, sorted naturally (2 before 10), or a list of
    them, in its order; ``file.h5::/dataset`` names a dataset."""
    dataset: str | None = None
    """Dataset in the HDF5 files, or its NXdata group; None finds it."""
    rate: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Frames per second; None follows the exposure, which is as fast as it can by default."""
    loop: bool = False
    """Whether to begin again at the end, with frame numbers going on."""
    pattern: Pattern | None = None
    """Colours of the pixels (0, 0), (0, 1), (1, 0) and (1, 1) of the images, repeated over them,
    where a camera with colour filters took them; None takes what a file of limadask tells."""

    @field_validator("path", mode="before")
    def _plain(cls, value: Any) -> Any:  # noqa: N805 - pydantic's class method
        if isinstance(value, list | tuple):
            return tuple(str(one) if isinstance(one, Path) else one for one in value)
        return str(value) if isinstance(value, Path) else value

    @property
    def _paths(self) -> tuple[str, ...]:
        return (self.path,) if isinstance(self.path, str) else self.path

    def absolute(self, folder: Path) -> Self:
        """Return the same detector, with its relative paths taken from ``folder``."""
        paths = tuple(absolute_path(one, folder) for one in self._paths)
        return self.replace(path=paths[0] if isinstance(self.path, str) else paths)

    def info(self) -> DetectorInfo:
        """Say what the images are like, by the first file, and all others that are HDF5."""
        first, *others = find_sources(self._paths, self.dataset)
        with _opened(first) as images:
            layout, told = images.layout, images.description()
            if not len(images):
                raise ConfigError(
                    f"{first.path} holds no images yet", field="path", value=first.path,
                    allowed="a file with at least one image",
                )  # fmt: skip
            _try(images, first)
        for source in others if is_hdf5(first.path) else ():
            with _opened(source) as images:
                if images.layout != layout:
                    raise differs(source, images.layout, layout)
        if self.pattern is not None:
            if len(layout.bands) != 1:
                raise ConfigError(
                    "the images have colours, and pixels without colour filters", field="pattern",
                    value=self.pattern, allowed="no pattern, or images of one band",
                )  # fmt: skip
            told["pattern"] = self.pattern
        return DetectorInfo(
            model="replay",
            shape=layout.shape,
            dtype=layout.dtype.name,
            bands=layout.bands,
            **told,
        )

    def capabilities(self) -> Capabilities:
        """Say what it can do: nothing but come at its pace."""
        return Capabilities(
            default_expo_time=1 / self.rate if self.rate else 0.0,
            dispatch=("single", "round_robin", "broadcast"),
            prepares_ahead=True,
            pauses=True,
        )

    def prepare(self, share: HardwareParameters, endpoints: tuple[str, ...]) -> HardwareParameters:
        """Fit exposure and pause to the rate."""
        if self.rate is None:
            return share
        expo_time = min(share.expo_time, 1 / self.rate)
        return share.replace(expo_time=expo_time, latency_time=1 / self.rate - expo_time)

    def receiver(self, index: int, count: int) -> ReplayReceiver:
        """Make the receiver."""
        return ReplayReceiver(self._series, self.loop)

    def _series(self) -> Series:
        return Series(find_sources(self._paths, self.dataset))


def _opened(source: Source) -> Images:
    try:
        return source.open()
    except OSError as error:
        raise _unreadable(source, error) from error


def _try(images: Images, source: Source) -> None:
    """Read the first image, lest a missing filter makes gaps of all."""
    try:
        images.read(0, np.empty(images.layout.frame_shape, images.layout.dtype))
    except OSError as error:
        raise _unreadable(source, error) from error


def _unreadable(source: Source, error: OSError) -> ConfigError:
    return ConfigError(
        f"{source.path} cannot be read: {error}", field="path", value=source.path,
        allowed="a file of images that can be read",
    )  # fmt: skip
