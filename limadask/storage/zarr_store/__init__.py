"""Frames as a Zarr v3 store: a chunk, and a file, for each; shards afterwards.

Metadata and what stands beside the frames are made by zarr-python; chunks are encoded in memory and
put in their places by the workers, each frame by itself, without a lock.
"""

from limadask.storage.zarr_store.chunks import MOST, ZarrCompression, chunk_encoder
from limadask.storage.zarr_store.layout import INVALID, ROOT, Fates, Layout
from limadask.storage.zarr_store.reading import open_store
from limadask.storage.zarr_store.shards import shard_frames
from limadask.storage.zarr_store.store import RUNNING, ZarrStore

__all__ = [
    "INVALID",
    "MOST",
    "ROOT",
    "RUNNING",
    "Fates",
    "Layout",
    "ZarrCompression",
    "ZarrStore",
    "chunk_encoder",
    "open_store",
    "shard_frames",
]
