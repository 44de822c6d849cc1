"""What the tests of DECTRIS detectors share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from emulators.camera import cameras
from emulators.control_unit import ControlUnit
from emulators.eiger import eiger, eiger_home, eiger_process

__all__ = ["cameras", "eiger", "eiger_home", "eiger_process"]


@pytest.fixture
def unit() -> Iterator[ControlUnit]:
    """A control unit of our own, which serves."""
    with ControlUnit().serving() as unit:
        yield unit
