"""The contract of a detector plugin: what it must say, and what it may."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt

from limadask.detector.deal import Deal
from limadask.frames import Codec
from limadask.geometry import Grid, Pattern, Rect
from limadask.model import Model, MutableModel
from limadask.parameters import Dispatch, HardwareParameters, TriggerMode


class GoniometerAxis(Model):
    """One axis of the goniometer, which turns or shifts the sample during a run.

    The innermost axis, which carries the sample, comes first.
    """

    name: str
    """Its name: ``omega``, ``chi``, ``phi``, ``kappa``, …"""
    start: float
    """Where it stands when the first frame begins, degrees."""
    increment: float = 0.0
    """How far it goes from one frame to the next, degrees."""
    vector: tuple[float, float, float] = (-1.0, 0.0, 0.0)
    """Its direction in the frame of NeXus (McStas): z along the beam, y up."""


class Column(Model):
    """Something that the detector tells of each frame, besides its pixels: a number."""

    name: str = Field(pattern="^[a-z][a-z0-9_]*$")
    """Name, where NeXus has one that of NXdetector: ``start_time``, ``real_time``, …"""
    units: str = ""
    """Its units, such as ``s``."""


class DetectorInfo(Model):
    """What a detector is."""

    model: str
    """Model name."""
    shape: tuple[PositiveInt, PositiveInt]
    """Rows and columns of the full, unbinned image."""
    dtype: str = "uint16"
    """Type of the pixels."""
    bands: tuple[str, ...] = ("0",)
    """Names of the bands: thresholds, colours, …"""
    pattern: Pattern | None = None
    """Colours of the pixels (0, 0), (0, 1), (1, 0) and (1, 1) of the full image where each has a
    colour filter of its own, repeated over the image."""
    serial: str = ""
    """Serial number."""
    pixel_size: tuple[float, float] | None = None
    """Height and width of a pixel in metres."""
    sensor_material: str | None = None
    """Sensor material, such as ``Si``."""
    sensor_thickness: float | None = None
    """Sensor thickness in metres."""
    saturation_value: int | None = None
    """Highest count that can be trusted."""
    distance: float | None = None
    """Distance from the sample in metres."""
    wavelength: float | None = None
    """Wavelength of the radiation in Å."""
    beam_centre: tuple[float, float] | None = None
    """Where the direct beam hits, ``(y, x)`` in detector pixels."""
    thresholds: tuple[float, ...] = ()
    """Energy above which photons count, eV, for each band."""
    goniometer: tuple[GoniometerAxis, ...] = ()
    """How the sample is turned."""
    columns: tuple[Column, ...] = ()
    """What it tells of each frame, in the order of :attr:`Frame.values`."""

    modules: tuple[Rect, ...] = ()
    """Where its modules lie, in the order in which they are shared out among receivers; empty
    where frames only come as a whole."""

    @property
    def grid(self) -> Grid:
        """Grid of the full image."""
        return Grid(self.shape)


class Capabilities(Model):
    """What a detector can do itself; the pipeline does the rest."""

    trigger_modes: tuple[TriggerMode, ...] = ("internal",)
    """Trigger modes it supports."""
    expo_time_range: tuple[float, float] = (0.0, float("inf"))
    """Shortest and longest exposure, seconds."""
    default_expo_time: float = 0.0
    """Exposure taken when none is asked, seconds."""
    latency_time_range: tuple[float, float] = (0.0, float("inf"))
    """Shortest and longest pause between exposures, seconds."""
    roi_step: NonNegativeInt = 0
    """Pixels to whose multiples the borders of a hardware ROI are rounded; 0: it has none."""
    binning: tuple[PositiveInt, ...] = (1,)
    """Binning factors it supports, the same along both axes or not."""
    flip: bool = False
    """Whether it can mirror its images."""
    dispatch: tuple[Dispatch, ...] = ("single",)
    """How it can deal its frames to several receivers."""
    max_nb_frames: PositiveInt | None = None
    """Most frames it can take in one acquisition."""
    prepares_ahead: bool = False
    """Whether its next acquisition can be prepared while it acquires; a detector that only one may
    hold at a time cannot."""
    pauses: bool = False
    """Whether it can wait between two exposures and go on, by :meth:`Detector.pause` or
    :meth:`Receiver.pause`. One that is triggered by software need not: triggers are withheld."""


@dataclass(slots=True)
class Frame:
    """One frame that a receiver has taken.

    Parameters
    ----------
    index:
        Number of the frame in this acquisition, from 0. The plugin unwraps its own counters.
    lent:
        A buffer of the plugin's own, shape ``(band, y, x)``, that holds the frame; None when it
        was written into the first of the given buffers.
    release:
        Called as soon as a lent buffer has been read.
    timestamp:
        When its exposure started, UTC nanoseconds; None takes the time of arrival.
    complete:
        False where pixels are missing.
    cause:
        Why they are missing, such as ``packets_lost``.
    invalid:
        Which pixels are missing, shape ``(y, x)`` or ``(band, y, x)``, if the plugin knows.
    chunks:
        The bands as the detector has compressed them, from a receiver that :attr:`~Receiver.packs`.
        They are read once and then released, as what is lent.
    codec:
        How they are compressed.
    is_owned:
        Whether the memory of the chunks is nobody else's: they may be kept instead of copied.
    values:
        What else it tells of the frame: a number for each of :attr:`DetectorInfo.columns`.
    """

    index: int
    lent: NDArray[Any] | None = None
    release: Callable[[], object] | None = None
    timestamp: int | None = None
    complete: bool = True
    cause: str = ""
    invalid: NDArray[np.bool_] | None = None
    chunks: Sequence[bytes | memoryview | NDArray[np.uint8]] = ()
    codec: Codec = "none"
    is_owned: bool = False
    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Lost:
    """Frames ``first`` to ``last`` (included) that will not come.

    A plugin that only sees a jump in the frame numbers need not say it: the core notices.

    Parameters
    ----------
    first, last:
        The frames.
    cause:
        Why: ``detector``, ``packets_lost``, ``overrun`` or ``decode_error``.
    """

    first: int
    last: int
    cause: str


@dataclass(frozen=True, slots=True)
class End:
    """No further frame will come."""


class Receiver(ABC):
    """Takes frames on a worker; the core owns the thread, the buffers and the clock.

    The calls come in this order: ``open``, ``arm``, ``start``, then ``give`` and ``take`` from
    the acquisition thread, ``stop`` from another thread, ``close``.
    """

    packs: bool = False
    """Whether all its frames come compressed, as :attr:`Frame.chunks`; it is given no buffers."""
    pulls: bool = False
    """Whether a frame exists only once ``take`` has asked for it: ``take`` is not called while a
    run is paused."""

    def __init__(self) -> None:
        self.given: deque[NDArray[Any]] = deque()
        """Empty buffers of shape ``(band, y, x)``, to be filled in this order."""
        self.deal = Deal()
        """Which frames fall to this receiver; others are best left out unread."""
        self.host = "127.0.0.1"
        """The address of this worker, where to listen."""

    def open(self) -> str:
        """Start to listen; return the address to tell the detector, if it needs one."""
        return ""

    def arm(self, hardware: HardwareParameters) -> None:
        """Make ready for one acquisition with these effective parameters."""

    def start(self) -> None:
        """Frames may come from now on."""

    def trigger(self) -> None:
        """A software trigger was given; for sources that make their frames here."""

    def give(self, buffer: NDArray[Any]) -> None:
        """Accept an empty buffer ``(band, y, x)``; several are queued ahead."""
        self.given.append(buffer)

    @abstractmethod
    def take(self, timeout: float) -> Frame | Lost | End | None:
        """Return the next frame, :class:`End` after the last, None when ``timeout`` s are over.

        A frame is written into ``self.given.popleft()``, or lent.
        """

    def pause(self) -> None:
        """Begin no exposure for a while; for sources that make their frames here.

        Called from another thread than ``take``, which goes on to be called for what has been
        exposed; more often than once, and before ``start``, too.
        """

    def resume(self) -> None:
        """Go on with the next frame, from now on, in the same pace."""

    def take_back(self, buffer: NDArray[Any]) -> None:
        """Accept the buffer again that was filled last: its frame was not wanted."""
        self.given.appendleft(buffer)

    def stop(self, abort: bool) -> None:
        """End soon: after the frame being exposed, or at once. ``take`` then returns End."""

    def close(self) -> None:
        """Give back every resource; also called after errors."""


class Detector(MutableModel):
    """A detector: its own parameters are the fields, typed and validated.

    An instance is pickled to the first receiver's worker, where the calls below are made; a
    plugin may be as short as :meth:`info` and :meth:`receiver`.
    """

    model_config = ConfigDict(ser_json_inf_nan="constants")

    recorded: ClassVar[Mapping[str, str]] = {}
    """Fields of its status, numbers or texts, that are recorded while it acquires, and units."""
    recorded_every: ClassVar[float] = 1.0
    """Seconds between two of these."""

    def absolute(self, folder: Path) -> Self:
        """Return the same detector, with its relative paths taken from ``folder``."""
        return self

    def info(self) -> DetectorInfo:
        """Say what the detector is."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it is")

    def capabilities(self) -> Capabilities:
        """Say what the detector can do itself."""
        return Capabilities()

    def status(self) -> Model | None:
        """Say how it is now: its state, temperatures, …; None where it has nothing to say."""
        return None

    def readings(self) -> Mapping[str, Any]:
        """Say what is recorded of how it is, by the names in :attr:`recorded`.

        Asked from a thread of its own between ``start`` and ``close``, where it is controlled; what
        it raises is recorded, and harms no run.
        """
        status = self.status()
        return {name: getattr(status, name, None) for name in self.recorded}

    def limits(self) -> Mapping[str, Model]:
        """Say of its own parameters what it allows now: value, unit, lowest, highest, access."""
        return {}

    def prepare(self, share: HardwareParameters, endpoints: tuple[str, ...]) -> HardwareParameters:
        """Configure the detector; return what it really took.

        Parameters
        ----------
        share:
            What falls to the detector of what was asked, by its capabilities.
        endpoints:
            What the receivers' ``open`` returned.
        """
        return share

    def as_armed(self, info: DetectorInfo) -> DetectorInfo:
        """Say again what it is, after ``prepare``, where that has changed what it had said."""
        return info

    def fault(self) -> str:
        """Say why the acquisition cannot go on, nothing while it can; must return at once.

        It is asked several times a second between ``start`` and the end, where it is controlled.
        """
        return ""

    def is_over(self) -> bool:
        """Tell whether it has sent its last frame, as far as it knows; must return at once.

        Receivers then end when nothing comes any more, also where none has seen an :class:`End`.
        """
        return False

    def receiver(self, index: int, count: int) -> Receiver:
        """Make receiver ``index`` of ``count``; called on its worker."""
        raise NotImplementedError(f"{type(self).__name__} has no receiver")

    def start(self) -> None:
        """Start the acquisition; all receivers listen."""

    def trigger(self) -> None:
        """Give a software trigger."""

    def pause(self) -> None:
        """Begin no exposure for a while; asked only of a detector that says that it pauses."""

    def resume(self) -> None:
        """Go on with the next frame, from now on, in the same pace."""

    def stop(self, abort: bool) -> None:
        """Stop after the frame being exposed, or at once, also while it is paused."""

    def close(self) -> None:
        """Give the detector back; also called after errors."""
