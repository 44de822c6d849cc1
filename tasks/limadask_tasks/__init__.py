"""Tasks that come with limadask, written as a third party would."""

from limadask_tasks.background import Background
from limadask_tasks.flatfield import Flatfield
from limadask_tasks.mask import Mask
from limadask_tasks.roi_statistics import RoiStatistics
from limadask_tasks.save_hdf5 import SaveHdf5

__all__ = ["Background", "Flatfield", "Mask", "RoiStatistics", "SaveHdf5"]
