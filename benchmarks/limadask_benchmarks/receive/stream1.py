"""Stream v1: parts of JSON and bytes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from limadask_benchmarks.receive.images import Images, bare_block, many
from limadask_benchmarks.receive.messages import EXPOSURE, PERIOD, TICKS, Parts


class Stream1:
    """The messages of stream v1. It has one channel: only the first band is sent."""

    def __init__(self, images: Images) -> None:
        self._images = images
        bare = images.compression == "lz4"
        self._payloads = [bare_block(one) if bare else one for one, *_ in many(images)]
        bits = np.dtype(images.dtype).itemsize * 8
        self._encoding = {"bslz4": f"bs{bits}-lz4<", "lz4": "lz4<", "none": "<"}[images.compression]

    def start(self, series: int, count: int) -> Parts:
        """Return the message that begins a series."""
        return [
            _json(htype="dheader-1.0", series=series, header_detail="basic"),
            _json(nimages=count, ntrigger=1),
        ]

    def image(self, series: int, number: int) -> Parts:
        """Return an image."""
        payload = self._payloads[number % len(self._payloads)]
        start = number * PERIOD * 1_000_000_000 // TICKS
        real = EXPOSURE * 1_000_000_000 // TICKS
        return [
            _json(htype="dimage-1.0", series=series, frame=number, hash=""),
            _json(
                htype="dimage_d-1.0", shape=[*reversed(self._images.shape)],
                type=self._images.dtype, encoding=self._encoding, size=len(payload),
            ),
            payload,
            _json(htype="dconfig-1.0", start_time=start, stop_time=start + real, real_time=real),
        ]  # fmt: skip

    def end(self, series: int) -> Parts:
        """Return the message that ends a series."""
        return [_json(htype="dseries_end-1.0", series=series)]


def _json(**fields: Any) -> bytes:
    return json.dumps(fields).encode()
