"""What is asked of the detector."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from limadask.geometry import Rect
from limadask.model import Model

TriggerMode = Literal["internal", "software", "external", "gate"]
Flip = Literal["none", "y", "x", "both"]
Rotation = Literal[0, 90, 180, 270]


class Binning(Model):
    """How many detector pixels make one pixel, along each axis."""

    y: PositiveInt = 1
    x: PositiveInt = 1


class AcquisitionParameters(Model):
    """What is asked; what the detector cannot do itself is done in front of ``input``.

    ``roi`` is cut first, then bins are summed, then the image is flipped, then rotated.
    """

    nb_frames: NonNegativeInt = 1
    """Frames to take; 0 goes on until ``stop``."""
    expo_time: NonNegativeFloat | None = None
    """Exposure of one frame in seconds; None leaves it to the detector."""
    latency_time: NonNegativeFloat = 0.0
    """Pause between two exposures, seconds."""
    trigger_mode: TriggerMode = "internal"
    """What starts an exposure."""
    nb_frames_per_trigger: PositiveInt = 1
    """Frames that one trigger starts."""
    roi: Rect | None = None
    """Part of the image to take, in unbinned detector pixels; None takes all."""
    binning: Binning = Field(default_factory=Binning)
    """Detector pixels summed into one; incomplete bins at the end are dropped."""
    flip: Flip = "none"
    """``y`` turns the image upside down, ``x`` left to right."""
    rotation: Rotation = 0
    """Degrees counter-clockwise, as ``np.rot90``."""


class HardwareParameters(AcquisitionParameters):
    """What the detector really took."""

    expo_time: NonNegativeFloat = 0.0
    """Exposure of one frame in seconds."""
    dtype: str = "uint16"
    """Type of the pixels it delivers."""
    bands: tuple[str, ...] = ("0",)
    """Bands it delivers."""
    shape: tuple[PositiveInt, PositiveInt]
    """Rows and columns of the images it delivers."""
    series: str = ""
    """What the detector calls this acquisition, such as a number that it counts up."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Everything else that it is set to, by its own names."""

    @property
    def period(self) -> float:
        """Seconds from one frame to the next."""
        return self.expo_time + self.latency_time
