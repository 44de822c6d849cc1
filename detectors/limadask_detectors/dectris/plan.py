"""How the frames of an acquisition are divided into triggers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from limadask.errors import ConfigError
from limadask.parameters import HardwareParameters, TriggerMode

MODES: dict[TriggerMode, str] = {
    "internal": "ints", "software": "ints", "external": "exts", "gate": "exte",
}  # fmt: skip
"""Our trigger modes, and what the SIMPLON API calls them."""
MOST = 2_000_000_000
"""Images and triggers of an endless series, where the detector does not say how many it can."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a series consists of.

    Parameters
    ----------
    mode:
        Our trigger mode.
    triggers:
        How often it is triggered.
    images:
        Frames that each trigger starts.
    """

    mode: TriggerMode
    triggers: int
    images: int

    @classmethod
    def of(cls, share: HardwareParameters, most: int = MOST) -> Plan:
        """Divide what falls to the detector; ``most`` images where there is to be no end.

        Raises
        ------
        ConfigError
            When the frames are no whole number of triggers.
        """
        frames, images = share.nb_frames or most, share.nb_frames_per_trigger
        if share.trigger_mode == "internal":
            return cls("internal", 1, frames)
        if share.trigger_mode == "gate" and images != 1:
            raise _refused("each gate is one frame", "nb_frames_per_trigger", images, 1)
        if share.nb_frames % images:
            raise _refused(
                f"triggers of {images} frames do not add up to it", "nb_frames", share.nb_frames,
                f"a multiple of {images}",
            )  # fmt: skip
        return cls(share.trigger_mode, max(frames // images, 1), images)

    @classmethod
    def found(cls, config: dict[str, Any]) -> Plan:
        """Return what a detector is set to that others control."""
        modes: dict[str, TriggerMode] = {"exts": "external", "ints": "internal"}
        mode = modes.get(str(config.get("trigger_mode")), "gate")
        triggers = int(config.get("ntrigger", 1))
        if mode == "internal" and triggers > 1:
            mode = "software"
        return cls(mode, triggers, 1 if mode == "gate" else int(config.get("nimages", 1)))

    @property
    def values(self) -> dict[str, Any]:
        """What is to be set, by the names of the SIMPLON API."""
        return {
            "trigger_mode": MODES[self.mode], "nimages": self.images, "ntrigger": self.triggers,
        }  # fmt: skip


def _refused(message: str, field: str, value: Any, allowed: Any) -> ConfigError:
    return ConfigError(message, node="acquisition", field=field, value=value, allowed=allowed)
