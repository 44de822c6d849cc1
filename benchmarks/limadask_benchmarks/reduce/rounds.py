"""Integrates by limadask and by pyFAI in turn; run in a process of its own, see `integration`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Spec
from limadask.geometry import Grid
from limadask_tasks import Integrate1d

PIXEL = 75e-6
MEAN = 5.0
"""Counts in a pixel."""
TOLERANCE = 1e-5
ENGINES = "csr", "csc", "lut", "histogram"
"""pyFAI's, compiled: the first is its default."""
Split = Literal["no", "bbox"]
ErrorModel = Literal["poisson"] | None


@dataclass(frozen=True)
class Case:
    """One turn: seconds for all frames, pyFAI's method, and the largest relative difference."""

    what: str
    method: str
    own: float
    peer: float
    difference: float


class Bench:
    """Frames, and what integrates them."""

    def __init__(self, side: int, bins: int, frames: int) -> None:
        from pyFAI.detectors import Detector
        from pyFAI.integrator.azimuthal import AzimuthalIntegrator

        detector = Detector(PIXEL, PIXEL, max_shape=(side, side))
        middle = side / 2 * PIXEL
        self._engine = AzimuthalIntegrator(0.2, middle, middle, detector=detector, wavelength=1e-10)
        self._bins, self._shape = bins, (side, side)
        random = np.random.default_rng(0)
        self._frames = random.poisson(MEAN, (frames, 1, side, side)).astype(np.uint16)

    def own(self, split: Split, error_model: ErrorModel) -> Callable[[], Any]:
        """Return what integrates all frames by limadask."""
        task = Integrate1d(
            poni=self._engine.get_config(), npt=self._bins, split=split, error_model=error_model
        )
        measure = task.measure(Spec(Grid(self._shape), self._frames.dtype))
        return lambda: np.asarray(measure(self._frames))[:, 0]

    def peer(self, split: Split, error_model: ErrorModel, engine: str) -> Callable[[], Any]:
        """Return what integrates all frames by pyFAI."""
        names = ("intensity", "sigma") if error_model else ("intensity",)

        def run() -> NDArray[np.float32]:
            results = [
                self._engine.integrate1d(
                    image, self._bins, method=(split, engine, "cython"), error_model=error_model
                )
                for image in self._frames[:, 0]
            ]
            curves = [[getattr(one, name) for name in names] for one in results]
            return np.moveaxis(np.array(curves), 1, -1)

        return run

    def turns(self, split: Split, error_model: ErrorModel, rounds: int) -> None:
        """Print a line for each turn against pyFAI's default, and against its fastest."""
        own = self.own(split, error_model)
        peers = {engine: self.peer(split, error_model, engine) for engine in ENGINES}
        expected, found = peers[ENGINES[0]](), own()
        difference = float(np.max(np.abs(found - expected) / np.abs(expected)))
        if not difference <= TOLERANCE:
            raise RuntimeError(f"{split}, {error_model}: results differ by {difference:.1e}")
        fastest = min(peers, key=lambda name: _seconds(peers[name]))
        ending = f"_{error_model}" if error_model else ""
        against = {"fastest": fastest} if split == "no" else {"default": "csr", "fastest": fastest}
        for _ in range(rounds):
            for name, engine in against.items():
                began = time.perf_counter()
                own()
                turned = time.perf_counter()
                peers[engine]()
                seconds = turned - began, time.perf_counter() - turned
                what = f"{split}_{name}{ending}"
                print(json.dumps(asdict(Case(what, f"{split}, {engine}", *seconds, difference))))
                sys.stdout.flush()


def _seconds(run: Callable[[], Any]) -> float:
    """Return how long something takes at best, of three runs after the first."""
    run()
    found = []
    for _ in range(3):
        began = time.perf_counter()
        run()
        found.append(time.perf_counter() - began)
    return min(found)


def main() -> None:
    """Measure both ways to split pixels, with and without errors."""
    side, bins, frames, rounds = map(int, sys.argv[1:])
    bench = Bench(side, bins, frames)
    splits: tuple[Split, ...] = ("bbox", "no")
    models: tuple[ErrorModel, ...] = (None, "poisson")
    for split in splits:
        for error_model in models:
            bench.turns(split, error_model, rounds)


if __name__ == "__main__":
    main()
