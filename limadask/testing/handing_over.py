"""How a receiver hands its frames over: in given buffers, in its own, or compressed."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.detector import Frame, Receiver
from limadask.frames import Packed, Spec
from limadask.storage import decodable, unpack
from limadask.testing.rig import Rig
from limadask.testing.subject import STAGES, Subject

GIVEN = 3
"""Buffers that are given at first, of which the last stays empty."""
TIMEOUT = 0.1


class HandingOver(Subject):
    """Tests of single frames, as a receiver hands them over."""

    def test_a_frame_is_in_the_given_buffer_or_lent_or_compressed(self) -> None:
        rig = self.rig(nb_frames=GIVEN - 1)
        try:
            for stage in STAGES[:-1]:
                getattr(rig, stage)()
            (receiver,), spec = rig.receivers, rig.spec(rig.deals[0])
            given = [] if receiver.packs else _buffers(spec)
            for buffer in given:
                receiver.give(buffer)
            receiver.start()
            rig.control.start()
            for number in range(GIVEN - 1):
                frame = self._next(receiver)
                assert frame.index == number
                pixels = _pixels(frame, receiver, given[number:], spec)
                expected = self.image(rig.control, number)
                if expected is not None:
                    np.testing.assert_array_equal(pixels, expected, str(number))
                if frame.release is not None:
                    frame.release()
            self._end(rig)
        finally:
            rig.close()

    def _next(self, receiver: Receiver) -> Frame:
        """Return the next frame; until there is one, ``take`` keeps to its timeout."""
        deadline = time.monotonic() + self.bound
        while time.monotonic() < deadline:
            began = time.monotonic()
            item = receiver.take(TIMEOUT)
            took = time.monotonic() - began
            assert took < TIMEOUT + self.at_once, f"take({TIMEOUT}) took {took:.2f} s"
            if item is not None:
                assert isinstance(item, Frame), f"{item} came instead of a frame"
                return item
        raise AssertionError(f"no frame within {self.bound} s")

    def _end(self, rig: Rig) -> None:
        """Stop before the last buffer is filled: it must not be touched any more."""
        rig.control.stop(abort=True)
        for receiver in rig.receivers:
            receiver.stop(abort=True)


def _buffers(spec: Spec) -> list[NDArray[Any]]:
    return [np.empty(spec.frame_shape, spec.dtype) for _ in range(GIVEN)]


def _pixels(
    frame: Frame, receiver: Receiver, given: list[NDArray[Any]], spec: Spec
) -> NDArray[Any]:
    """Return the pixels of a frame, and take the buffer back that it was not put into."""
    if receiver.packs:
        return _decoded(frame, spec)
    assert not len(frame.chunks), "a receiver that does not say that it packs has sent chunks"
    if frame.lent is None:
        left = [id(one) for one in receiver.given]
        assert left == [id(one) for one in given[1:]], "not the first given buffer was filled"
        return given[0]
    assert (frame.lent.shape, frame.lent.dtype) == (spec.frame_shape, spec.dtype)
    is_given = any(np.shares_memory(frame.lent, one) for one in given)
    assert not is_given, "a given buffer was lent: one that is filled is not lent, too"
    assert receiver.given.popleft() is given[0], "a frame was lent, and a given buffer taken too"
    return np.array(frame.lent)


def _decoded(frame: Frame, spec: Spec) -> NDArray[Any]:
    """Return the pixels of a compressed frame, which has a chunk for each band."""
    bands, rows, columns = spec.frame_shape
    assert frame.lent is None, "a receiver that packs has lent pixels"
    assert len(frame.chunks) == bands
    chunks = [np.frombuffer(one, np.uint8) for one in frame.chunks]
    sizes = np.array([[one.size for one in chunks]])
    packed = Packed(
        np.concatenate(chunks), np.cumsum(sizes, axis=1) - sizes, sizes, frame.codec,
        (rows, columns), spec.dtype,
    )  # fmt: skip
    assert decodable(packed).all(), f"a chunk is no {frame.codec} of {rows}×{columns} {spec.dtype}"
    pixels = np.empty((1, *spec.frame_shape), spec.dtype)
    unpack(packed, pixels)
    return np.asarray(pixels[0])
