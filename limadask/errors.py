"""The errors users meet: each names the object, the value got, what is allowed and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class LimadaskError(Exception):
    """Any error that limadask raises on purpose."""


class ConfigError(LimadaskError, ValueError):
    """Something asked for cannot be done; found before any frame is taken.

    Parameters
    ----------
    node:
        The pipeline node, or the section (``detector``, ``acquisition``, …) at fault.
    field:
        The field of that node.
    value:
        What was given.
    allowed:
        What may be given, in words or as a list.
    message:
        One sentence: what is wrong and what to do.
    """

    def __init__(
        self,
        message: str,
        *,
        node: str | None = None,
        field: str | None = None,
        value: Any = None,
        allowed: Any = None,
    ) -> None:
        super().__init__(message)
        self.message, self.node, self.field = message, node, field
        self.value, self.allowed = value, allowed

    def at(self, node: str) -> ConfigError:
        """Return the same error, naming ``node`` where none is named yet."""
        return self if self.node else ConfigError(self.message, **{**self._parts(), "node": node})

    def within(self, file: str) -> ConfigError:
        """Return the same error, naming the file that it is in."""
        return ConfigError(f"{self.message}, in {file}", **self._parts())

    def _parts(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("node", "field", "value", "allowed")}

    def to_dict(self) -> dict[str, Any]:
        """Return the error as plain data: node, field, value, allowed, message."""
        parts = {name: _plain(part) for name, part in self._parts().items()}
        return {**parts, "message": self.message}

    def __reduce__(self) -> tuple[Any, ...]:
        return _config_error, (self.message, self._parts())

    def __str__(self) -> str:
        where = ".".join(part for part in (self.node, self.field) if part)
        text = f"{where}: {self.message}" if where else self.message
        if self.field is not None:
            text += f" (got {_short(self.value)}"
            text += f"; allowed: {_short(self.allowed)})" if self.allowed is not None else ")"
        return text


class StateError(LimadaskError, RuntimeError):
    """A call that the state of the acquisition does not allow."""


class FallbackWarning(UserWarning):
    """A worker cannot give all that was asked for; the run goes on without, and this says why."""


class AcquisitionFailed(LimadaskError, RuntimeError):  # noqa: N818 - the public face's name
    """The acquisition ended outside its policy; the message says why."""


class SaveError(LimadaskError, OSError):
    """Some frames could not be saved; a sink raises it to tell which of a block."""

    numbers: tuple[int, ...] = ()
    """The frames that are not safe; the block's others are."""


class StalledError(LimadaskError, TimeoutError):
    """Nothing has moved for too long.

    Parameters
    ----------
    stage:
        What does not move: ``detector``, ``processing``, ``closing``, ``scheduler``, …
    last_frame:
        The highest frame number seen so far; -1 where none was.
    message:
        What was waited for, and what to check.
    """

    def __init__(self, stage: str, last_frame: int, message: str) -> None:
        super().__init__(stage, last_frame, message)
        self.stage, self.last_frame, self.message = stage, last_frame, message

    def __str__(self) -> str:
        seen = f"after frame {self.last_frame}" if self.last_frame >= 0 else "with no frame seen"
        return f"{self.stage} stalled {seen}: {self.message}"


def _config_error(message: str, parts: dict[str, Any]) -> ConfigError:
    return ConfigError(message, **parts)


def _plain(value: Any, depth: int = 8) -> Any:
    """Return a value as JSON can have it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if depth and isinstance(value, Mapping):
        return {str(key): _plain(one, depth - 1) for key, one in value.items()}
    if depth and isinstance(value, list | tuple):
        return [_plain(one, depth - 1) for one in value]
    return str(value)


def _short(value: Any, limit: int = 200) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
