"""A detector that is no more than its stream: somebody else sends."""

from __future__ import annotations

from typing import Literal

from limadask.detector import Capabilities, Detector, DetectorInfo, Receiver
from limadask.parameters import HardwareParameters
from limadask_detectors.dectris.receiver import DectrisReceiver


class Feed(Detector):
    """The stream of a sender."""

    stream: Literal["v1", "stream2"] = "stream2"
    """Format of its messages."""
    address: str
    """Where it sends."""
    series: int
    """The series that it will send."""
    shape: tuple[int, int]
    """Rows and columns of its images."""
    dtype: str
    """Type of their pixels."""
    bands: tuple[str, ...]
    """Their bands."""

    def info(self) -> DetectorInfo:
        """Say what its images are like."""
        return DetectorInfo(model="sender", shape=self.shape, dtype=self.dtype, bands=self.bands)

    def capabilities(self) -> Capabilities:
        """Say how it deals its images."""
        return Capabilities(dispatch=("single", "dynamic"))

    def prepare(self, share: HardwareParameters, endpoints: tuple[str, ...]) -> HardwareParameters:
        """Tell the receivers which series will come."""
        return share.replace(series=str(self.series))

    def receiver(self, index: int, count: int) -> Receiver:
        """Make a receiver."""
        return DectrisReceiver(self.stream, self.address, index, count)
