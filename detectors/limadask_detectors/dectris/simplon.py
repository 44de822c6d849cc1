"""A connection to the control unit of a detector, by the SIMPLON API of DECTRIS."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from limadask.errors import ConfigError, LimadaskError
from limadask_detectors.dectris.value import Value

if TYPE_CHECKING:
    import httpx

Part = Literal["detector", "stream", "monitor", "filewriter"]
"""The parts of a control unit, each with values of its own."""

VERSION = "1.8.0"
"""Taken where the control unit does not tell its own."""
MAJOR = "1"
CONNECT = 3.0
"""Seconds that a connection may take: a control unit is near."""
NOT_FOUND, NOT_IMPLEMENTED = 404, 501
UNKNOWN = "unknown"
"""State of a detector that does not tell its own."""


class SimplonError(LimadaskError, RuntimeError):
    """The control unit did not do what it was asked.

    Parameters
    ----------
    message:
        What was asked, what came, and what to check.
    url:
        What was asked.
    code:
        The HTTP status that came; None where no answer came.
    """

    def __init__(self, message: str, *, url: str = "", code: int | None = None) -> None:
        super().__init__(message)
        self.url, self.code = url, code

    @property
    def is_unknown(self) -> bool:
        """Whether the control unit does not know what it was asked for, as also emulators say."""
        return self.code in (NOT_FOUND, NOT_IMPLEMENTED) or "not implemented" in str(self)


class Simplon:
    """Asks and tells a control unit, over one connection that is kept while it is used.

    It is a context manager. Requests may be made by one thread at a time; :meth:`cut` by any.

    Parameters
    ----------
    host, port:
        Where the control unit serves HTTP.
    timeout:
        Seconds that an answer may take.
    version:
        Version of the API; None asks the control unit.

    Raises
    ------
    ConfigError
        When ``httpx`` is not installed.
    SimplonError
        From every request that fails.
    """

    def __init__(self, host: str, port: int, timeout: float, version: str | None = None) -> None:
        self.host, self.port, self.timeout = host, port, timeout
        self._version = version
        self._client: httpx.Client | None = None
        self._socket: socket.socket | None = None
        self._is_cut, self._lock = False, threading.Lock()

    @property
    def version(self) -> str:
        """The version of its API, asked once."""
        if self._version is None:
            self._version = self._ask_version()
        return self._version

    def value(self, name: str, part: Part = "detector", kind: str = "config") -> Value:
        """Return a configuration value, or with ``kind="status"`` a status, and its limits."""
        url = self._url(part, kind, name)
        answer = self._request("GET", url)
        if not isinstance(answer, dict) or "value" not in answer:
            raise _strange(f"GET {url}", url, answer, "an object with a value")
        return Value.answered(answer)

    def find(self, name: str, part: Part = "detector", kind: str = "config") -> Value | None:
        """Return what :meth:`value` does, None where this detector has no such value."""
        try:
            return self.value(name, part, kind)
        except SimplonError as error:
            if error.is_unknown:
                return None
            raise

    def values(self, names: Iterable[str]) -> dict[str, Any]:
        """Return those of the detector's configuration values that it has."""
        found = {name: self.find(name) for name in names}
        return {name: one.value for name, one in found.items() if one is not None}

    def names(self) -> tuple[str, ...]:
        """Return the names of the detector's configuration values, none if it does not tell."""
        url = self._url("detector", "config", "keys")
        try:
            answer = self._request("GET", url)
        except SimplonError as error:
            if error.is_unknown:
                return ()
            raise
        names = answer.get("value") if isinstance(answer, dict) else answer
        return tuple(str(one) for one in names) if isinstance(names, list) else ()

    def put(self, name: str, value: Any, part: Part = "detector") -> None:
        """Set a configuration value."""
        self._request("PUT", self._url(part, "config", name), {"value": value})

    def command(self, name: str, timeout: float | None = None) -> str:
        """Give a command, wait until it is done; return its sequence id, empty if it has none."""
        answer = self._request("PUT", self._url("detector", "command", name), timeout=timeout)
        return str(answer.get("sequence id", "")) if isinstance(answer, dict) else ""

    def state(self) -> str:
        """Return its state, such as ``na``, ``idle``, ``ready``, ``acquire``; else ``unknown``.

        There are emulators that do not tell it.
        """
        found = self.find("state", kind="status")
        return UNKNOWN if found is None else str(found.value)

    def cut(self) -> None:
        """End the request under way, and every later one, with an error; from any thread."""
        with self._lock:
            self._is_cut = True
            self._shut()

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # ---- requests -------------------------------------------------------------------------------

    def _url(self, part: Part, kind: str, name: str) -> str:
        return f"{self._base}/{part}/api/{self.version}/{kind}/{name}"

    @property
    def _base(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def _ask_version(self) -> str:
        url = f"{self._base}/detector/api/version"
        try:
            answer = self._request("GET", url)
        except SimplonError as error:
            if error.is_unknown:  # an emulator; what it does not know is noticed later
                return VERSION
            raise
        version = str(answer.get("value") if isinstance(answer, dict) else answer)
        if version.partition(".")[0] != MAJOR:
            raise SimplonError(
                f"GET {url} says API version {version!r}; this plugin speaks {MAJOR}.x, such as "
                f"{VERSION}: check the firmware, and whether a DECTRIS control unit is there",
                url=url,
            )
        return version

    def _request(
        self, method: str, url: str, body: Any = None, timeout: float | None = None
    ) -> Any:
        """Return what the control unit answers, None where the answer is empty."""
        limit = self.timeout if timeout is None else timeout
        what = f"{method} {url}" + (f" with {json.dumps(body)}" if body is not None else "")
        answer = self._answer(method, url, body, limit, what)
        if answer.status_code >= 300:
            raise _refused(what, url, answer)
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError:
            raise _strange(what, url, answer.text, "JSON") from None

    def _answer(self, method: str, url: str, body: Any, limit: float, what: str) -> httpx.Response:
        httpx = _httpx()
        timeout = httpx.Timeout(limit, connect=min(limit, CONNECT))
        try:
            return self._opened().request(
                method, url, json=body, timeout=timeout, extensions={"trace": self._trace}
            )
        except httpx.TimeoutException:
            raise SimplonError(
                f"{what}: no answer within {limit:g} s; check the network and whether the control "
                f"unit {self.host} is busy or hangs, or give it more time (timeout)",
                url=url,
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise SimplonError(
                f"{what}: {str(error).rstrip('.') or type(error).__name__}; check host and port "
                f"({self.host}:{self.port}), and whether the control unit is running",
                url=url,
            ) from None

    def _opened(self) -> httpx.Client:
        if self._client is None:
            httpx = _httpx()
            self._client = httpx.Client(
                verify=False,
                follow_redirects=True,
                trust_env=False,  # a proxy of the site is not for the next rack
                headers={"Accept": "application/json", "Content-Type": "application/json"},
            )
        return self._client

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        """Keep the socket of a new connection: nothing else ends a request that blocks."""
        if event == "connection.connect_tcp.complete":
            with self._lock:
                self._socket = info["return_value"].get_extra_info("socket")
                if self._is_cut:
                    self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it is closed already
                self._socket.shutdown(socket.SHUT_RDWR)


def _httpx() -> Any:
    try:
        import httpx
    except ImportError as error:
        raise ConfigError(
            "a package is missing that speaks with DECTRIS detectors: pip install "
            "'limadask[dectris]', on every worker",
            node="detector",
            field="type",
            value="dectris",
            allowed=f"once {error.name or 'httpx'} is installed",
        ) from None
    return httpx


def _refused(what: str, url: str, answer: httpx.Response) -> SimplonError:
    said = " ".join(answer.text.split())[:300] or answer.reason_phrase or "nothing"
    if answer.status_code == NOT_FOUND:
        check = "this model or firmware may not have it, or another server is there"
    elif answer.status_code < 500:
        check = "check the value, its limits and the detector's state"
    else:
        check = "check the state of the control unit, and restart it if need be"
    return SimplonError(
        f"{what}: HTTP {answer.status_code}, {said}; {check}", url=url, code=answer.status_code
    )


def _strange(what: str, url: str, answer: Any, expected: str) -> SimplonError:
    said = " ".join(str(answer).split())[:300]
    return SimplonError(
        f"{what}: {said!r} came, expected {expected}; check host and port, and whether a DECTRIS "
        "control unit is there",
        url=url,
    )
