"""Which thresholds of a detector deliver images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

Channel = Literal["threshold_1", "threshold_2", "threshold_3", "threshold_4", "difference"]
"""The name of a channel, as the stream has it."""

CHANNELS: tuple[Channel, ...] = get_args(Channel)
MODES = {one: f"threshold/{one.removeprefix('threshold_')}/mode" for one in CHANNELS}
"""What switches a channel."""


def channels_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the channels that are enabled; a detector with one threshold has but that one."""
    enabled = [name for name, mode in MODES.items() if config.get(mode) == "enabled"]
    return tuple(enabled) or CHANNELS[:1]


def energy_of(channel: str, config: Mapping[str, Any]) -> float | None:
    """Return the energy above which photons count in a channel, eV, if the detector says it."""
    number = channel.removeprefix("threshold_")
    if channel == "difference":  # counts what lies between two thresholds
        number = str(config.get("threshold/difference/lower_threshold", 1))
    energy = config.get(f"threshold/{number}/energy")
    if energy is None and number == "1":
        energy = config.get("threshold_energy")
    return None if energy is None else float(energy)
