"""Detectors that come with limadask, written as a third party would."""

from limadask_detectors.dectris import Dectris
from limadask_detectors.replay import Replay
from limadask_detectors.simulator import Simulator

__all__ = ["Dectris", "Replay", "Simulator"]
