"""Acquire and process the images of 2-D detectors on a Dask cluster."""

import hdf5plugin  # noqa: F401 - whoever imports limadask can read its files, by any library

from limadask.acquisition.acquisition import Acquisition
from limadask.acquisition.batch import Batch
from limadask.acquisition.check import check
from limadask.acquisition.following import Following, attach
from limadask.acquisition.live import LiveResources
from limadask.acquisition.resources import resources
from limadask.cluster.jobs import Slurm, SlurmJobs
from limadask.cluster.slurm import slurm_cluster
from limadask.configuration import Configuration
from limadask.detector import Capabilities, Detector, DetectorInfo, End, Frame, Lost, Receiver
from limadask.errors import (
    AcquisitionFailed,
    ConfigError,
    FallbackWarning,
    LimadaskError,
    StalledError,
    StateError,
)
from limadask.events import (
    Event,
    FileClosed,
    FramesAbsent,
    FramesDone,
    FramesPartial,
    FramesSaved,
    FramesVetoed,
    PressureChanged,
    StateChanged,
    TaskFailed,
)
from limadask.frames import Frames, Spec, Status
from limadask.geometry import Affine, Arc, Grid, Polygon, Rect
from limadask.ledger import Ledger
from limadask.monitoring.picture import plot_waterfall
from limadask.mpi import mpi_task
from limadask.native import native_task
from limadask.parameters import (
    AcquisitionParameters,
    Affinity,
    Binning,
    Buffers,
    HardwareParameters,
    Policy,
    Topology,
)
from limadask.pipeline import Pipeline, Processed, process
from limadask.storage.reading import open_acquisition as open
from limadask.task import (
    Accumulating,
    PixelTask,
    Place,
    Products,
    Reduction,
    RunRecord,
    Sink,
    Task,
    Variable,
    Veto,
    ViewTask,
    task,
    veto,
)
from limadask.timeseries import Polled, Streamed
from limadask.version import __version__

__all__ = [
    "Accumulating",
    "Acquisition",
    "AcquisitionFailed",
    "AcquisitionParameters",
    "Affine",
    "Affinity",
    "Arc",
    "Batch",
    "Binning",
    "Buffers",
    "Capabilities",
    "ConfigError",
    "Configuration",
    "Detector",
    "DetectorInfo",
    "End",
    "Event",
    "FallbackWarning",
    "FileClosed",
    "Following",
    "Frame",
    "Frames",
    "FramesAbsent",
    "FramesDone",
    "FramesPartial",
    "FramesSaved",
    "FramesVetoed",
    "Grid",
    "HardwareParameters",
    "Ledger",
    "LimadaskError",
    "LiveResources",
    "Lost",
    "Pipeline",
    "PixelTask",
    "Place",
    "Policy",
    "Polled",
    "Polygon",
    "PressureChanged",
    "Processed",
    "Products",
    "Receiver",
    "Rect",
    "Reduction",
    "RunRecord",
    "Sink",
    "Slurm",
    "SlurmJobs",
    "Spec",
    "StalledError",
    "StateChanged",
    "StateError",
    "Status",
    "Streamed",
    "Task",
    "TaskFailed",
    "Topology",
    "Variable",
    "Veto",
    "ViewTask",
    "__version__",
    "attach",
    "check",
    "mpi_task",
    "native_task",
    "open",
    "plot_waterfall",
    "process",
    "resources",
    "slurm_cluster",
    "task",
    "veto",
]
