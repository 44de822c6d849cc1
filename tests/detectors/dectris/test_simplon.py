"""Requests to a control unit end, and their errors say what to do."""

from __future__ import annotations

import pickle
import socket
import sys
import threading
import time

import pytest
from emulators.control_unit import ControlUnit

from limadask.errors import ConfigError
from limadask_detectors.dectris import SimplonError
from limadask_detectors.dectris.simplon import Simplon

VALUE = "/detector/api/1.8.0/config/count_time"


def client(unit: ControlUnit, timeout: float = 5.0) -> Simplon:
    return Simplon("127.0.0.1", unit.port, timeout)


def test_values_come_with_their_limits(unit: ControlUnit) -> None:
    with client(unit) as api:
        value = api.value("count_time")
        assert (value.value, value.unit, value.range) == (0.5, "s", (1e-6, 1800.0))
        assert value.access == "rw"
        api.put("count_time", 0.25)
        assert api.value("count_time").value == 0.25
        assert api.find("no_such_value") is None
        assert api.values(["nimages", "no_such_value"]) == {"nimages": 1}
        assert set(api.names()) == set(unit.config)
        assert api.command("arm") == "1"
        assert api.state() == "ready"


def test_one_connection_serves_all_requests(unit: ControlUnit) -> None:
    with client(unit) as api:
        api.state()
        first = api._socket
        api.put("nimages", 3)
        assert api._socket is first is not None


def test_a_version_of_the_same_kind_is_used_in_paths(unit: ControlUnit) -> None:
    unit.version = "1.6.0"
    with client(unit) as api:
        assert api.state() == "na"
    assert unit.requests[-1][1] == "/detector/api/1.6.0/status/state"


def test_a_control_unit_that_tells_no_version_is_taken_for_the_usual_one(unit: ControlUnit) -> None:
    unit.replies["/version"] = (404, b"404: Not Found")
    with client(unit) as api:
        assert api.state() == "na"


@pytest.mark.parametrize("version", ["2.0.0", "none"])
def test_another_version_is_refused(unit: ControlUnit, version: str) -> None:
    unit.version = version
    with client(unit) as api, pytest.raises(SimplonError, match=rf"{version}.*1\.x.*firmware"):
        api.state()


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Simplon("127.0.0.1", port, 5) as api, pytest.raises(SimplonError) as told:
        api.put("nimages", 3)
    assert f"http://127.0.0.1:{port}/detector" in str(told.value)
    assert "Connection refused; check host and port" in str(told.value)
    assert told.value.code is None


@pytest.mark.parametrize("host", ["..", "1.2.3.4:80:80"])
def test_a_host_that_cannot_be(host: str) -> None:
    with Simplon(host, 80, 5) as api, pytest.raises(SimplonError, match="check host and port"):
        api.state()


def test_a_server_that_stalls(unit: ControlUnit) -> None:
    unit.held.add("/config/nimages")
    begin = time.monotonic()
    with client(unit, timeout=0.2) as api, pytest.raises(SimplonError) as told:
        api.put("nimages", 3)
    assert time.monotonic() - begin < 2
    assert '/config/nimages with {"value": 3}: no answer within 0.2 s' in str(told.value)


def test_a_server_that_accepts_and_says_nothing() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        begin = time.monotonic()
        api = Simplon("127.0.0.1", mute.getsockname()[1], 0.2)
        with api, pytest.raises(SimplonError, match=r"no answer within 0\.2 s"):
            api.state()
        assert time.monotonic() - begin < 2


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((500, b"internal\n error"), r"HTTP 500, internal error; .*restart it"),
        ((400, b"out of range"), r"HTTP 400, out of range; check the value, its limits"),
        ((404, b""), r"HTTP 404, Not Found; this model or firmware may not have it"),
        ((200, b"<html>Apache</html>"), r"'<html>Apache</html>' came, expected JSON; check host"),
        ((200, b'["a"]'), r"\['a'\]. came, expected an object with a value"),
        ((200, b""), r"'None' came, expected an object with a value"),
    ],
)
def test_an_answer_that_is_none(unit: ControlUnit, reply: tuple[int, bytes], words: str) -> None:
    unit.replies["/config/count_time"] = reply
    with client(unit) as api, pytest.raises(SimplonError, match=words) as told:
        api.value("count_time")
    assert f"GET http://127.0.0.1:{unit.port}{VALUE}" in str(told.value)
    assert told.value.url.endswith(VALUE)
    assert told.value.code == (reply[0] if reply[0] != 200 else None)


def test_errors_travel_between_processes() -> None:
    error = pickle.loads(pickle.dumps(SimplonError("all of it", url="http://there", code=500)))
    assert (str(error), error.url, error.code) == ("all of it", "http://there", 500)


def test_a_request_that_blocks_can_be_cut_by_another_thread(unit: ControlUnit) -> None:
    unit.held.add("/command/trigger")
    told: list[SimplonError] = []

    def trigger() -> None:
        with pytest.raises(SimplonError) as error:
            api.command("trigger", timeout=30)
        told.append(error.value)

    with client(unit) as api:
        thread = threading.Thread(target=trigger)
        thread.start()
        assert unit.begun.wait(5)
        api.cut()
        thread.join(1)
        assert not thread.is_alive()
        assert told
        with pytest.raises(SimplonError):  # and none can be sent afterwards
            api.state()


def test_without_its_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with Simplon("127.0.0.1", 80, 5) as api, pytest.raises(ConfigError) as told:
        api.state()
    assert "pip install 'limadask[dectris]'" in str(told.value)
    assert told.value.node == "detector"


@pytest.mark.parametrize(
    "reply",
    [(404, b"not found"), (501, b""), (500, b'{"error": "Parameter dose is not implemented"}')],
)
def test_a_value_that_it_does_not_have_is_none(unit: ControlUnit, reply: tuple[int, bytes]) -> None:
    """The simulator of libertem-live says it by a status of 500."""
    unit.replies["/config/nimages"] = reply
    unit.replies["/status/state"] = reply
    with client(unit) as api:
        assert api.find("nimages") is None
        assert api.state() == "unknown"


def test_a_value_that_cannot_be_told_now_is_no_missing_one(unit: ControlUnit) -> None:
    unit.replies["/config/nimages"] = (500, b"try again")
    with client(unit) as api, pytest.raises(SimplonError, match="try again"):
        api.find("nimages")
