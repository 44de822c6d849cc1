"""Where values come from that change during a run."""

from __future__ import annotations

import queue
from collections.abc import AsyncIterable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from limadask.errors import ConfigError
from limadask.timeseries.value import checked_name

SHORTEST, LONGEST = 0.05, 86_400.0
"""Seconds between two polls."""
MOST_SOURCES = 64
"""Sources of one acquisition: each polled one is a thread."""


@dataclass(frozen=True)
class Polled:
    """A function that is asked for a value again and again while a run goes on.

    It is called without arguments in a thread of its own on a worker that processes, so it must be
    importable there, or be defined in a notebook or script. It returns a number or a text; where
    it raises or hangs, the value is missing and the reason is recorded.

    Parameters
    ----------
    function:
        The function.
    every:
        Seconds from call to call, 0.05 to 86400; a slow one is called again as soon as it returns.
    units:
        Units of its numbers, as NeXus has them: ``K``, ``mm``, …

    Raises
    ------
    ConfigError
        When it is no function, or asked too often.
    """

    function: Callable[[], Any]
    every: float = 1.0
    units: str = ""

    def __post_init__(self) -> None:
        function: object = self.function  # whatever a user may pass
        if not callable(function):
            raise ConfigError(
                "is no function", node="metadata", field="function", value=function,
                allowed="a function without arguments",
            )  # fmt: skip
        every: object = self.every
        if not isinstance(every, int | float) or not SHORTEST <= every <= LONGEST:
            raise ConfigError(
                "no time between two polls", node="metadata", field="every", value=every,
                allowed=f"{SHORTEST} to {LONGEST:.0f} s",
            )  # fmt: skip
        _check_units(self.units)


@dataclass(frozen=True)
class Streamed:
    """Values that come by themselves, to the client that has prepared the run.

    They are taken from ``prepare`` on to the end of the run, and sent on four times a second. Each
    is a number or a text, or a pair of its time, UTC nanoseconds, and that. When the client goes
    away the series ends there.

    Parameters
    ----------
    source:
        A :class:`queue.Queue`, or something to iterate by ``async for``: that is done by an event
        loop of its own.
    units:
        Units of its numbers, as NeXus has them.

    Raises
    ------
    ConfigError
        When it is nothing that values come from.
    """

    source: AsyncIterable[Any] | queue.Queue[Any] | queue.SimpleQueue[Any]
    units: str = ""

    def __post_init__(self) -> None:
        source: object = self.source
        if not _is_stream(source):
            raise ConfigError(
                "no values come from this", node="metadata", field="source", value=source,
                allowed="a queue.Queue, or something to iterate by `async for`",
            )  # fmt: skip
        _check_units(self.units)


def sorted_out(
    metadata: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Polled], dict[str, Streamed]]:
    """Return what is plain data, what is to be polled, and what comes by itself.

    A function is polled once a second; a queue, or what is iterated by ``async for``, is a stream.

    Raises
    ------
    ConfigError
        When a source stands inside other data, there are too many, or a name is none.
    """
    plain, polled, streamed = dict[str, Any](), dict[str, Polled](), dict[str, Streamed]()
    for name, value in metadata.items():
        if isinstance(value, Polled) or callable(value):
            polled[checked_name(name)] = value if isinstance(value, Polled) else Polled(value)
        elif isinstance(value, Streamed) or _is_stream(value):
            streamed[checked_name(name)] = value if isinstance(value, Streamed) else Streamed(value)
        else:
            _check_plain(value, name)
            plain[name] = value
    if (count := len(polled) + len(streamed)) > MOST_SOURCES:
        raise ConfigError(
            "too many sources of values", node="metadata", field="metadata", value=count,
            allowed=f"at most {MOST_SOURCES}",
        )  # fmt: skip
    return plain, polled, streamed


def units_of(polled: Mapping[str, Polled], streamed: Mapping[str, Streamed]) -> dict[str, str]:
    """Return the units of all sources by name."""
    sources: list[tuple[str, Polled | Streamed]] = [*polled.items(), *streamed.items()]
    return {name: source.units for name, source in sources}


def _is_stream(value: object) -> bool:
    return isinstance(value, queue.Queue | queue.SimpleQueue | AsyncIterable)


def _check_plain(value: Any, name: str) -> None:
    """Refuse sources inside other data: they would be saved as a text that says nothing."""
    inner = value.values() if isinstance(value, Mapping) else value
    if not isinstance(value, Mapping | list | tuple):
        return
    for one in inner:
        if isinstance(one, Polled | Streamed) or callable(one) or _is_stream(one):
            raise ConfigError(
                "a source of values stands inside other data", node="metadata", field=name,
                value=one, allowed="sources directly in metadata, each by a name of its own",
            )  # fmt: skip
        _check_plain(one, name)


def _check_units(units: object) -> None:
    if not isinstance(units, str):
        raise ConfigError(
            "no units", node="metadata", field="units", value=units, allowed="a text, such as 'K'"
        )
