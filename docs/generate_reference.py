"""Generate the tables of docs/reference/configuration.md from the models themselves.

Run from anywhere in a checkout with limadask installed::

    python docs/generate_reference.py            # print the generated part
    python docs/generate_reference.py --write    # put it into the page

Names, types, defaults and meanings come from ``limadask schema``. Units and examples stand here,
and a unit or an example that fits nothing is an error.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

from limadask import registry
from limadask.schema import schema

PAGE = Path(__file__).parent / "reference" / "configuration.md"
BEGIN, END = "<!-- generated: begin -->", "<!-- generated: end -->"
BUNDLED = ("limadask_tasks.", "limadask_detectors.", "limadask.memory.")
NODE_KEYS = ("name", "task", "after", "on_error")

UNITS = {
    "acquisition.nb_frames": "frames",
    "acquisition.expo_time": "s",
    "acquisition.latency_time": "s",
    "acquisition.nb_frames_per_trigger": "frames",
    "acquisition.roi": "pixels",
    "acquisition.binning": "pixels",
    "acquisition.rotation": "degrees",
    "topology.receivers": "workers",
    "topology.workers": "workers",
    "policy.max_absent": "frames, or a fraction",
    "buffers.nbytes": "bytes",
    "buffers.nb_frames_per_block": "frames",
    "dectris.timeout": "s",
    "dectris.photon_energy": "eV",
    "dectris.threshold_energies": "eV",
    "dectris.trigger_start_delay": "s",
    "dectris.detector_distance": "m",
    "dectris.beam_centre": "pixels",
    "dectris.omega_start": "degrees",
    "dectris.omega_increment": "degrees",
    "dectris.chi_start": "degrees",
    "dectris.chi_increment": "degrees",
    "dectris.phi_start": "degrees",
    "dectris.phi_increment": "degrees",
    "dectris.kappa_start": "degrees",
    "dectris.kappa_increment": "degrees",
    "replay.rate": "frames/s",
    "simulator.shape": "pixels",
    "simulator.gap": "pixels",
    "simulator.photons": "counts",
    "simulator.hot_pixels": "pixels",
    "simulator.growth": "photons/frame",
    "accumulate.nb_frames": "frames",
    "bin.y": "pixels",
    "bin.x": "pixels",
    "crop.y": "pixels",
    "crop.x": "pixels",
    "crop.height": "pixels",
    "crop.width": "pixels",
    "observe.history": "frames",
    "observe.every": "frames",
    "rotate.turns": "quarter turns",
    "save_hdf5.nb_frames_per_file": "frames",
    "save_zarr.shard": "frames",
    "stream_pva.every": "frames",
    "stream_zmq.queue": "messages",
    "stream_zmq.patience": "s",
    "Binning.y": "pixels",
    "Binning.x": "pixels",
    "Rect.y": "pixels",
    "Rect.x": "pixels",
    "Rect.height": "pixels",
    "Rect.width": "pixels",
    "Arc.y": "pixels",
    "Arc.x": "pixels",
    "Arc.r1": "pixels",
    "Arc.r2": "pixels",
    "Arc.a1": "degrees",
    "Arc.a2": "degrees",
    "Polygon.points": "pixels",
    "Faults.drop": "frame numbers",
    "Faults.corrupt": "frame numbers",
    "Every.every": "frames",
    "Faults.overrun": "frame numbers",
    "Faults.lose_packets": "frame numbers",
    "Faults.delay": "frame numbers",
    "Faults.delay_time": "s",
    "Faults.duplicate": "frame numbers",
    "Faults.reorder": "frame numbers",
    "Faults.die": "frame number",
    "failing.frames": "frame numbers",
    "failing.seconds": "s",
    "min_peaks.count": "peaks",
    "find_peaks.min_distance": "pixels",
    **{
        f"{task}.{name}": unit
        for task in ("integrate1d", "integrate2d", "sigma_clip")
        for name, unit in {
            "radial_range": "`unit`",
            "azimuth_range": "degrees",
            "delta_dummy": "counts",
            "dummy": "counts",
        }.items()
    },
    "integrate1d.npt": "bins",
    "integrate2d.npt_rad": "bins",
    "integrate2d.npt_azim": "bins",
    "sigma_clip.npt": "bins",
    "sigma_clip.threshold": "σ",
    "Affinity.receiver": "cores",
    "Affinity.processing": "cores",
}
"""Unit of a parameter: ``section.name``, ``plugin.name`` or ``Model.name``."""

EXAMPLES = {
    "dectris": "detector: {type: dectris, host: 10.0.0.5, stream: stream2, photon_energy: 12400}",
    "huge": "detector: {type: simulator}\nbuffers: {allocator: huge}",
    "locked": "detector: {type: simulator}\nbuffers: {allocator: locked}",
    "managed": "detector: {type: simulator}\nbuffers: {allocator: managed}",
    "mapped": "detector: {type: simulator}\n"
    "buffers: {allocator: mapped, folder: /scratch, nbytes: 200 GiB}",
    "numa": "detector: {type: simulator}\nbuffers: {allocator: {type: numa, interface: eth0}}",
    "pages": "detector: {type: simulator}\nbuffers: {allocator: pages}",
    "pinned": "detector: {type: simulator}\nbuffers: {allocator: pinned}",
    "shared": "detector: {type: simulator}\nbuffers: {allocator: shared}",
    "histogram": "- {name: counts, task: histogram, bins: 200, high: 1000}",
    "maximum": "- {name: brightest, task: maximum, after: masked}",
    "mean": "- {name: mean, task: mean, after: flat}",
    "multi_tau": "- {name: g2, task: multi_tau, after: masked, path: regions.h5}",
    "simulator": 'detector: {type: simulator, shape: [1062, 1028], bands: ["4 keV", "8 keV"]}',
    "replay": "detector: {type: replay, path: scan_master.h5}",
    "accumulate": "- {name: sum, task: accumulate, nb_frames: 10}",
    "background": "- {name: dark, task: background, after: masked, path: dark.h5}",
    "bin": "- {name: small, task: bin, y: 2, x: 2, mode: mean}",
    "combine_bands": "- {name: grey, task: combine_bands, after: rgb,\n"
    "   weights: {red: 0.2126, green: 0.7152, blue: 0.0722}}",
    "crop": "- {name: centre, task: crop, y: 100, x: 200, height: 512, width: 512}",
    "demosaic": "- {name: rgb, task: demosaic, after: flat}",
    "densify": "- {name: all_pixels, task: densify, after: photons}",
    "difference": "- {name: change, task: difference, after: flat}",
    "failing": "- {name: now_and_then, task: failing, after: flat, frames: 0.01}",
    "find_peaks": "- {name: peaks, task: find_peaks, after: flat, threshold: 50, min_distance: 3}",
    "flatfield": "- {name: flat, task: flatfield, after: dark, path: flat.h5, normalize: true}",
    "integrate1d": "- {name: curve, task: integrate1d, poni: lab6.poni, npt: 1000, "
    "unit: 2th_deg,\n   split: bbox, radial_range: [1, 40], error_model: poisson}",
    "integrate2d": "- {name: map, task: integrate2d, poni: lab6.poni, npt_rad: 200, npt_azim: 90}",
    "flip": "- {name: upside_down, task: flip, axis: y}",
    "mask": "- {name: masked, task: mask, path: mask.h5::/entry/data/mask}",
    "min_intensity": "- {name: bright, task: min_intensity, after: flat, minimum: 1000,\n"
    "   roi: {y: 100, x: 200, height: 64, width: 64}}",
    "assemble": "- {name: whole, task: assemble, after: input}",
    "min_peaks": "- {name: hits, task: min_peaks, after: flat, count: 15, threshold: 50}",
    "observe": "- {name: live, task: observe, after: flat, history: 16, every: 10}",
    "roi_profiles": "- {name: profile, task: roi_profiles, "
    "rois: [{y: 10, x: 20, height: 4, width: 64}]}",
    "roi_statistics": "- {name: stats, task: roi_statistics, coordinates: detector,\n"
    "   rois: [{y: 531, x: 514, r1: 358, r2: 402, name: ring}]}",
    "rotate": "- {name: upright, task: rotate, turns: 1}",
    "sigma_clip": "- {name: background, task: sigma_clip, poni: lab6.poni, npt: 500, threshold: 4}",
    "save_hdf5": "- {name: file, task: save_hdf5, after: flat, folder: out, prefix: sample1}",
    "select_band": "- {name: blue, task: select_band, after: rgb, band: blue}",
    "sparsify": "- {name: photons, task: sparsify, after: masked}",
    "sparsify_bragg": "- {name: peaks, task: sparsify_bragg, after: masked, poni: eiger.poni}",
    "variance": "- {name: variance, task: variance, after: flat, ddof: 1}",
    "save_images": "- {name: images, task: save_images, after: flat, folder: out, format: tiff}",
    "save_zarr": "- {name: store, task: save_zarr, after: flat, folder: out, shard: 1000}",
    "stream_pva": '- {name: live, task: stream_pva, after: flat, pv: "BL13:limadask", every: 10}',
    "stream_zmq": '- {name: stream, task: stream_zmq, address: "tcp://*:31001"}',
}
"""One entry for each bundled plugin."""

FIELDS = {
    "Binning.y": "Rows that make one.",
    "Binning.x": "Columns that make one.",
    "Rect.y": "First row.",
    "Rect.x": "First column.",
    "Rect.height": "Rows.",
    "Rect.width": "Columns.",
    "Rect.name": "Label of the region in the results; `null` takes its number.",
    "Arc.y": "Row of the centre.",
    "Arc.x": "Column of the centre.",
    "Arc.r1": "Inner radius, included.",
    "Arc.r2": "Outer radius, excluded.",
    "Arc.a1": "Angle where it begins, included.",
    "Arc.a2": "Angle where it ends, excluded.",
    "Arc.name": "Label of the region in the results; `null` takes its number.",
    "Polygon.points": "Three corners or more, each `[y, x]`.",
    "Polygon.name": "Label of the region in the results; `null` takes its number.",
}
"""Meaning of fields whose models say it in one sentence for all."""


class Reference:
    """The generated part of the page.

    Parameters
    ----------
    told:
        What ``limadask schema`` prints.
    """

    def __init__(self, told: dict[str, Any]) -> None:
        self._told, self._models = told["properties"], told["$defs"]
        self._used: set[str] = set()
        self._linked: set[str] = set()

    def text(self) -> str:
        """Return it.

        Raises
        ------
        ValueError
            When a unit, an example or a meaning fits nothing, or a plugin has no example.
        """
        lines = [
            line
            for part in (
                self._sections(),
                self._detectors(),
                self._tasks(),
                self._allocators(),
                self._values(),
            )
            for line in part
        ]
        known = set(UNITS) | set(FIELDS) | set(EXAMPLES)
        if known - self._used:
            raise ValueError(f"these fit nothing: {sorted(known - self._used)}")
        return "\n".join(lines).strip()

    def _sections(self) -> Iterator[str]:
        for name in ("acquisition", "topology", "policy", "buffers"):
            yield from self._entry(name, self._told[name], level=2)

    def _detectors(self) -> Iterator[str]:
        yield from ("", "## Detectors")
        for name, part in _bundled(self._told["detector"]["anyOf"], "type", registry.detectors()):
            yield from self._entry(name, part, level=3, hidden=("type",))

    def _tasks(self) -> Iterator[str]:
        yield from ("", "## Tasks")
        nodes = self._told["pipeline"]["items"]["anyOf"]
        for name, part in _bundled(nodes, "task", registry.tasks()):
            yield from self._entry(name, part, level=3, hidden=NODE_KEYS)

    def _allocators(self) -> Iterator[str]:
        yield from ("", "## Allocators")
        _, *parts = self._told["buffers"]["properties"]["allocator"]["anyOf"]
        for name, part in _bundled(parts, "type", registry.allocators()):
            yield from self._entry(name, part, level=3, hidden=("type",))

    def _values(self) -> Iterator[str]:
        yield from ("", "## Values of several parts")
        done: set[str] = set()
        while left := sorted(self._linked - done):  # a model may hold further ones
            for name in left:
                yield from self._entry(name, self._models[name], level=3)
            done.update(left)

    def _entry(
        self, name: str, part: dict[str, Any], level: int, hidden: tuple[str, ...] = ()
    ) -> Iterator[str]:
        title = name if name in self._models else f"`{name}`"
        yield from ("", f"{'#' * level} {title}", "")
        yield _markdown(cleandoc(part.get("description", "")).split("\n\n>>>")[0])
        if level == 3 and name not in self._models:
            if name not in EXAMPLES:
                raise ValueError(f"{name} has no example")
            self._used.add(name)
            yield from ("", "```yaml", EXAMPLES[name], "```")
        rows = [
            self._row(name, key, one, key in part.get("required", ()))
            for key, one in part.get("properties", {}).items()
            if key not in hidden
        ]
        if rows:
            yield from ("", "| key | type | unit | default | meaning |", "|---|---|---|---|---|")
            yield from rows

    def _row(self, owner: str, key: str, part: dict[str, Any], required: bool) -> str:
        place = f"{owner}.{key}"
        self._used.add(place)
        meaning = FIELDS.get(place) or _markdown(part.get("description", ""))
        default = "required" if required else _code(part.get("default", {}))
        self._linked |= set(_models_in(part))
        kind = _type(part).removesuffix(" or `null`") if default == "required" else _type(part)
        cells = [f"`{key}`", kind, UNITS.get(place, ""), default, meaning]
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


NAMED_PATTERNS = {r"^\s*(\d*\.?\d+)\s*(\w+)?": "text with a unit", r"^[A-Za-z_]\w*$": "name"}
"""What texts of a pattern are."""


def reference() -> str:
    """Return the generated part of the page."""
    return Reference(schema()).text()


def updated(page: str) -> str:
    """Return the page with a fresh generated part."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{reference()}\n\n{END}{after}"


def _bundled(
    parts: list[dict[str, Any]], tag: str, plugins: dict[str, type[Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and schema of the plugins that come with limadask, not of a third party's."""
    for part in parts:
        name = part["properties"][tag]["const"]
        if plugins[name].__module__.startswith(BUNDLED):
            yield name, part


def _models_in(part: Any) -> Iterator[str]:
    """Yield the names of the models that the type of a parameter speaks of."""
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"].rpartition("/")[2]
        for one in part.values():
            yield from _models_in(one)
    elif isinstance(part, list):
        for one in part:
            yield from _models_in(one)


def _type(part: dict[str, Any]) -> str:
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in part or "enum" in part:
        values = part.get("enum", [part.get("const")])
        return " or ".join(map(_code, values))
    if union := part.get("anyOf", part.get("oneOf")):
        return " or ".join(dict.fromkeys(map(_type, union)))
    kind = part.get("type")
    if kind in ("integer", "number"):
        return kind + _bounds(part, kind == "integer")
    if kind == "array":
        if "prefixItems" in part:
            return "[" + ", ".join(map(_type, part["prefixItems"])) + "]"
        return ("non-empty " if part.get("minItems") else "") + f"list of {_type(part['items'])}"
    if kind == "string":
        return NAMED_PATTERNS.get(part.get("pattern", ""), "text")
    return {"boolean": "`true` or `false`", "null": "`null`", "object": "mapping"}[str(kind)]


def _bounds(part: dict[str, Any], whole: bool) -> str:
    if whole and "exclusiveMinimum" in part:
        part = {**part, "minimum": part["exclusiveMinimum"] + 1}
        del part["exclusiveMinimum"]
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {part[key]}" for key, sign in signs.items() if key in part]
    return f" {' and '.join(found)}" if found else ""


def _code(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_]\w*", value):
        return f"`{value}`"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _markdown(text: str) -> str:
    """Return a docstring as Markdown, a line a paragraph; Python's None is null in YAML."""
    paragraphs = [" ".join(one.split()) for one in text.split("\n\n")]
    plain = "\n\n".join(paragraphs).replace("``", "`")
    plain = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", plain)  # references of Sphinx
    return re.sub(r"\bNone\b", "`null`", plain)


def main() -> None:
    """Print the generated part, or write it into the page."""
    if "--write" in sys.argv[1:]:
        PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        return
    print(reference())


if __name__ == "__main__":
    main()
