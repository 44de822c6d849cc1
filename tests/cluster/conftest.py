"""What the tests on real clusters share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import cloudpickle
import pytest
from distributed import Client

import limadask as ld
from limadask_detectors import Simulator


@pytest.fixture(autouse=True)
def _by_value(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let workers get the tasks that a test module defines, though they cannot import it."""
    module: ModuleType = sys.modules[request.module.__name__]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture
def run(client: Client) -> Callable[..., ld.Acquisition]:
    """Run an acquisition of a small simulator to its end."""

    def run(pipe: ld.Pipeline, camera: Simulator | None = None, **fields: Any) -> ld.Acquisition:
        fields = {"nb_frames": 40, "expo_time": 1e-3, **fields}
        acquisition = ld.Acquisition(client, camera or Simulator(shape=(64, 48)), pipe, **fields)
        with acquisition:
            acquisition.prepare()
            acquisition.start()
            acquisition.wait(timeout=60)
        return acquisition

    return run
