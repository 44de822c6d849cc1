"""A simulated camera: powder rings on a detector with modules."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import xarray as xr
from pydantic import Field, NonNegativeInt, PositiveInt, PrivateAttr, model_validator

from limadask.detector import Capabilities, Column, Detector, DetectorInfo
from limadask.errors import ConfigError
from limadask.faults import NONE
from limadask.geometry import Pattern, grid_coordinates
from limadask.parameters import HardwareParameters
from limadask_detectors.simulator.dealer import Dealer
from limadask_detectors.simulator.faults import Faults
from limadask_detectors.simulator.images import DISTANCE, PIXEL, WAVELENGTH, Bank, Scene
from limadask_detectors.simulator.receiver import SimulatorReceiver
from limadask_detectors.simulator.status import SimulatorStatus, temperature


class Simulator(Detector):
    """A camera that shows diffraction rings of LaB6, as an EIGER2 would see them.

    Frame *i* is a function of the parameters and *i* alone, the same in every process; all frames
    of a run differ. Gaps between modules hold the dtype's maximum. With a ``pattern`` it is a
    camera with colour filters: each pixel counts what it would in the band of its colour, of red,
    green and blue.
    """

    recorded: ClassVar[Mapping[str, str]] = {"temperature": "degC"}

    shape: tuple[PositiveInt, PositiveInt] = (512, 512)
    """Rows and columns."""
    bands: tuple[str, ...] = Field(("0",), min_length=1)
    """Names of the bands: thresholds, or colours as in ``[red, green, blue]``. Each next one
    counts a quarter less."""
    pattern: Pattern | None = None
    """Colours of the pixels (0, 0), (0, 1), (1, 0) and (1, 1), repeated over the image; None where
    they have no colour filters."""
    dtype: Literal["uint8", "uint16", "uint32", "int16", "int32", "float32"] = "uint16"
    """Type of the pixels."""
    modules: PositiveInt = 1
    """Modules one above the other."""
    gap: NonNegativeInt = 38
    """Rows between two modules; 38 as an EIGER2 has."""
    photons: float = Field(0.1, ge=0, le=1e15)
    """Mean count of a pixel of the first band."""
    hot_pixels: NonNegativeInt = 20
    """Pixels that always count some 100 photons more."""
    growth: float = Field(0.0, ge=0, le=1e9)
    """Photons that each frame has more than the one before."""
    seed: NonNegativeInt = 0
    """Where the noise comes from."""
    buffers: Literal["fill", "lend"] = "fill"
    """Whether it fills the buffers it is given, or lends its own."""
    compression: Literal["none", "bshuf_lz4"] | None = None
    """How it compresses its images, as a DECTRIS detector does; None hands pixels over."""
    realtime: bool = False
    """Whether frames are lost when nobody takes them in time, as with a real camera; else it
    waits."""
    hardware_roi: bool = True
    """Whether it can cut a ROI itself, with borders at multiples of 4."""
    hardware_binning: bool = True
    """Whether it can bin by 1, 2 and 4 itself."""
    hardware_flip: bool = True
    """Whether it can mirror its images itself."""
    faults: Faults = Field(default_factory=Faults)
    """What goes wrong, on purpose: ``{drop: [3, 7], duplicate: 0.01}``."""
    _dealer: Dealer | None = PrivateAttr(None)
    _began: float | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _packed_frames_are_whole(self) -> Simulator:
        if self.compression is not None and self.faults.lose_packets != NONE:
            raise ConfigError(
                "images that are compressed come as a whole or not at all",
                field="faults.lose_packets",
                value=self.faults.lose_packets,
                allowed="none, where there is a compression",
            )
        return self

    @model_validator(mode="after")
    def _a_mosaic_is_one_band(self) -> Simulator:
        if self.pattern is not None and len(self.bands) != 1:
            raise ConfigError(
                "a camera with colour filters delivers one band, the mosaic of their colours",
                field="pattern",
                value=self.pattern,
                allowed="one band with a pattern, or several without",
            )
        return self

    @model_validator(mode="after")
    def _modules_fit(self) -> Simulator:
        rows = self.shape[0] - (self.modules - 1) * self.gap
        if rows < self.modules or rows % self.modules:
            raise ConfigError(
                f"{self.modules} modules with gaps of {self.gap} rows do not fit into "
                f"{self.shape[0]} rows",
                field="modules",
                value=self.modules,
                allowed="modules of equal heights that fill the rows between the gaps",
            )
        return self

    def info(self) -> DetectorInfo:
        """Say what it is."""
        return DetectorInfo(
            model="limadask simulator",
            shape=self.shape,
            dtype=self.dtype,
            bands=self.bands,
            pattern=self.pattern,
            serial=f"seed-{self.seed}",
            pixel_size=(PIXEL, PIXEL),
            sensor_material="Si",
            sensor_thickness=450e-6,
            distance=DISTANCE,
            wavelength=WAVELENGTH,
            beam_centre=self._scene().centre,
            modules=self._scene().module_places(),
            columns=(Column(name="start_time", units="s"), Column(name="real_time", units="s")),
        )

    def capabilities(self) -> Capabilities:
        """Say what it can do."""
        return Capabilities(
            trigger_modes=("internal", "software"),
            expo_time_range=(0.0, 3600.0),
            default_expo_time=1e-3,
            roi_step=4 if self.hardware_roi else 0,
            binning=(1, 2, 4) if self.hardware_binning else (1,),
            flip=self.hardware_flip,
            dispatch=("single", "round_robin", "dynamic", "broadcast", "partial"),
            prepares_ahead=True,
            pauses=True,
        )

    def status(self) -> SimulatorStatus:
        """Say how warm it is."""
        exposed = 0.0 if self._began is None else time.monotonic() - self._began
        return SimulatorStatus(temperature=temperature(exposed))

    def prepare(self, share: HardwareParameters, endpoints: tuple[str, ...]) -> HardwareParameters:
        """Round times to its clock of 1 µs."""
        times = {name: round(getattr(share, name), 6) for name in ("expo_time", "latency_time")}
        took = share.replace(**times)
        if any(endpoints):
            self._dealer = Dealer(endpoints, took, self.realtime, self.faults)
        return took

    def receiver(self, index: int, count: int) -> SimulatorReceiver:
        """Make a receiver."""
        return SimulatorReceiver(
            self.info(), self.source, self.buffers, self.realtime, self.faults, self.compression
        )

    def start(self) -> None:
        """Start to deal frames, where receivers get the next one when they are free."""
        self._began = time.monotonic()
        if self._dealer is not None:
            self._dealer.start()

    def trigger(self) -> None:
        """Expose some frames more."""
        if self._dealer is not None:
            self._dealer.trigger()

    def pause(self) -> None:
        """Deal no frame for a while."""
        if self._dealer is not None:
            self._dealer.pause()

    def resume(self) -> None:
        """Deal frames again."""
        if self._dealer is not None:
            self._dealer.resume()

    def stop(self, abort: bool) -> None:
        """Deal no further frame."""
        if self._dealer is not None:
            self._dealer.stop()

    def close(self) -> None:
        """Close the connections to the receivers."""
        self._began = None
        if self._dealer is not None:
            self._dealer.close()
            self._dealer = None

    def frame(self, index: int) -> xr.DataArray:
        """Return frame ``index`` in full, dims ``(band, y, x)``."""
        bank = self.source()
        image = bank.blank()
        bank.fill(index, image)
        coordinates = grid_coordinates(self.info().grid).assign(band=list(self.bands))
        return xr.DataArray(image, coordinates, ("band", "y", "x"), "frame")

    def gaps(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return where no module is, shape ``(y, x)``."""
        return self._scene().gaps()

    def _scene(self) -> Scene:
        return Scene(
            self.shape,
            3 if self.pattern else len(self.bands),
            np.dtype(self.dtype),
            self.modules,
            self.gap,
            self.photons,
            self.hot_pixels,
            self.seed,
            self.pattern or "",
        )

    def source(self) -> Bank:
        """Return what makes the frames."""
        return Bank(self._scene(), self.growth)
