"""The detector that is tested, and what is expected of it."""

from __future__ import annotations

from typing import Any, ClassVar

from numpy.typing import NDArray

from limadask.detector import Detector
from limadask.parameters import AcquisitionParameters
from limadask.testing.rig import Rig

STAGES = ("open", "prepare", "arm", "start")
"""The calls of a run, in their order."""


class Subject:
    """What the tests ask of whoever takes them over."""

    nb_frames: ClassVar[int] = 24
    """Frames of a run."""
    expo_time: ClassVar[float | None] = 1e-3
    """Their exposure, seconds."""
    bound: ClassVar[float] = 20.0
    """Seconds that a run of so many frames may take."""
    stop_latency: ClassVar[float] = 1.0
    """Seconds that a stop may take."""
    at_once: ClassVar[float] = 0.5
    """Seconds within which an answer comes at once, on a computer that does other things too."""
    extra: ClassVar[tuple[str, ...]] = ()
    """Modules that come with the plugin's extra: it must be importable without them."""

    def detector(self) -> Detector:
        """Return the detector; called for each run."""
        raise NotImplementedError("say which detector is to be tested")

    def image(self, detector: Detector, number: int) -> NDArray[Any] | None:
        """Return the pixels of a frame, ``(band, y, x)``, where they are known."""
        return None

    def rig(self, dispatch: Any = "single", receivers: int = 1, **asked: Any) -> Rig:
        """Return the detector with its receivers, and what is asked of it."""
        given = {"nb_frames": self.nb_frames, "expo_time": self.expo_time, **asked}
        return Rig(self.detector(), AcquisitionParameters(**given), dispatch, receivers)
