"""A detector with the SIMPLON API, controlled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PrivateAttr

from limadask.detector import Capabilities, Detector, DetectorInfo, Receiver
from limadask.errors import ConfigError, StateError
from limadask.parameters import HardwareParameters
from limadask_detectors.dectris import settings
from limadask_detectors.dectris.channels import MODES, Channel, channels_of
from limadask_detectors.dectris.description import KEYS, Stream, describe
from limadask_detectors.dectris.key import Key
from limadask_detectors.dectris.passive import take_over
from limadask_detectors.dectris.plan import MOST, Plan
from limadask_detectors.dectris.readiness import arm, make_idle
from limadask_detectors.dectris.series import Series
from limadask_detectors.dectris.simplon import Simplon
from limadask_detectors.dectris.status import DectrisStatus, read_status
from limadask_detectors.dectris.timing import latency, set_times
from limadask_detectors.dectris.value import Value

Port = Annotated[int, Field(ge=1, le=65535)]
FORMATS: dict[Stream, str] = {"v1": "legacy", "stream2": "cbor"}
"""What the SIMPLON API calls the streams."""
PORTS: dict[Stream, int] = {"v1": 9999, "stream2": 31001}
"""Where a control unit serves them."""


class Dectris(Detector):
    """A detector of DECTRIS with the SIMPLON API: EIGER2, PILATUS4, SELUN.

    It is controlled by HTTP, and its images are pulled from one of the two streams of its control
    unit by one receiver or several. Whatever is None stays as the detector is set.
    """

    recorded: ClassVar[Mapping[str, str]] = {
        "temperature": "degC",
        "humidity": "percent",
        "buffer_free": "percent",
    }
    recorded_every: ClassVar[float] = 2.0

    host: str = Field(min_length=1)
    """Name or address of the detector's control unit."""
    port: Port = 80
    """Port where the control unit serves HTTP."""
    stream: Stream = "stream2"
    """Format of the images: ``stream2`` has all thresholds, ``v1`` the first that is enabled."""
    stream_port: Port | None = None
    """Port of the stream; None takes 31001 for ``stream2`` and 9999 for ``v1``."""
    timeout: float = Field(10.0, gt=0, le=600)
    """Seconds that the control unit may take to answer."""
    passive: bool = False
    """Whether somebody else arms and triggers; then nothing is changed, and the next series is
    taken as it comes, to its end: ``nb_frames`` does not count."""

    header_detail: Annotated[
        Literal["none", "basic", "all"] | None, Key("header_detail", part="stream")
    ] = None
    """What the stream says in front of a series; ``all`` has masks and flatfields too."""
    roi_mode: Annotated[str | None, Key("roi_mode")] = None
    """Part of the sensor that is read out, by the detector's names, such as ``4M-L``."""
    photon_energy: Annotated[PositiveFloat | None, Key("photon_energy")] = None
    """Energy of the photons, eV; a new one sets the first threshold to half of it."""
    channels: tuple[Channel, ...] | None = Field(None, min_length=1)
    """Thresholds that deliver images: ``threshold_1``, ``threshold_2``, ``difference``."""
    threshold_energies: Annotated[
        tuple[PositiveFloat, ...] | None,
        Field(min_length=1, max_length=4),
        Key(*(f"threshold/{number}/energy" for number in (1, 2, 3, 4))),
    ] = None
    """Energies above which photons count, eV, from the first threshold on."""
    compression: Annotated[Literal["bslz4", "lz4", "none"] | None, Key("compression")] = None
    """How images are compressed."""
    counting_mode: Annotated[Literal["normal", "retrigger"] | None, Key("counting_mode")] = None
    """Whether pixels count again while a pulse lasts."""
    auto_summation: Annotated[bool | None, Key("auto_summation")] = None
    """Whether long exposures are summed up in 32 bits."""
    countrate_correction: Annotated[bool | None, Key("countrate_correction_applied")] = None
    """Whether counts are corrected for dead time."""
    flatfield_correction: Annotated[bool | None, Key("flatfield_correction_applied")] = None
    """Whether counts are divided by the flatfield."""
    pixel_mask: Annotated[bool | None, Key("pixel_mask_applied")] = None
    """Whether bad pixels are marked in the images."""
    virtual_pixel_correction: Annotated[bool | None, Key("virtual_pixel_correction_applied")] = None
    """Whether counts of pixels between chips are spread over virtual ones."""
    trigger_start_delay: Annotated[NonNegativeFloat | None, Key("trigger_start_delay")] = None
    """Seconds from a trigger to the first exposure."""
    detector_distance: Annotated[PositiveFloat | None, Key("detector_distance")] = None
    """Distance from the sample, m."""
    beam_centre: Annotated[tuple[float, float] | None, Key("beam_center_y", "beam_center_x")] = None
    """Where the direct beam hits, ``(y, x)`` in pixels."""
    omega_start: Annotated[float | None, Key("omega_start")] = None
    """Where omega stands when the first frame begins, degrees."""
    omega_increment: Annotated[float | None, Key("omega_increment")] = None
    """How far omega goes from one frame to the next, degrees."""
    chi_start: Annotated[float | None, Key("chi_start")] = None
    """Where chi stands when the first frame begins, degrees."""
    chi_increment: Annotated[float | None, Key("chi_increment")] = None
    """How far chi goes from one frame to the next, degrees."""
    phi_start: Annotated[float | None, Key("phi_start")] = None
    """Where phi stands when the first frame begins, degrees."""
    phi_increment: Annotated[float | None, Key("phi_increment")] = None
    """How far phi goes from one frame to the next, degrees."""
    kappa_start: Annotated[float | None, Key("kappa_start")] = None
    """Where kappa stands when the first frame begins, degrees."""
    kappa_increment: Annotated[float | None, Key("kappa_increment")] = None
    """How far kappa goes from one frame to the next, degrees."""
    _series: Series | None = PrivateAttr(None)
    _armed: DetectorInfo | None = PrivateAttr(None)

    # ---- what it says ---------------------------------------------------------------------------

    def info(self) -> DetectorInfo:
        """Say what it is, as it would be with these parameters.

        Raises
        ------
        SimplonError
            When its control unit does not answer as one does.
        """
        with self._connect() as api:
            config = api.values(KEYS)
        return describe(config if self.passive else {**config, **self._asked()}, self.stream)

    def capabilities(self) -> Capabilities:
        """Say what it can do, within its own limits."""
        with self._connect() as api:
            count, frame = api.value("count_time"), api.value("frame_time")
            images = api.value("nimages")
        shortest, longest = count.range
        expo_time = min(max(float(count.value), shortest), longest)
        return Capabilities(
            trigger_modes=("internal", "software", "external", "gate"),
            expo_time_range=(shortest, longest),
            default_expo_time=expo_time,
            latency_time_range=(0.0, frame.range[1]),
            # several could not agree on the series that somebody else arms
            dispatch=("single",) if self.passive else ("single", "dynamic"),
            max_nb_frames=None if self.passive else int(images.maximum or MOST),
        )

    def status(self) -> DectrisStatus:
        """Say how it is."""
        with self._connect() as api:
            return read_status(api)

    def readings(self) -> dict[str, Any]:
        """Say what is recorded while it acquires."""
        with self._connect() as api:
            status = read_status(api, self.recorded)
        return {name: getattr(status, name) for name in self.recorded}

    def limits(self) -> dict[str, Value]:
        """Say value, unit, limits and access of each parameter, by the names of the SIMPLON API."""
        with self._connect() as api:
            return settings.limits(type(self), api)

    # ---- one acquisition ------------------------------------------------------------------------

    def prepare(self, share: HardwareParameters, endpoints: tuple[str, ...]) -> HardwareParameters:
        """Configure and arm it; return what it is set to then.

        Raises
        ------
        ConfigError
            When it does not allow a value; nothing is armed then.
        SimplonError
            When its control unit cannot be reached, or does not do what it is told.
        """
        was_ours = self._series is not None
        self.close()
        with self._connect() as api:
            if self.passive:
                config, plan = take_over(api, share, FORMATS[self.stream])
                series = ""
            else:
                make_idle(api, was_ours)
                plan = self._configure(api, share)
                config = settings.effective(api)
                self._check_channels(config)
                series = arm(api)
            version = api.version
        info = describe(config, self.stream)
        count, frame = float(config["count_time"]), float(config["frame_time"])
        exposure = plan.images * frame + float(config.get("trigger_start_delay", 0.0))
        self._armed = info
        self._series = Series(
            lambda limit: Simplon(self.host, self.port, limit, version), plan, exposure,
            is_ours=not self.passive,
        )  # fmt: skip
        is_endless = self.passive or not share.nb_frames  # others may still change how many come
        return share.replace(
            nb_frames=0 if is_endless else plan.triggers * plan.images,
            expo_time=count,
            latency_time=latency(count, frame),
            trigger_mode="external" if self.passive else plan.mode,
            nb_frames_per_trigger=plan.images if self.passive else share.nb_frames_per_trigger,
            dtype=info.dtype,
            bands=info.bands,
            shape=info.shape,
            series=series,
            settings=config,
        )

    def as_armed(self, info: DetectorInfo) -> DetectorInfo:
        """Say again what it is, by what it said before it was armed."""
        return self._armed or info

    def receiver(self, index: int, count: int) -> Receiver:
        """Make a receiver, which pulls from the stream."""
        from limadask_detectors.dectris.receiver import DectrisReceiver

        port = self.stream_port or PORTS[self.stream]
        address = f"tcp://{self.host}:{port}"
        return DectrisReceiver(
            stream=self.stream, address=address, index=index, count=count, passive=self.passive
        )

    def start(self) -> None:
        """Give the trigger, if there is but one of our own; look how the series goes on."""
        self._prepared().start()

    def trigger(self) -> None:
        """Give a software trigger, once those before are done."""
        self._prepared().trigger()

    def fault(self) -> str:
        """Say why the series cannot go on, nothing while it can."""
        return "" if self._series is None else self._series.fault

    def is_over(self) -> bool:
        """Tell whether the last image has been taken."""
        return self._series is not None and self._series.is_over

    def stop(self, abort: bool) -> None:
        """Stop after the frame being exposed, or at once; the series of others goes on."""
        if self._series is not None:
            self._series.stop(abort)

    def close(self) -> None:
        """Disarm the detector if it is armed by us; end what was begun here."""
        series, self._series, self._armed = self._series, None, None
        if series is not None:
            series.close()

    def __getstate__(self) -> dict[Any, Any]:
        """Leave out the series: a copy does not control it."""
        state = super().__getstate__()
        return {**state, "__pydantic_private__": {"_series": None, "_armed": None}}

    # ---- how ------------------------------------------------------------------------------------

    def _connect(self) -> Simplon:
        return Simplon(self.host, self.port, self.timeout)

    def _asked(self) -> dict[str, Any]:
        """Return what the parameters ask for, by the names of the SIMPLON API."""
        asked = {one.name: one.value for one in settings.settings_of(self)}
        if self.channels is not None:
            states = {True: "enabled", False: "disabled"}
            asked.update({mode: states[one in self.channels] for one, mode in MODES.items()})
        return asked

    def _configure(self, api: Simplon, share: HardwareParameters) -> Plan:
        """Set all that is asked for, once the detector is known to allow it."""
        nimages = api.value("nimages")
        plan = Plan.of(share, int(nimages.maximum or MOST))
        asked = settings.stream_settings(FORMATS[self.stream], api)
        asked += settings.settings_of(self)
        if self.channels is not None:
            asked += settings.channel_settings(self.channels, api)
        series = [settings.Setting("nb_frames", "detector", *one) for one in plan.values.items()]
        settings.put(settings.check(asked + series, api), api)
        set_times(api, share.expo_time, share.latency_time)
        return plan

    def _check_channels(self, config: dict[str, Any]) -> None:
        """See that the detector has enabled what was asked: some channels exclude each other."""
        enabled = channels_of(config)
        if self.channels is not None and set(enabled) != set(self.channels):
            raise ConfigError(
                f"the detector cannot deliver these channels together; it has enabled {enabled}",
                node="detector", field="channels", value=self.channels,
                allowed="what it can deliver together",
            )  # fmt: skip

    def _prepared(self) -> Series:
        if self._series is None:
            raise StateError("the detector is not prepared: prepare it first")
        return self._series
