"""What a master file tells of values that changed during the run: an NXlog for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import h5py
import numpy as np

from limadask.storage.nexus import field, group, iso, tree
from limadask.storage.nxwaterfall import write_waterfall
from limadask.task import RunRecord
from limadask.timeseries import TimeSeries

SAMPLE = (
    "temperature", "pressure", "electric_field", "magnetic_field", "stress_field", "rotation_angle",
    "x_translation", "concentration", "mass", "density", "thickness",
)  # fmt: skip
"""Fields of NXsample whose values are the sample's."""
CURVE = "curve"
"""The NXdata of a log, for programs that plot such."""
GAPS = "gaps"
"""Why values are missing."""


def write_logs(entry: h5py.Group, run: RunRecord) -> None:
    """Write all series, the statistics of the run, and where its blocks spent their time.

    Those of the user lie in ``logs``, where NXsample has such a field also in ``sample``; those of
    the detector in its NXdetector, those of the run itself in ``process``.

    Parameters
    ----------
    entry:
        The run's NXentry, with all these groups.
    run:
        The run.
    """
    process, detector = entry["process"], entry.get("instrument/detector")
    if detector is None:  # by-products alone
        detector = group(process, "detector", "NXcollection")
    if run.statistics:
        tree(process, "statistics", run.statistics)
    if run.waterfall is not None and run.waterfall.sizes["block"]:
        write_waterfall(process, run.waterfall)
    for name, series in _part(run.series, "pipeline/"):
        parent = group(process, "logs", "NXcollection")
        *place, leaf = name.split("/")
        for one in place:  # a worker
            parent = group(parent, one, "NXcollection")
        _write(parent, leaf, series, run.started)
    for name, series in _part(run.series, "detector/"):
        _write(detector, f"{name}_log", series, run.started)
    for name, series in run.series.items():
        if "/" not in name:
            log = _write(group(entry, "logs", "NXcollection"), name, series, run.started)
            if name in SAMPLE and not series.is_text:
                _write_sample(entry["sample"], name, series, log)


def _part(series: Mapping[str, TimeSeries], begin: str) -> Iterator[tuple[str, TimeSeries]]:
    for name, one in series.items():
        if name.startswith(begin):
            yield name.removeprefix(begin), one


def _write(parent: h5py.Group, name: str, series: TimeSeries, started: int) -> h5py.Group:
    """Write one series; its times count from the run's start, where it began."""
    times, values = series.ordered()
    start = (started or int(times[0])) // 1000 * 1000  # as exact as it is written
    # NXlog has numbers only
    log = group(parent, name, "NXcollection" if series.is_text else "NXlog")
    field(log, "time", (times - start) / 1e9, units="s", start=iso(start))
    if series.is_text:
        log.create_dataset("value", data=values, dtype=h5py.string_dtype())
    else:
        value = field(log, "value", values)
        if series.units:
            value.attrs["units"] = series.units
        if series.step > 1:
            value.attrs["kept_one_of"] = series.step
        _write_summary(log, series)
        curve = group(log, CURVE, "NXdata", signal="value", axes=["time"], title=name)
        curve["time"], curve["value"] = log["time"], value
        log.attrs["default"] = CURVE
    if series.lost:
        log["value"].attrs["lost"] = series.lost
    if series.gaps:
        gaps = group(log, GAPS, "NXcollection")
        when = np.array([time for time, _ in series.gaps])
        field(gaps, "time", (when - start) / 1e9, units="s", start=iso(start))
        gaps.create_dataset(
            "reason", data=[text for _, text in series.gaps], dtype=h5py.string_dtype()
        )
        field(gaps, "more", series.more_gaps)
    return log


def _write_summary(log: h5py.Group, series: TimeSeries) -> None:
    known = series.values[np.isfinite(series.values)]
    if len(known):
        units = {"units": series.units} if series.units else {}
        for name, value in (
            ("average_value", known.mean()),
            ("minimum_value", known.min()),
            ("maximum_value", known.max()),
        ):
            field(log, name, value, **units)


def _write_sample(sample: h5py.Group, name: str, series: TimeSeries, log: h5py.Group) -> None:
    """Show a log of the sample at its own place too, and its average as the field itself."""
    sample[f"{name}_log"] = log
    if "average_value" in log and name not in sample:
        average = field(sample, name, log["average_value"][()])
        average.attrs["units"] = series.units or "a.u."
