"""A client's link to the acquisitions of its cluster."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from distributed import Client

from limadask.cluster import asking
from limadask.cluster.installing import install
from limadask.cluster.scheduler import TOPIC
from limadask.engine.messages import loads
from limadask.errors import LimadaskError, StalledError
from limadask.events import Event, FramesDone, from_message

KNOWN = 100
"""Runs whose last frame is known to a client that gets no answer: those heard of last."""


class Link:
    """Commands, questions and events between a client and its scheduler.

    One for each client: use :meth:`of`.
    """

    _all: ClassVar[weakref.WeakKeyDictionary[Client, Link]] = weakref.WeakKeyDictionary()
    _making = threading.Lock()

    def __init__(self, client: Client) -> None:
        self._client = weakref.ref(client)
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self._changing = threading.Lock()
        self._seen: dict[str, int] = {}
        install(client)
        client.subscribe_topic(TOPIC, self._hear)

    @classmethod
    def of(cls, client: Client) -> Link:
        """Return the client's link; installs the plugins the first time."""
        with cls._making:
            link = cls._all.get(client)
            if link is None:
                link = cls._all[client] = cls(client)
            return link

    @property
    def client(self) -> Client:
        """The client."""
        client = self._client()
        if client is None or client.status == "closed":
            raise LimadaskError("the Dask client is closed: make a new one and attach")
        return client

    def ask(self, operation: str, **message: Any) -> Any:
        """Ask the coordinator what it can answer at once; its errors are raised here.

        Raises
        ------
        LimadaskError
            Whatever it answers with; also when the scheduler cannot be reached.
        StalledError
            When the scheduler does not answer.
        """
        return self._ask(asking.soon, operation, message)

    def command(self, operation: str, **message: Any) -> Any:
        """Ask the coordinator for what takes its time: the scheduler shows that it lives.

        How long a command may take, the coordinator itself bounds.

        Raises
        ------
        LimadaskError
            Whatever it answers with; also when the scheduler cannot be reached.
        StalledError
            When the scheduler gives no sign of life.
        """
        return self._ask(asking.at_last, operation, message)

    def ask_worker(self, address: str, operation: str, **message: Any) -> Any:
        """Ask a worker directly: pixels do not go through the scheduler.

        Raises
        ------
        LimadaskError
            Whatever it answers with; also when it cannot be reached.
        StalledError
            When it does not answer.
        """
        client = self.client
        question = getattr(client.rpc(address), f"limadask_{operation}")
        try:
            answer = client.sync(question, **message, callback_timeout=asking.ANSWER)
        except TimeoutError as error:
            raise self._unanswered("worker", address, operation, message) from error
        except OSError as error:
            raise LimadaskError(f"worker {address} cannot be reached: {error}") from error
        if "error" in answer:
            raise LimadaskError(f"worker {address}: {answer['error']}")
        return answer["result"]

    def listen(self, *uuids: str) -> Listener:
        """Return a listener that hears the events of some acquisitions from now on."""
        listener = Listener(frozenset(uuids))
        with self._changing:
            self._listeners.add(listener)
        return listener

    def _hear(self, stamped: tuple[float, dict[str, Any]]) -> None:
        event = from_message(stamped[1])
        if isinstance(event, FramesDone):
            self._seen.pop(event.uuid, None)
            self._seen[event.uuid] = event.last
            if len(self._seen) > KNOWN:
                del self._seen[next(iter(self._seen))]
        with self._changing:
            listeners = [one for one in self._listeners if event.uuid in one.uuids]
        for listener in listeners:
            listener.put(event)

    def _ask(
        self, ask: Callable[..., Awaitable[Any]], operation: str, message: dict[str, Any]
    ) -> Any:
        client = self.client
        try:
            answer = client.sync(ask, client, operation, message)
        except TimeoutError as error:
            address = client.scheduler.address
            raise self._unanswered("scheduler", address, operation, message) from error
        except OSError as error:
            raise LimadaskError(f"the scheduler cannot be reached: {error}") from error
        if isinstance(answer, dict) and "error" in answer and "status" not in answer:
            raise loads(answer["error"])
        return answer

    def _unanswered(
        self, who: str, address: str, operation: str, message: dict[str, Any]
    ) -> StalledError:
        last_frame = self._seen.get(message.get("uuid", ""), -1)
        what = message.get("command") or operation
        return asking.unanswered(who, address, what, last_frame)


class Listener:
    """The events of some acquisitions, waiting to be read; nothing is called back.

    Parameters
    ----------
    uuids:
        The acquisitions.
    """

    def __init__(self, uuids: frozenset[str]) -> None:
        self.uuids = uuids
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def put(self, event: Event) -> None:
        """Add an event."""
        self._events.put(event)

    def get(self, timeout: float) -> Event | None:
        """Return the next event; None when ``timeout`` seconds are over."""
        try:
            return self._events.get(timeout=timeout)
        except queue.Empty:
            return None
