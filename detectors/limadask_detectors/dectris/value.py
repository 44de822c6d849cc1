"""One value of a detector, with what the detector itself says of it."""

from __future__ import annotations

from typing import Any

from limadask.errors import ConfigError
from limadask.model import Model


class Value(Model):
    """A value as the detector tells it."""

    value: Any
    """The value."""
    unit: str = ""
    """Its unit, if it has one and the detector tells it."""
    minimum: float | None = None
    """Lowest value allowed; None where the detector does not say."""
    maximum: float | None = None
    """Highest value allowed; None where the detector does not say."""
    allowed: tuple[Any, ...] = ()
    """All values allowed; empty where the detector does not say."""
    access: str = ""
    """``r`` for what can only be read, ``rw`` for what can be set, …"""
    kind: str = ""
    """What it is: ``float``, ``uint``, ``string``, ``bool``, …"""

    @classmethod
    def answered(cls, answer: dict[str, Any]) -> Value:
        """Make it from an answer of the SIMPLON API."""
        return cls(
            value=answer["value"],
            unit=str(answer.get("unit") or ""),
            minimum=_number(answer.get("min")),
            maximum=_number(answer.get("max")),
            allowed=tuple(answer.get("allowed_values") or ()),
            access=str(answer.get("access_mode") or ""),
            kind=str(answer.get("value_type") or ""),
        )

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest value allowed; 0 and infinity where the detector does not say."""
        low = 0.0 if self.minimum is None else self.minimum
        return low, float("inf") if self.maximum is None else self.maximum

    def check(self, field: str, name: str, asked: Any) -> None:
        """Look whether the detector allows a value.

        Parameters
        ----------
        field:
            Who asks for it: a field of ours.
        name:
            What the SIMPLON API calls it.
        asked:
            The value.

        Raises
        ------
        ConfigError
            When it does not.
        """
        if asked == self.value:
            return
        if self.access and "w" not in self.access:
            raise self._refused(field, f"this detector does not let {name} be set", asked)
        if self.allowed and asked not in self.allowed:
            raise self._refused(field, f"this detector has no such {name}", asked)
        if isinstance(asked, int | float) and not isinstance(asked, bool):
            too_low = self.minimum is not None and asked < self.minimum
            if too_low or (self.maximum is not None and asked > self.maximum):
                raise self._refused(field, f"this detector cannot set {name} to that", asked)

    def _refused(self, field: str, message: str, asked: Any) -> ConfigError:
        return ConfigError(message, node="detector", field=field, value=asked, allowed=self._said)

    @property
    def _said(self) -> str:
        """What the detector allows, in words."""
        if self.access and "w" not in self.access:
            return f"{self.value}, as it is"
        if self.allowed:
            return ", ".join(map(str, self.allowed))
        low, high = (_bound(one) for one in (self.minimum, self.maximum))
        return f"{low} to {high} {self.unit}".rstrip()


def _number(given: Any) -> float | None:
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    return float(given) if is_number else None


def _bound(given: float | None) -> str:
    return "any" if given is None else f"{given:g}"
