"""The parts of a benchmark, chosen by ``--part``."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from click import BadParameter


def check_parts(parts: Sequence[str], known: Collection[str]) -> None:
    """Refuse a part that a benchmark has not.

    Raises
    ------
    BadParameter
        When there is no such part; it lists those there are.
    """
    if unknown := [one for one in parts if one not in known]:
        raise BadParameter(f"there is no part {unknown[0]!r}; there are: {', '.join(known)}")
