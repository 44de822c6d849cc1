"""Files: codecs, the series of one worker, the master over all, and finding images."""

from limadask.storage.codec import Compression, dataset_options, encoder
from limadask.storage.decoding import compile_checks, decodable, sound, unpack, unpacked
from limadask.storage.entry import Chunks, FrameLayout, Layout
from limadask.storage.find import (
    absolute_path,
    check_sources,
    find_images,
    is_hdf5,
    read_image,
    split_path,
)
from limadask.storage.joining import joined
from limadask.storage.manifest import Digests, digest, write_manifest
from limadask.storage.master import write_master
from limadask.storage.parts import Contents, files_of_run, read_contents, unreadable
from limadask.storage.product_entry import ProductLayout, check_products
from limadask.storage.recovery import recover
from limadask.storage.rescue import Rescue, Rescued, rescue
from limadask.storage.run_entry import Known, RunLayout
from limadask.storage.series import FileSeries, next_number, series_files
from limadask.storage.soundness import Soundness
from limadask.storage.sparse_entry import SparseChunks, SparseLayout, by_frame

__all__ = [
    "Chunks",
    "Compression",
    "Contents",
    "Digests",
    "FileSeries",
    "FrameLayout",
    "Known",
    "Layout",
    "ProductLayout",
    "Rescue",
    "Rescued",
    "RunLayout",
    "Soundness",
    "SparseChunks",
    "SparseLayout",
    "absolute_path",
    "by_frame",
    "check_products",
    "check_sources",
    "compile_checks",
    "dataset_options",
    "decodable",
    "digest",
    "encoder",
    "files_of_run",
    "find_images",
    "is_hdf5",
    "joined",
    "next_number",
    "read_contents",
    "read_image",
    "recover",
    "rescue",
    "series_files",
    "sound",
    "split_path",
    "unpack",
    "unpacked",
    "unreadable",
    "write_manifest",
    "write_master",
]
