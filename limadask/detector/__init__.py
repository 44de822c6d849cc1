"""The contract of detector plugins."""

from limadask.detector.contract import (
    Capabilities,
    Column,
    Detector,
    DetectorInfo,
    End,
    Frame,
    GoniometerAxis,
    Lost,
    Receiver,
)
from limadask.detector.deal import Deal
from limadask.detector.modules import gaps_of, part_of
from limadask.detector.share import Share, binned_dtype, hardware_grid, share, software_steps

__all__ = [
    "Capabilities",
    "Column",
    "Deal",
    "Detector",
    "DetectorInfo",
    "End",
    "Frame",
    "GoniometerAxis",
    "Lost",
    "Receiver",
    "Share",
    "binned_dtype",
    "gaps_of",
    "hardware_grid",
    "part_of",
    "share",
    "software_steps",
]
