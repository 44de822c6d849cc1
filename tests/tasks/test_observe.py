"""What an observation point keeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limadask.errors import ConfigError
from limadask.frames import Frames, Spec
from limadask.geometry import Grid, GridIndex
from limadask.task import Place
from limadask_tasks import Observe

SPEC = Spec(Grid((8, 8)).crop(2, 3, 2, 3), np.dtype("u2"), ("a", "b"))


def frame(number: int) -> Frames:
    return Frames.of(np.full((1, *SPEC.frame_shape), number, "u2"), number)


@given(st.permutations(range(20)), st.integers(1, 6), st.integers(1, 5))
def test_the_highest_frame_numbers_seen_are_kept(
    order: list[int], history: int, every: int
) -> None:
    observer = Observe(history=history, every=every).open(SPEC, Place("live"))
    for count, number in enumerate(order, start=1):
        observer.encode(frame(number))
        seen = sorted(one for one in order[:count] if one % every == 0)[-history:]
        recent, latest = observer.recent(), observer.latest()
        if not seen:
            assert recent is None
            assert latest is None
            continue
        assert recent is not None
        assert latest is not None
        assert recent["frame"].values.tolist() == seen
        assert recent.values[:, 0, 0, 0].tolist() == seen
        assert latest["frame"].values.tolist() == seen[-1:]


def test_what_is_kept_is_labelled_and_copied() -> None:
    observer = Observe().open(SPEC, Place("live"))
    frames = frame(4)
    observer.encode(frames)
    frames.pixels[...] = 0
    latest = observer.latest()
    assert latest is not None
    assert (latest == 4).all()
    assert latest.dims == ("frame", "band", "y", "x")
    assert isinstance(latest.xindexes["det_y"], GridIndex)
    assert latest["det_y"].values[0, 0] == 2
    assert latest["band"].values.tolist() == ["a", "b"]
    observer.close()
    assert observer.latest() is not None  # it can be looked at after the run


def test_history_and_every_are_at_least_one() -> None:
    for field in ("history", "every"):
        with pytest.raises(ConfigError) as caught:
            Observe(**{field: 0})
        assert caught.value.field == field
