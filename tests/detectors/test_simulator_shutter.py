"""Who is let in by a receiver that the camera deals frames to."""

from __future__ import annotations

import socket

import pytest

from limadask.errors import StalledError
from limadask_detectors.simulator import shutter
from limadask_detectors.simulator.shutter import DealtShutter, connect


def place_of(dealt: DealtShutter) -> tuple[str, int]:
    host, _, port = dealt.address.partition("@")[2].rpartition(":")
    return host, int(port)


def test_a_camera_that_never_connects_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutter, "CONNECT", 0.2)
    dealt = DealtShutter("127.0.0.1")
    with pytest.raises(StalledError, match="camera has not connected") as caught:
        dealt.start()
    assert caught.value.stage == "start"
    assert dealt.address.partition("@")[2] in str(caught.value)
    dealt.close()


def test_a_stranger_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutter, "CONNECT", 0.2)
    dealt = DealtShutter("127.0.0.1")
    with socket.create_connection(place_of(dealt)) as stranger:
        stranger.sendall(b"half")
        with pytest.raises(StalledError, match="camera has not connected"):
            dealt.start()
    dealt.close()


def test_strangers_do_not_keep_the_camera_out() -> None:
    dealt = DealtShutter("127.0.0.1")
    with socket.create_connection(place_of(dealt)) as wrong:
        wrong.sendall(bytes(16))
        socket.create_connection(place_of(dealt)).close()  # is gone before it has said anything
        camera = connect(dealt.address)
        dealt.start()
        camera.send((7, 1234))
        assert dealt.next(10.0) == (7, 1234)
        dealt.give(3)
        assert camera.recv() == 3
    camera.close()
    dealt.close()
