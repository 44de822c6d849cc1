"""Compiled functions as tasks: the C interface, and libraries that keep it."""

from limadask.native.library import include_folder
from limadask.native.task import NativeFrames, NativeProducts, native_task

__all__ = ["NativeFrames", "NativeProducts", "include_folder", "native_task"]
