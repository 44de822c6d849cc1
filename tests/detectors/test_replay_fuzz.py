"""Damaged files: whatever is in them, a replay gives frames, losses or an error it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fabio.cbfimage import CbfImage
from fabio.edfimage import EdfImage
from fabio.tifimage import TifImage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limadask.detector import End, Frame, Lost, share
from limadask.errors import ConfigError
from limadask.parameters import AcquisitionParameters
from limadask_detectors import Replay

IMAGE = np.arange(120, dtype="i4").reshape(12, 10)
FORMATS = {"edf": EdfImage, "tif": TifImage, "cbf": CbfImage}
damages = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=20)


def replayed(camera: Replay) -> list[Any]:
    """Frames and losses; an error must be one that we name."""
    try:
        asked = AcquisitionParameters(nb_frames=0)
        hardware = share(asked, camera.info(), camera.capabilities()).hardware
        receiver = camera.receiver(0, 1)
        receiver.arm(camera.prepare(hardware, ("",)))
    except (ConfigError, OSError):
        return []
    items: list[Any] = []
    try:
        receiver.start()
        for _ in range(20):
            if not receiver.given:
                receiver.give(np.zeros((len(hardware.bands), *hardware.shape), hardware.dtype))
            item = receiver.take(0.0)
            if isinstance(item, End):
                return items
            items += [] if item is None else [item]
    except (ConfigError, OSError):
        return items
    finally:
        receiver.close()
    raise AssertionError("it does not end")


def damaged(data: bytes, damage: list[tuple[float, int]], cut: float) -> bytes:
    changed = bytearray(data)
    for place, value in damage:
        changed[int(place * (len(changed) - 1))] = value
    return bytes(changed[: int(cut * len(changed))])


@pytest.mark.filterwarnings("ignore")  # fabio's and NumPy's, about what they stumble over
@pytest.mark.parametrize("suffix", FORMATS)
@given(damage=damages, cut=st.sampled_from([1.0, 1.0, 0.9, 0.5, 0.1, 0.0]))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_image_file(
    suffix: str, damage: list[tuple[float, int]], cut: float, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{number}.{suffix}" for number in range(3)]
    for path in paths:
        FORMATS[suffix](data=IMAGE).write(str(path))
    paths[1].write_bytes(damaged(paths[1].read_bytes(), damage, cut))
    items = replayed(Replay(path=[str(path) for path in paths]))
    for item in items:
        assert isinstance(item, Frame | Lost)
    numbers = [item.index for item in items if isinstance(item, Frame)]
    assert numbers == sorted(set(numbers))
    assert 0 in numbers  # the sound one before it has come
