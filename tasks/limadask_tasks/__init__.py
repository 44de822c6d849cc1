"""Tasks that come with limadask, written as a third party would."""

from limadask_tasks.accumulate import Accumulate
from limadask_tasks.assemble import Assemble
from limadask_tasks.background import Background
from limadask_tasks.bin import Bin
from limadask_tasks.failing import Failing
from limadask_tasks.flatfield import Flatfield
from limadask_tasks.geometry import Crop, Flip, Rotate
from limadask_tasks.mask import Mask
from limadask_tasks.min_intensity import MinIntensity
from limadask_tasks.min_peaks import MinPeaks
from limadask_tasks.observe import Observe
from limadask_tasks.roi_profiles import RoiProfiles
from limadask_tasks.roi_statistics import RoiStatistics
from limadask_tasks.save_hdf5 import SaveHdf5
from limadask_tasks.save_images import SaveImages
from limadask_tasks.save_zarr import SaveZarr
from limadask_tasks.stream_pva import StreamPva
from limadask_tasks.stream_zmq import StreamZmq

__all__ = [
    "Accumulate",
    "Assemble",
    "Background",
    "Bin",
    "Crop",
    "Failing",
    "Flatfield",
    "Flip",
    "Mask",
    "MinIntensity",
    "MinPeaks",
    "Observe",
    "RoiProfiles",
    "RoiStatistics",
    "Rotate",
    "SaveHdf5",
    "SaveImages",
    "SaveZarr",
    "StreamPva",
    "StreamZmq",
]
