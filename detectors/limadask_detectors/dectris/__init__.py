"""Detectors of DECTRIS with the SIMPLON API: EIGER2, PILATUS4, SELUN."""

from limadask_detectors.dectris.detector import Dectris
from limadask_detectors.dectris.simplon import SimplonError
from limadask_detectors.dectris.status import DectrisStatus

__all__ = ["Dectris", "DectrisStatus", "SimplonError"]
