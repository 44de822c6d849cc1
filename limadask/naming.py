"""Names of files with fields in them, such as ``{sample}_{run:04d}``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from string import Formatter
from typing import Any

from limadask.errors import ConfigError

Names = Mapping[str, str | int | float]
RUN = "run"
"""The field that counts runs; what it is is known where the files lie."""


def names_of(uuid: str, seconds: float, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of one acquisition: ``uuid``, ``date``, ``time``, and its metadata.

    Parameters
    ----------
    uuid:
        The acquisition.
    seconds:
        When it is prepared, since 1970. Date and time are UTC.
    metadata:
        What the user gave; only numbers and texts are fields.
    """
    when = datetime.fromtimestamp(seconds, UTC)
    known = {name: one for name, one in metadata.items() if isinstance(one, str | int | float)}
    return {**known, "uuid": uuid, "date": f"{when:%Y%m%d}", "time": f"{when:%H%M%S}"}


def fill(template: str, names: Names) -> str:
    """Return a template with all fields filled in; ``{{`` stands for a brace.

    Raises
    ------
    ConfigError
        When it is no template, or there is no such field; it names those there are.
    """
    return "".join(
        text + ("" if field is None else _filled(template, field, spec, names))
        for text, field, spec in _parsed(template)
    )


def has_run(template: str) -> bool:
    """Tell whether a template counts runs."""
    return any(field == RUN for _, field, _ in _parsed(template))


def next_run(template: str, names: Names, files: Iterable[str]) -> int:
    """Return the number of the next run, from 1, after those that have files.

    Parameters
    ----------
    template:
        How the files' names begin.
    names:
        The other fields.
    files:
        Names of the files there are.
    """
    pattern = "".join(
        re.escape(text)
        + ("" if field is None
           else r"(?P<run>\d+)" if field == RUN
           else re.escape(_filled(template, field, spec, names)))
        for text, field, spec in _parsed(template)
    )  # fmt: skip
    found = (re.match(rf"{pattern}_(?:\d+_\d{{5,}}\.|master\.|manifest\.)", one) for one in files)
    return 1 + max((int(match["run"]) for match in found if match), default=0)


def _parsed(template: str) -> Iterator[tuple[str, str | None, str]]:
    """Yield each text and the field after it with its format, None after the last one."""
    seen = set[str]()
    try:
        for text, field, spec, conversion in Formatter().parse(template):
            is_plain = not conversion and "{" not in (spec or "")
            if field is not None and not (field.isidentifier() and is_plain):
                raise ValueError(f"{field!r} is no field")
            if field == RUN and (field in seen or not re.fullmatch(r"(0\d+)?d?", spec or "")):
                raise ValueError("a run counts once, as {run} or {run:04d}")
            seen.add(field or "")
            yield text, field, spec or ""
    except ValueError as error:
        raise ConfigError(
            f"is no name with fields: {error}", field="prefix", value=template,
            allowed="fields such as {sample}, {date} or {run:04d}; {{ and }} for braces",
        ) from error  # fmt: skip


def _filled(template: str, field: str, spec: str, names: Names) -> str:
    if field not in names:
        raise ConfigError(
            f"there is no field {field!r}", field="prefix", value=template,
            allowed=sorted({*names, RUN}),
        )  # fmt: skip
    try:
        return format(names[field], spec)
    except ValueError as error:
        raise ConfigError(
            f"{field!r} cannot be written as {spec!r}: {error}", field="prefix", value=template,
            allowed="a format that fits its value",
        ) from error  # fmt: skip
