"""Following a detector that somebody else controls."""

from __future__ import annotations

import math
from typing import Any

from limadask.errors import ConfigError
from limadask.parameters import HardwareParameters
from limadask_detectors.dectris.plan import Plan
from limadask_detectors.dectris.settings import effective
from limadask_detectors.dectris.simplon import Simplon


def take_over(
    api: Simplon, share: HardwareParameters, stream_format: str
) -> tuple[dict[str, Any], Plan]:
    """Read what the detector is set to, and change nothing.

    Parameters
    ----------
    api:
        The connection.
    share:
        What is asked; an exposure time that is asked for must be the detector's.
    stream_format:
        The format of its stream that is expected.

    Raises
    ------
    ConfigError
        When its stream is off, or of another format, or its exposure another.
    """
    for name, expected in (("mode", "enabled"), ("format", stream_format)):
        found = api.find(name, "stream")
        if found is not None and found.value != expected:
            raise ConfigError(
                f"the detector's stream has {name} {found.value}, and passive changes nothing: "
                "set it where the detector is controlled, or take the other stream here",
                node="detector", field="stream", value=expected, allowed=found.value,
            )  # fmt: skip
    config = effective(api)
    count = float(config["count_time"])
    if not math.isclose(count, share.expo_time, rel_tol=1e-6):
        raise ConfigError(
            "the detector is set to another exposure, and passive changes nothing: leave it out",
            node="acquisition", field="expo_time", value=share.expo_time, allowed=count,
        )  # fmt: skip
    return config, Plan.found(config)
