"""The EIGER of ``tickit-devices`` whose streams lose nothing; runs in the emulator's environment.

As shipped (tickit 0.4.3), the PUSH socket of a stream binds and also connects to its own address,
so that every second message goes into a pipe that nobody reads. Here it only binds.
"""

from __future__ import annotations

import aiozmq
import pydantic.v1.dataclasses
import zmq
from tickit.adapters.io import ZeroMqPushIo
from tickit_devices.eiger import Eiger


async def bound(host, port):
    return await aiozmq.create_zmq_stream(zmq.PUSH, bind=f"tcp://{host}:{port}")


@pydantic.v1.dataclasses.dataclass
class WholeEiger(Eiger):
    """An EIGER that loses no messages."""

    def __call__(self):
        component = super().__call__()
        ports = iter((self.stream_legacy_port, self.stream_cbor_port))
        for adapter in component.adapters:
            if isinstance(adapter.io, ZeroMqPushIo):
                adapter.io = ZeroMqPushIo(self.stream_host, next(ports), bound)
        return component
