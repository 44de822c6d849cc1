"""A control unit of a DECTRIS detector as tests need it: with limits, and with faults on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, bytes]

CONFIG: dict[str, dict[str, Any]] = {
    "description": {"value": "Dectris EIGER2 Si 500K", "access_mode": "r"},
    "detector_number": {"value": "E-01-0001", "access_mode": "r"},
    "x_pixels_in_detector": {"value": 1028, "access_mode": "r"},
    "y_pixels_in_detector": {"value": 512, "access_mode": "r"},
    "x_pixel_size": {"value": 75e-6, "unit": "m", "access_mode": "r"},
    "y_pixel_size": {"value": 75e-6, "unit": "m", "access_mode": "r"},
    "bit_depth_image": {"value": 16, "access_mode": "r"},
    "detector_readout_time": {"value": 1e-7, "unit": "s", "access_mode": "r"},
    "photon_energy": {"value": 8000.0, "min": 3500.0, "max": 40000.0, "unit": "eV"},
    "threshold/1/energy": {"value": 4000.0, "min": 3500.0, "max": 30000.0, "unit": "eV"},
    "threshold/2/energy": {"value": 12000.0, "min": 3500.0, "max": 30000.0, "unit": "eV"},
    "threshold/1/mode": {"value": "enabled", "allowed_values": ["enabled", "disabled"]},
    "threshold/2/mode": {"value": "disabled", "allowed_values": ["enabled", "disabled"]},
    "threshold/difference/mode": {
        "value": "disabled", "allowed_values": ["enabled", "disabled"],
    },
    "threshold/difference/lower_threshold": {"value": 1, "access_mode": "r"},
    "compression": {"value": "bslz4", "allowed_values": ["lz4", "bslz4"]},
    "count_time": {"value": 0.5, "min": 1e-6, "max": 1800.0, "unit": "s"},
    "frame_time": {"value": 0.6, "min": 1e-5, "max": 3600.0, "unit": "s"},
    "nimages": {"value": 1, "min": 1, "max": 1000},
    "ntrigger": {"value": 1, "min": 1, "max": 1000},
    "trigger_mode": {"value": "exts", "allowed_values": ["exts", "ints", "exte", "inte"]},
}  # fmt: skip
"""What it is set to, as the API tells it, and what may be set."""
STREAM: dict[str, dict[str, Any]] = {
    "mode": {"value": "disabled", "allowed_values": ["enabled", "disabled"]},
    "format": {"value": "legacy", "allowed_values": ["legacy", "cbor"]},
    "header_detail": {"value": "basic", "allowed_values": ["none", "basic", "all"]},
}


class ControlUnit:
    """Serves the part of the SIMPLON API that is needed, and notes all requests.

    Its exposures take no time: a trigger is done at once, unless it is held.
    """

    def __init__(self) -> None:
        self.config = {name: dict(about) for name, about in CONFIG.items()}
        self.stream = {name: dict(about) for name, about in STREAM.items()}
        self.state, self.series, self.version = "na", 0, "1.8.0"
        self.errors: list[str] = []
        self.excluding = False
        """Whether the difference disables the thresholds that it is made of."""
        self.stays = False
        """Whether it stays armed after a trigger."""
        self.requests: list[tuple[str, str, Any]] = []
        self.replies: dict[str, Reply] = {}
        """What is replied to paths that end so, instead of what is right."""
        self.held: set[str] = set()
        """Paths that end so get no answer before :meth:`release`."""
        self.begun = threading.Event()
        """Set when a request is held."""
        self._released = threading.Event()
        self.is_down = True
        self.port = 0
        """Where it serves; 0 takes a free one."""
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def changes(self) -> list[str]:
        """Return the last words of what it was told to do or to be."""
        return [path.rpartition("/")[2] for method, path, _ in self.requests if method == "PUT"]

    def release(self) -> None:
        """Let all held requests go, and hold no further ones."""
        self.held = set()
        self._released.set()
        self._released = threading.Event()

    @contextmanager
    def serving(self) -> Iterator[ControlUnit]:
        """Serve on a free port."""
        self.start()
        try:
            yield self
        finally:
            self.release()
            self.shut()

    def start(self) -> None:
        """Serve, after :meth:`shut` at the same port as before."""
        handler = type("Handler", (_Handler,), {"unit": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self.port, self.is_down = self._server.server_port, False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def shut(self) -> None:
        """Serve no more, as if the plug was pulled."""
        self.is_down = True
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = self._thread = None

    def reply(self, method: str, path: str, body: Any) -> Reply:
        """Return what the API says to a request."""
        self.requests.append((method, path, body))
        for end, reply in self.replies.items():
            if path.endswith(end):
                return reply
        if any(path.endswith(end) for end in self.held):
            self.begun.set()
            self._released.wait(30)
        if path == "/detector/api/version":
            return _json({"value": self.version})
        _, part, _, version, kind, name = path.split("/", 5)
        if version != self.version:
            return 404, b"unknown path"
        calls: dict[str, Callable[[], Reply]] = {
            "command": lambda: self._command(name),
            "config": lambda: self._config(method, part, name, body),
            "status": lambda: self._status(part, name),
        }
        return calls[kind]()

    def _command(self, name: str) -> Reply:
        if name == "arm":
            self.series += 1
        if name != "trigger" or not self.stays:
            self.state = "ready" if name == "arm" else "idle"
        return _json({"sequence id": self.series})

    def _config(self, method: str, part: str, name: str, body: Any) -> Reply:
        known = {"detector": self.config, "stream": self.stream}[part]
        if name == "keys":
            return _json(list(known))
        if name not in known:
            return 404, b""
        if method == "PUT":
            known[name]["value"] = body["value"]
            if self.excluding and name == "threshold/difference/mode":
                known["threshold/1/mode"]["value"] = "disabled"
            return _json([name])
        return _json({"access_mode": "rw", **known[name]})

    def _status(self, part: str, name: str) -> Reply:
        known = {"state": self.state, "error": self.errors, "series_unique_id": str(self.series)}
        return _json({"value": known[name]}) if name in known and part == "detector" else (404, b"")


class _Handler(BaseHTTPRequestHandler):
    unit: ControlUnit
    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True  # else each answer waits 40 ms

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        content = self.rfile.read(length)
        body = json.loads(content) if content else None
        if self.unit.is_down:
            self.close_connection = True
            return
        code, text = self.unit.reply(self.command, self.path, body)
        if self.unit.is_down:  # meanwhile
            self.close_connection = True
            return
        try:
            self.send_response(code)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
        except OSError:  # who asked has gone
            self.close_connection = True

    do_GET = do_PUT = _answer  # noqa: N815 - names of the library

    def log_message(self, *about: object) -> None:
        pass


def _json(value: Any) -> Reply:
    return 200, json.dumps(value).encode()
