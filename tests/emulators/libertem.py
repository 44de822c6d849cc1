"""The DECTRIS simulator of ``libertem-live``, in a process of its own: stream v1, and part of REST.

It has about nine configuration values, each as the series says that it replays, and no state.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from emulators.environment import NotInstalledError, environment

REQUIREMENTS = ("libertem-live==0.3.0", "flask")
FRAMES = 12
SHAPE = (512, 512)


class Libertem(NamedTuple):
    """Where it serves."""

    port: int
    stream_port: int


@pytest.fixture
def libertem() -> Iterator[Libertem]:
    """One that sends a series of 12 images of 512 × 512 each time it is armed."""
    try:
        home = environment(*REQUIREMENTS, is_large=True)
    except NotInstalledError as error:
        pytest.skip(f"the simulator of libertem-live is not installed here: {error}")
    program = Path(__file__).with_name("libertem_program.py")
    process = subprocess.Popen(
        [home / "bin" / "python", "-P", program, str(FRAMES)], text=True,  # not our libertem.py
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield Libertem(**json.loads(process.stdout.readline()))
    finally:
        process.communicate(timeout=30)
