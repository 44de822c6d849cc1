"""The EIGER emulator of ``tickit-devices``, in a process of its own on free ports."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import zmq
from emulators.environment import NotInstalledError, environment

REQUIREMENTS = ("tickit-devices==0.4.1", "cbor2<6")
"""With cbor2 6 the emulator dies when it is armed for stream2."""
API = "/detector/api/1.8.0"
QUIET = 200
"""Milliseconds without a message after which no more is to come."""
PATIENCE = 60.0
"""Seconds that it may take to start on a machine that has other things to do."""


class Eiger:
    """An emulator that can be killed and started again, on the same ports.

    Parameters
    ----------
    home:
        The environment it is installed in.
    folder:
        Where its configuration and its log are put.
    """

    def __init__(self, home: Path, folder: Path) -> None:
        self.port, self.stream1_port, self.stream2_port = _free_ports(3)
        self._home, self._log = home, folder / "eiger.log"
        self._config = folder / "eiger.yaml"
        component = {
            "type": "eiger_component.CountingEiger", "inputs": {}, "name": "eiger",
            "host": "127.0.0.1", "port": self.port,
            "stream_host": "127.0.0.1", "stream_legacy_port": self.stream1_port,
            "stream_cbor_port": self.stream2_port,
        }  # fmt: skip
        self._config.write_text(json.dumps([component]))  # JSON is YAML
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; return when it answers, in state ``na``."""
        path = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
        command = [self._home / "bin" / "tickit", "all", self._config]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, env=path, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.ask("GET", f"{API}/status/state")
                return
            except OSError:
                ended = self._process.poll() is not None
                if ended or time.monotonic() > deadline:
                    self.kill()
                    log_text = self._log.read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"the emulator does not start: {log_text}") from None
                Event().wait(0.05)

    def kill(self) -> None:
        """End it at once, without a word to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def ensure(self) -> None:
        """Start it again if a test has killed it."""
        if self._process is None or self._process.poll() is not None:
            self.kill()
            self.start()

    def drain(self) -> None:
        """Take what earlier series have left in its streams, and end the one that runs."""
        if self.state in ("ready", "acquire"):
            self.command("abort")
        with zmq.Context() as context, ExitStack() as stack:
            poller = zmq.Poller()
            for port in (self.stream1_port, self.stream2_port):
                pull = stack.enter_context(context.socket(zmq.PULL))
                pull.connect(f"tcp://127.0.0.1:{port}")
                poller.register(pull, zmq.POLLIN)
            while ready := poller.poll(QUIET):
                for pull, _ in ready:
                    pull.recv_multipart()

    def ask(self, method: str, path: str, value: Any = None) -> Any:
        """Send one request past the code under test; return the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        body = None if value is None else json.dumps({"value": value})
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{method} {path}: {answer.status} {content!r}")
            return json.loads(content) if content else None
        finally:
            connection.close()

    def get(self, name: str) -> Any:
        """Return a configuration value of the detector."""
        return self.ask("GET", f"{API}/config/{name}")["value"]

    def put(self, name: str, value: Any) -> None:
        """Set a configuration value of the detector, as somebody else would."""
        self.ask("PUT", f"{API}/config/{name}", value)

    def command(self, name: str) -> Any:
        """Give a command, as somebody else would."""
        return self.ask("PUT", f"{API}/command/{name}")

    @property
    def state(self) -> str:
        """The state of the detector."""
        return str(self.ask("GET", f"{API}/status/state")["value"])


def _free_ports(count: int) -> list[int]:
    """Return ports that are free now, all at the same time."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture(scope="session")
def eiger_home() -> Path:
    """The environment with the emulator, made once on this machine."""
    try:
        return environment(*REQUIREMENTS)
    except NotInstalledError as error:
        pytest.skip(f"the EIGER emulator cannot be installed here: {error}")


@pytest.fixture(scope="session")
def eiger_process(eiger_home: Path) -> Iterator[Eiger]:
    with tempfile.TemporaryDirectory(prefix="limadask-eiger-") as folder:
        emulator = Eiger(eiger_home, Path(folder))
        try:
            emulator.start()
            yield emulator
        finally:
            emulator.kill()


@pytest.fixture
def eiger(eiger_process: Eiger) -> Eiger:
    """An emulator with empty streams; a test may kill it."""
    eiger_process.ensure()
    eiger_process.drain()
    return eiger_process
