"""Tasks that come with limadask, written as a third party would."""

from limadask_tasks.accumulate import Accumulate
from limadask_tasks.assemble import Assemble
from limadask_tasks.azimuthal import Integrate1d, Integrate2d, SigmaClip
from limadask_tasks.background import Background
from limadask_tasks.bin import Bin
from limadask_tasks.combine_bands import CombineBands
from limadask_tasks.demosaic import Demosaic
from limadask_tasks.densify import Densify
from limadask_tasks.difference import Difference
from limadask_tasks.failing import Failing
from limadask_tasks.find_peaks import FindPeaks
from limadask_tasks.flatfield import Flatfield
from limadask_tasks.geometry import Crop, Flip, Rotate
from limadask_tasks.histogram import Histogram
from limadask_tasks.mask import Mask
from limadask_tasks.maximum import Maximum
from limadask_tasks.mean import Mean
from limadask_tasks.min_intensity import MinIntensity
from limadask_tasks.min_peaks import MinPeaks
from limadask_tasks.multi_tau import MultiTau
from limadask_tasks.observe import Observe
from limadask_tasks.roi_profiles import RoiProfiles
from limadask_tasks.roi_statistics import RoiStatistics
from limadask_tasks.save_hdf5 import SaveHdf5
from limadask_tasks.save_images import SaveImages
from limadask_tasks.save_zarr import SaveZarr
from limadask_tasks.select_band import SelectBand
from limadask_tasks.sparsify import Sparsify
from limadask_tasks.sparsify_bragg import SparsifyBragg
from limadask_tasks.stream_pva import StreamPva
from limadask_tasks.stream_zmq import StreamZmq
from limadask_tasks.variance import Variance

__all__ = [
    "Accumulate",
    "Assemble",
    "Background",
    "Bin",
    "CombineBands",
    "Crop",
    "Demosaic",
    "Densify",
    "Difference",
    "Failing",
    "FindPeaks",
    "Flatfield",
    "Flip",
    "Histogram",
    "Integrate1d",
    "Integrate2d",
    "Mask",
    "Maximum",
    "Mean",
    "MinIntensity",
    "MinPeaks",
    "MultiTau",
    "Observe",
    "RoiProfiles",
    "RoiStatistics",
    "Rotate",
    "SaveHdf5",
    "SaveImages",
    "SaveZarr",
    "SelectBand",
    "SigmaClip",
    "Sparsify",
    "SparsifyBragg",
    "StreamPva",
    "StreamZmq",
    "Variance",
]
