"""Azimuthal integration: pyFAI's geometry and conventions, compiled loops for the common case."""

from limadask_tasks.azimuthal.integrate1d import Integrate1d
from limadask_tasks.azimuthal.integrate2d import Integrate2d
from limadask_tasks.azimuthal.sigma_clip import SigmaClip

__all__ = ["Integrate1d", "Integrate2d", "SigmaClip"]
