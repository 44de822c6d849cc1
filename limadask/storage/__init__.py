"""Files: codecs, the series of one worker, the master over all, and finding images."""

from limadask.storage.codec import Compression, dataset_options, encoder
from limadask.storage.find import absolute_path, find_images, is_hdf5, read_image, split_path
from limadask.storage.master import write_master
from limadask.storage.series import Chunks, FileSeries, next_number, series_files

__all__ = [
    "Chunks",
    "Compression",
    "FileSeries",
    "absolute_path",
    "dataset_options",
    "encoder",
    "find_images",
    "is_hdf5",
    "next_number",
    "read_image",
    "series_files",
    "split_path",
    "write_master",
]
