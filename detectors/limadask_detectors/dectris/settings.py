"""What a detector is to be set to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from limadask.errors import ConfigError
from limadask_detectors.dectris.channels import MODES
from limadask_detectors.dectris.description import KEYS
from limadask_detectors.dectris.key import keys_of
from limadask_detectors.dectris.simplon import Part, Simplon
from limadask_detectors.dectris.value import Value

LARGE = ("flatfield", "pixel_mask", "countrate_correction_table")
"""Last words of the names of values that are images or tables."""
OLDEST = "legacy"
"""The format of streams that all detectors have."""
SERIES = ("count_time", "frame_time", "nimages", "ntrigger", "trigger_mode")
"""The values that say what a series consists of."""


class Setting(NamedTuple):
    """A value that is asked for."""

    field: str
    """Who asks for it: a field of ours."""
    part: Part
    """The part of the control unit that has it."""
    name: str
    """Its name there."""
    value: Any
    """The value."""


def settings_of(model: BaseModel) -> list[Setting]:
    """Return what the fields of a model ask for; a field that is None asks for nothing."""
    return [
        Setting(field, key.part, name, value)
        for field, key in keys_of(type(model)).items()
        if (given := getattr(model, field)) is not None
        for name, value in key.values(given).items()
    ]


def stream_settings(stream_format: str, api: Simplon) -> list[Setting]:
    """Return what enables a stream; a detector of one format may not have its name."""
    asked = {"mode": "enabled", "format": stream_format}
    if stream_format == OLDEST and api.find("format", "stream") is None:
        del asked["format"]
    return [Setting("stream", "stream", *one) for one in asked.items()]


def channel_settings(channels: Sequence[str], api: Simplon) -> list[Setting]:
    """Return what enables these channels and no others.

    Those that are disabled come first, since some channels exclude each other.

    Raises
    ------
    ConfigError
        When the detector does not have one of them.
    """
    known = [one for one, mode in MODES.items() if api.find(mode) is not None]
    for channel in channels:
        if channel not in known:
            raise ConfigError(
                "this detector has no such channel; leave channels out where it has but one",
                node="detector", field="channels", value=channel, allowed=known,
            )  # fmt: skip
    states = {one: "enabled" if one in channels else "disabled" for one in known}
    ordered = sorted(known, key=lambda one: states[one])
    return [Setting("channels", "detector", MODES[one], states[one]) for one in ordered]


def check(settings: Iterable[Setting], api: Simplon) -> list[Setting]:
    """Look whether the detector allows all of it; return what differs from what it is set to.

    Raises
    ------
    ConfigError
        When it does not allow a value, or does not have it at all.
    """
    changes = []
    for one in settings:
        found = api.find(one.name, one.part)
        if found is None:
            raise ConfigError(
                f"this detector has no {one.name}; leave it out", node="detector",
                field=one.field, value=one.value, allowed="None",
            )  # fmt: skip
        found.check(one.field, one.name, one.value)
        if found.value != one.value:
            changes.append(one)
    return changes


def put(settings: Iterable[Setting], api: Simplon) -> None:
    """Set what is asked for."""
    for one in settings:
        api.put(one.name, one.value, one.part)


def effective(api: Simplon) -> dict[str, Any]:
    """Return all that the detector is set to, by the names of the SIMPLON API, but images."""
    names = dict.fromkeys((*api.names(), *KEYS, *SERIES))
    return api.values(one for one in names if not one.endswith(LARGE))


def limits(model: type[BaseModel], api: Simplon) -> dict[str, Value]:
    """Return what the detector says of each value that can be set from here, by its name."""
    names = {name: key.part for key in keys_of(model).values() for name in key.names}
    names.update(dict.fromkeys((*MODES.values(), *SERIES), "detector"))
    found = {name: api.find(name, part) for name, part in names.items()}
    return {name: one for name, one in found.items() if one is not None}
