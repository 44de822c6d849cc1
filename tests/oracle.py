"""What decodes the payloads of DECTRIS detectors, that nobody here wrote.

DECTRIS' own ``dectris-compression`` where it is installed: without wheels it needs a compiler.
Else the filters of HDF5, for which a payload is a chunk.
"""

from __future__ import annotations

from typing import Literal

import h5py
import hdf5plugin

try:
    from dectris.compression import decompress as _decompress
except ImportError:
    _decompress = None


def decompress(payload: bytes, algorithm: Literal["bslz4", "lz4"], elem_size: int) -> bytes:
    """Return the bytes of the pixels in a payload."""
    if _decompress is not None:
        return bytes(_decompress(payload, algorithm, elem_size=elem_size))
    count = int.from_bytes(payload[:8], "big") // elem_size
    filters = {"bslz4": hdf5plugin.Bitshuffle(cname="lz4"), "lz4": hdf5plugin.LZ4()}
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        data = file.create_dataset(
            "data", (count,), f"<u{elem_size}", chunks=(count,), **filters[algorithm]
        )
        data.id.write_direct_chunk((0,), payload)
        return bytes(data[()].tobytes())
