"""A client's link to the acquisitions of its cluster."""

from __future__ import annotations

import queue
import threading
import weakref
from typing import Any, ClassVar

from distributed import Client

from limadask.cluster.nanny import LimadaskNanny
from limadask.cluster.scheduler import TOPIC, LimadaskScheduler
from limadask.cluster.worker import LimadaskWorker
from limadask.engine.messages import loads
from limadask.errors import ConfigError, LimadaskError
from limadask.events import Event, from_message

ANSWER = 15.0
"""Seconds that a scheduler may take to answer; Dask itself tries for 30 to reach a dead one."""


class Link:
    """Commands, questions and events between a client and its scheduler.

    One for each client: use :meth:`of`.
    """

    _all: ClassVar[weakref.WeakKeyDictionary[Client, Link]] = weakref.WeakKeyDictionary()
    _making = threading.Lock()

    def __init__(self, client: Client) -> None:
        self._client = weakref.ref(client)
        self._listeners: dict[str, weakref.WeakSet[Listener]] = {}
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

    def ask(self, operation: str, bound: float | None = ANSWER, **message: Any) -> Any:
        """Ask the coordinator; an error it answers with is raised here.

        Parameters
        ----------
        operation, message:
            What is asked.
        bound:
            Seconds that it may take; None where the coordinator itself has one.

        Raises
        ------
        LimadaskError
            Whatever it answers with; also when the scheduler cannot be reached.
        """
        client, question = self.client, f"limadask_{operation}"
        try:
            answer = client.sync(
                getattr(client.scheduler, question), **message, callback_timeout=bound
            )
        except TimeoutError as error:
            raise LimadaskError(
                f"the scheduler has not answered within {bound} s: it is dead, or very busy"
            ) from error
        except OSError as error:
            raise LimadaskError(f"the scheduler cannot be reached: {error}") from error
        if isinstance(answer, dict) and "error" in answer and "status" not in answer:
            raise loads(answer["error"])
        return answer

    def ask_worker(self, address: str, operation: str, **message: Any) -> Any:
        """Ask a worker directly: pixels do not go through the scheduler."""
        client = self.client
        try:
            answer = client.sync(getattr(client.rpc(address), f"limadask_{operation}"), **message)
        except OSError as error:
            raise LimadaskError(f"worker {address} cannot be reached: {error}") from error
        if "error" in answer:
            raise LimadaskError(f"worker {address}: {answer['error']}")
        return answer["result"]

    def listen(self, *uuids: str) -> Listener:
        """Return a listener that hears the events of some acquisitions from now on."""
        listener = Listener()
        for uuid in uuids:
            self._listeners.setdefault(uuid, weakref.WeakSet()).add(listener)
        return listener

    def _hear(self, stamped: tuple[float, dict[str, Any]]) -> None:
        _, message = stamped
        for listener in list(self._listeners.get(message["uuid"], ())):
            listener.put(from_message(message))


class Listener:
    """The events of some acquisitions, waiting to be read; nothing is called back."""

    def __init__(self) -> None:
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


def install(client: Client) -> None:
    """Install limadask on the scheduler and all workers, now and later.

    Raises
    ------
    ConfigError
        When limadask is not installed there.
    """
    for plugin, place in (
        (LimadaskScheduler(), "scheduler"),
        (LimadaskNanny(), "workers"),
        (LimadaskWorker(), "workers"),
    ):
        try:
            client.register_plugin(plugin)
        except (ModuleNotFoundError, ImportError) as error:
            raise ConfigError(
                f"limadask cannot be imported on the {place}: install it there, in the same "
                f"version as here ({error})",
                node="cluster",
                field=place,
                value=client.scheduler.address,
            ) from error
