"""The cheapest readers there can be."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

import zmq

from limadask_benchmarks.receive.task import FIRST, NEXT, Clock, Task
from limadask_detectors.dectris.connection import ALONE, SHARED

SMALLEST = 1000
"""Bytes of an image; other messages have fewer."""


def drop(task: Task, clock: Clock) -> None:
    """Receive images and let go of them."""
    _receive(task, clock, lambda payload: None)


def write(task: Task, clock: Clock) -> None:
    """Receive images and write them to a file, one after the other."""
    with tempfile.TemporaryFile(buffering=0) as file:
        _receive(task, clock, file.write)


def _receive(task: Task, clock: Clock, take: Callable[[memoryview], object]) -> None:
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        socket.linger, socket.rcvhwm = 0, SHARED if task.count > 1 else ALONE
        socket.rcvtimeo = int(FIRST * 1000)
        socket.connect(task.address)
        while True:
            try:
                parts = [socket.recv(copy=False)]
            except zmq.Again:
                return
            while parts[-1].more:
                parts.append(socket.recv(copy=False))
            payload = max(parts, key=len).buffer
            if len(payload) >= SMALLEST:
                take(payload)
                clock.tick()
                if socket.rcvtimeo > NEXT * 1000:
                    socket.rcvtimeo = int(NEXT * 1000)
