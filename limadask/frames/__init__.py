"""Frames and blocks: what they hold, what is known of them beforehand, what became of them."""

from limadask.frames.frames import (
    BACKGROUND,
    NEVER,
    Frames,
    Labels,
    concatenated,
    last_of,
    spec_of,
    unlabelled,
)
from limadask.frames.mosaic import Mosaic, region_of
from limadask.frames.packed import ALIGNMENT, Codec, Packed, Scattered, packed_bound
from limadask.frames.sparse_pixels import Background, Backgrounds, SparsePixels
from limadask.frames.spec import DIMS, Spec, fill_value
from limadask.frames.status import CAUSES, Status

__all__ = [
    "ALIGNMENT",
    "BACKGROUND",
    "CAUSES",
    "DIMS",
    "NEVER",
    "Background",
    "Backgrounds",
    "Codec",
    "Frames",
    "Labels",
    "Mosaic",
    "Packed",
    "Scattered",
    "SparsePixels",
    "Spec",
    "Status",
    "concatenated",
    "fill_value",
    "last_of",
    "packed_bound",
    "region_of",
    "spec_of",
    "unlabelled",
]
