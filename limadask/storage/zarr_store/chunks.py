"""Zarr chunks, encoded in memory without the GIL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numcodecs import Blosc, Zstd
from numpy.typing import NDArray

from limadask.errors import ConfigError

ZarrCompression = Literal["blosc_zstd", "blosc_lz4", "zstd", "none"]
MOST = (1 << 31) - 17
"""Bytes that Blosc takes at most."""
_LEVEL = 1


def chunk_encoder(compression: ZarrCompression) -> Callable[[NDArray[Any]], bytes]:
    """Return the function that makes a chunk of an array."""
    if compression == "none":
        return lambda pixels: pixels.tobytes()
    if compression == "zstd":
        codec = Zstd(level=_LEVEL)
    else:
        cname = compression.removeprefix("blosc_")
        codec = Blosc(cname=cname, clevel=_LEVEL, shuffle=Blosc.BITSHUFFLE)
    return lambda pixels: bytes(codec.encode(np.ascontiguousarray(pixels)))


def codec_of(compression: ZarrCompression, itemsize: int) -> Any:
    """Return the codec that a Zarr array names, so that readers decode such chunks."""
    codecs = zarr_python().codecs
    if compression == "none":
        return None
    if compression == "zstd":
        return codecs.ZstdCodec(level=_LEVEL)
    cname = compression.removeprefix("blosc_")
    return codecs.BloscCodec(cname=cname, clevel=_LEVEL, shuffle="bitshuffle", typesize=itemsize)


def zarr_python() -> Any:
    """Return the package ``zarr``.

    Raises
    ------
    ConfigError
        When it is not installed.
    """
    try:
        import zarr
    except ImportError as error:
        raise ConfigError(
            "Zarr stores need a package that is missing: pip install 'limadask[zarr]', on every "
            "worker",
            field="task",
            value="save_zarr",
            allowed=f"once {error.name or 'zarr'} is installed",
        ) from None
    return zarr
