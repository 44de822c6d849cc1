"""Names of files that hold one image each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from limadask.errors import ConfigError

FIELDS = ("prefix", "number", "band", "band_name", "uuid", "format")
"""What a name may consist of."""
_NUMBER = re.compile(r"(0?\d*[dxXob]?)?")
_TRIED = (*range(121), 999, 1000, 99_999, 100_000, 9_999_999, 10_000_000)
"""Frames for which names are compared."""
_PATTERNS = {"number": "[0-9A-Fa-f]+", "band": "[0-9A-Fa-f]+", "band_name": ".+", "uuid": ".+"}


@dataclass(frozen=True, slots=True)
class ImageNames:
    """A template of names, such as ``{prefix}_{number:05d}.{format}``.

    Parameters
    ----------
    template:
        The template, as :meth:`str.format` has it.
    prefix, format, uuid:
        What stands for these fields.
    bands:
        Names of the bands.
    """

    template: str
    prefix: str
    format: str
    uuid: str
    bands: tuple[str, ...]

    def name(self, number: int, band: int) -> str:
        """Return the name of one image."""
        return self.template.format(
            prefix=self.prefix,
            number=number,
            band=band,
            band_name=re.sub(r"\W+", "_", self.bands[band]),
            uuid=self.uuid,
            format=self.format,
        )

    def check(self, suffixes: Sequence[str]) -> None:
        """See that names end as the format's do, and that no two images get the same one.

        Raises
        ------
        ConfigError
            When they do not, or naming two that do.
        """
        if not self.name(0, 0).endswith(tuple(suffixes)):
            raise ConfigError(
                f"the names of {self.format} files end with {' or '.join(suffixes)}",
                field="name",
                value=self.template,
                allowed="such as {prefix}_{number:05d}.{format}",
            )
        seen: dict[str, tuple[int, int]] = {}
        for number in _TRIED:
            for band in range(len(self.bands)):
                name = self.name(number, band)
                other = seen.setdefault(name, (number, band))
                if other != (number, band):
                    raise ConfigError(
                        f"frame {other[0]} band {other[1]} and frame {number} band {band} would "
                        f"both be {name}",
                        field="name",
                        value=self.template,
                        allowed="{number}, and {band} or {band_name} where there are several bands",
                    )


def check_template(template: str) -> None:
    """See that a template has only fields that there are, and makes names in one folder.

    Raises
    ------
    ConfigError
        When it does not.
    """
    try:
        fields = _fields(template)
    except ValueError as error:
        raise _refused(f"is no template: {error}", template) from error
    for name, form, conversion in fields:
        if name not in FIELDS:
            raise _refused(f"has no field {name!r}", template)
        is_number = name in ("number", "band")
        if conversion or (form and not (is_number and _NUMBER.fullmatch(form))):
            raise _refused(f"cannot write {name} as {form or conversion!r}", template)
    if "number" not in (name for name, *_ in fields):
        raise _refused("has no {number}: all frames would be one file", template)
    if Path(template).name != template or template.startswith("."):
        raise _refused("is a name without folders that does not begin with a point", template)


def pattern(template: str, prefix: str, format_name: str) -> re.Pattern[str]:
    """Return what matches the names that a template makes."""
    known = {"prefix": re.escape(prefix), "format": re.escape(format_name), **_PATTERNS}
    pieces = []
    for literal, name, *_ in Formatter().parse(template):
        pieces.append(re.escape(literal) + (known[name] if name else ""))
    return re.compile("".join(pieces))


def _fields(template: str) -> list[tuple[str, str, str | None]]:
    found: list[tuple[Any, ...]] = list(Formatter().parse(template))
    return [(name, form, conversion) for _, name, form, conversion in found if name is not None]


def _refused(why: str, template: str) -> ConfigError:
    allowed = "such as {prefix}_{number:05d}.{format}, with " + ", ".join(FIELDS)
    return ConfigError(f"the name {why}", value=template, allowed=allowed)
