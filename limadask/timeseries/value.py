"""What can be recorded: a number or a short text, under a name that NeXus allows."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from limadask.errors import ConfigError

LONGEST = 1000
"""Characters of a text."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
Value = float | str


def checked_name(name: Any) -> str:
    """Return a name under which values can be recorded.

    Raises
    ------
    ConfigError
        When it can be none.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(
            "nothing can be recorded under this name", node="metadata", field="name", value=name,
            allowed="at most 63 letters, digits and _, a digit not first",
        )  # fmt: skip
    return name


def checked_value(value: Any, name: str) -> Value:
    """Return a number as a float, a text as it is.

    Raises
    ------
    ConfigError
        When it is neither, or a text of more than ``LONGEST`` characters.
    """
    if isinstance(value, np.generic | np.ndarray) and np.ndim(value) == 0:
        value = value.item()
    if isinstance(value, str) and len(value) <= LONGEST:
        return value
    if isinstance(value, bool | int | float):
        try:
            return float(value)
        except OverflowError:
            pass
    raise ConfigError(
        "this cannot be recorded", node="metadata", field=name, value=value,
        allowed=f"a real number, or a text of at most {LONGEST} characters",
    )  # fmt: skip
