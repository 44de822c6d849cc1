"""The EIGER of ``tickit-devices``, put right; runs in the emulator's environment.

As shipped (tickit-devices 0.4.1, tickit 0.4.3), it answers every ``arm`` with sequence id 2, where
a detector answers with the number of the series that its stream has. And of two commands that come
close together, the second may take away the update of the device that the first has asked for,
after which nothing is updated any more.

The PUSH socket of a stream binds and also connects to its own address, and with old versions of
ZeroMQ every second message went into that pipe, which nobody reads. With pyzmq 25 to 27 nothing
is lost so; here it only binds all the same, as a detector does.
"""

from __future__ import annotations

import ctypes
import signal

import aiozmq
import pydantic.v1.dataclasses
import zmq
from aiohttp import web
from tickit.adapters.io import ZeroMqPushIo
from tickit.adapters.specifications import HttpEndpoint
from tickit.core.management.schedulers.master import MasterScheduler
from tickit_devices.eiger import Eiger
from tickit_devices.eiger.eiger_adapters import DETECTOR_API, EigerRESTAdapter

PR_SET_PDEATHSIG = 1
COMMAND = f"/{DETECTOR_API}/command/"


class CountingAdapter(EigerRESTAdapter):
    """Answers with the number of the series."""

    @HttpEndpoint.put(COMMAND + "arm", interrupt=True)
    async def arm_eiger(self, request):
        await super().arm_eiger(request)
        return self._series()

    @HttpEndpoint.put(COMMAND + "disarm", interrupt=True)
    async def disarm_eiger(self, request):
        await super().disarm_eiger(request)
        return self._series()

    @HttpEndpoint.put(COMMAND + "cancel", interrupt=True)
    async def cancel_eiger(self, request):
        await super().cancel_eiger(request)
        return self._series()

    @HttpEndpoint.put(COMMAND + "abort", interrupt=True)
    async def abort_eiger(self, request):
        await super().abort_eiger(request)
        return self._series()

    def _series(self):
        return web.json_response({"sequence id": self.device._series_id})


class KeepingScheduler:
    """What is put into the scheduler: no update that has been asked for gets lost."""

    tick, ask = MasterScheduler._do_tick, MasterScheduler.add_wakeup

    def add_wakeup(self, component, when):
        self.asked = {**getattr(self, "asked", {}), component: when}
        KeepingScheduler.ask(self, component, when)

    async def _do_tick(self):
        while not self.wakeups:
            self.new_wakeup.clear()
            await self.new_wakeup.wait()
        await KeepingScheduler.tick(self)
        for component, when in self.asked.items():
            if component not in self.wakeups and when > self.ticker.time:
                KeepingScheduler.ask(self, component, when)


MasterScheduler.add_wakeup = KeepingScheduler.add_wakeup
MasterScheduler._do_tick = KeepingScheduler._do_tick


async def bound(host, port):
    return await aiozmq.create_zmq_stream(zmq.PUSH, bind=f"tcp://{host}:{port}")


@pydantic.v1.dataclasses.dataclass
class CountingEiger(Eiger):
    """An EIGER that tells the number of each series."""

    def __call__(self):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # it ends with its tests
        component = super().__call__()
        ports = iter((self.stream_legacy_port, self.stream_cbor_port))
        for container in component.adapters:
            if isinstance(container.adapter, EigerRESTAdapter):
                container.adapter = CountingAdapter(component.device)
            if isinstance(container.io, ZeroMqPushIo):
                container.io = ZeroMqPushIo(self.stream_host, next(ports), bound)
        return component
