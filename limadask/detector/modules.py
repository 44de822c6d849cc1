"""Which part of a detector with modules falls to which receiver."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from limadask.detector.contract import DetectorInfo
from limadask.detector.deal import Deal
from limadask.errors import ConfigError
from limadask.geometry import Rect


def part_of(info: DetectorInfo, deal: Deal) -> Rect:
    """Return the smallest rectangle around the modules of one receiver, in detector pixels.

    Modules are shared out in their order, as evenly as can be.

    Raises
    ------
    ConfigError
        When there are more receivers than modules.
    """
    count = len(info.modules)
    if deal.count > count:
        raise ConfigError(
            f"{info.model} has {count} module(s), too few for {deal.count} receivers",
            node="topology",
            field="receivers",
            value=deal.count,
            allowed=f"at most {count} under dispatch partial",
        )
    first, stop = (count * one // deal.count for one in (deal.index, deal.index + 1))
    if deal.count == 1:
        return Rect(0, 0, *info.shape)
    own = info.modules[first:stop]
    y, x = min(one.y for one in own), min(one.x for one in own)
    height = max(one.y + one.height for one in own) - y
    width = max(one.x + one.width for one in own) - x
    return Rect(y, x, height, width)


def gaps_of(info: DetectorInfo) -> NDArray[np.bool_] | None:
    """Return where no module is, shape ``(y, x)``; None where they cover the image."""
    mask = np.ones(info.shape, bool)
    for module in info.modules:
        mask[module.slices] = False
    return mask if mask.any() else None
