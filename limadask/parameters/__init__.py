"""What is asked, what the detector took, what the pipeline does."""

from limadask.parameters.acquisition import (
    AcquisitionParameters,
    Binning,
    Flip,
    HardwareParameters,
    Rotation,
    TriggerMode,
)
from limadask.parameters.affinity import Affinity, Cores
from limadask.parameters.run import (
    Buffers,
    Dispatch,
    Every,
    OnError,
    OnOverrun,
    Policy,
    Topology,
)
from limadask.parameters.sets import EffectiveNode, ParameterSets, SoftwareParameters

__all__ = [
    "AcquisitionParameters",
    "Affinity",
    "Binning",
    "Buffers",
    "Cores",
    "Dispatch",
    "EffectiveNode",
    "Every",
    "Flip",
    "HardwareParameters",
    "OnError",
    "OnOverrun",
    "ParameterSets",
    "Policy",
    "Rotation",
    "SoftwareParameters",
    "Topology",
    "TriggerMode",
]
