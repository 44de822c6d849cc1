"""SaveImages: what fabio, and others, read of the files; names; what a format cannot have."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest
from harness import DETECTOR, record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import block, seeds, shapes

from limadask.errors import ConfigError, SaveError
from limadask.frames import Frames, Spec, Status
from limadask.geometry import Grid
from limadask.ledger import Ledger
from limadask.task import Place
from limadask_tasks import SaveImages
from limadask_tasks.image_names import ImageNames, check_template, pattern

SPEC = Spec(Grid((4, 5)), np.dtype("u2"), nb_frames=6)
TYPES = {
    "cbf": ("i1", "u1", "i2", "u2", "i4"),
    "edf": ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"),
    "tiff": ("i1", "u1", "i2", "u2", "i4", "u4", "f4"),
}
ABOUT = {
    "detector": DETECTOR,
    "parameters": {"hardware": {"expo_time": 0.25, "latency_time": 0.05}},
    "metadata": {"sample": "LaB6 {100}; λ = 1 Å", "beam": {"slits": [1, 2]}},
}


def place(uuid: str = "u", rank: int = 0, ranks: int = 1) -> Place:
    return Place("images", uuid, rank, ranks, about=ABOUT)


def saved(
    task: SaveImages, blocks: list[Frames], spec: Spec = SPEC, uuid: str = "u", ranks: int = 1
) -> dict[str, Any]:
    """Save blocks in turns by several ranks; join, return the list."""
    task.plan(spec)
    writers = [task.open(spec, place(uuid, rank, ranks)) for rank in range(ranks)]
    ledger = Ledger()
    for number, one in enumerate(blocks):
        writer = writers[number % ranks]
        writer.write([writer.encode(one)])
        ledger.mark_frames(one.numbers, one.status, lambda _: "")
    ledger.finish("detector", len(ledger))
    parts = [writer.close() for writer in writers]
    task.join(spec, place(uuid, 0, ranks), parts, record(ledger, len(ledger), uuid=uuid))
    found: dict[str, Any] = json.loads(Path(task.path()).read_text())
    return found


def image(path: Path) -> tuple[Any, dict[str, Any]]:
    with fabio.open(str(path)) as file:
        return file.data.copy(), dict(file.header)


@given(
    case=st.sampled_from([(name, dtype) for name, some in TYPES.items() for dtype in some]),
    shape=shapes(), seed=seeds, bands=st.sampled_from([("0",), ("4 keV", "8 keV")]),
)  # fmt: skip
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_fabio_reads_the_pixels_that_were_saved(
    case: tuple[Any, str], shape: tuple[int, int], seed: int, bands: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    name, dtype = case
    folder = tmp_path_factory.mktemp("images")
    spec = Spec(Grid(shape), np.dtype(dtype), bands, 3)
    frames = block(seed, spec, 3)
    listed = saved(SaveImages(folder=str(folder), prefix="run", format=name), [frames], spec)
    for number, frame in enumerate(frames.pixels):
        for band, expected in enumerate(frame):
            suffix = f"_{band}" if len(bands) > 1 else ""
            path = folder / f"run_{number:05d}{suffix}.{name}"
            pixels, _ = image(path)
            np.testing.assert_array_equal(pixels, expected)
            assert pixels.dtype == (np.int32 if name == "cbf" else spec.dtype)
            assert listed["frames"][number]["files"][band] == path.name
    assert {path.name for path in folder.iterdir() if path.name.startswith(".")} == set()


def test_headers_say_what_is_known(tmp_path: Path) -> None:
    frames = block(1, SPEC, 1)
    frames.timestamps[0] = 1_700_000_000_123_456_789
    told = {}
    for name in TYPES:
        saved(SaveImages(folder=str(tmp_path), format=name), [frames])
        told[name] = image(tmp_path / f"limadask_00000.{name}")[1]
    edf = told["edf"]
    assert edf["timestamp"] == "2023-11-14T22:13:20.123456Z"
    assert (edf["frame"], edf["detector"], edf["expo_time"]) == ("0", "test camera", "0.25")
    assert (float(edf["PSize_2"]), float(edf["PSize_1"])) == (75e-6, 80e-6)
    assert (float(edf["Center_1"]), float(edf["Center_2"])) == (15.5, 10.5)
    assert (float(edf["WaveLength"]), float(edf["SampleDistance"])) == (1e-10, 0.2)
    assert edf["metadata.sample"] == r"LaB6 100 \u03bb 1 \xc5"
    assert edf["metadata.beam.slits"] == "[1, 2]"
    assert "timestamp=2023-11-14T22:13:20.123456Z\n" in told["tiff"]["imageDescription"]
    with fabio.open(str(tmp_path / "limadask_00000.cbf")) as file:
        pilatus = file.pilatus_headers
    lines = told["cbf"]["_array_data.header_contents"]
    assert "# 2023-11-14T22:13:20.123456\r\n" in lines
    assert "# frame 0" in lines
    assert told["cbf"]["_array_data.header_convention"] == "PILATUS_1.2"
    assert pilatus is not None
    assert pilatus["Exposure_time"] == 0.25
    assert pilatus["Exposure_period"] == 0.3
    assert pilatus["Wavelength"] == 1.0
    assert pilatus["Detector_distance"] == 0.2
    assert pilatus["Beam_xy"] == (15.0, 10.0)
    assert pilatus["Count_cutoff"] == 60000


def test_the_list_tells_what_became_of_each_frame(tmp_path: Path) -> None:
    one, two = block(1, SPEC, 2), block(2, SPEC, 2, first=3)
    listed = saved(SaveImages(folder=str(tmp_path)), [one, two], ranks=2)
    assert [frame["status"] for frame in listed["frames"]] == [
        "present", "present", "absent", "present", "present",
    ]  # fmt: skip
    assert listed["frames"][2]["cause"] == "detector"
    assert listed["frames"][2]["files"] == []
    assert listed["frames"][0]["timestamp"] == "1970-01-01T00:00:00.000000Z"
    assert (listed["run_state"], listed["metadata"]["sample"]) == ("done", "LaB6")
    assert not (tmp_path / "limadask_00002.cbf").exists()


def test_counts_of_32_bits_in_cbf(tmp_path: Path) -> None:
    spec = SPEC.replace(dtype=np.dtype("u4"))
    frames = block(1, spec, 3, top=1000)
    frames.pixels[0, 0, 0, 0] = 2**31 - 2
    frames.pixels[0, 0, 0, 1] = 2**32 - 1  # no value
    frames.pixels[1, 0, 2, 2] = 2**31
    task = SaveImages(folder=str(tmp_path))
    task.plan(spec)
    writer = task.open(spec, place())
    with pytest.raises(SaveError, match="CBF has no values above 2147483647") as caught:
        writer.write([writer.encode(frames)])
    assert caught.value.numbers == (1,)
    pixels, _ = image(tmp_path / "limadask_00000.cbf")
    assert pixels[0, :2].tolist() == [2**31 - 2, -1]
    np.testing.assert_array_equal(pixels[1:], frames.pixels[0, 0, 1:])
    assert task.recover(spec, place(), 0).numbers.tolist() == [0, 2]
    frames.pixels[1:, 0, 0, :2] = -(2**31) % 2**32 - 1, 2**32 - 1
    frames.pixels[1:, 0, 2, 2] = 0
    with pytest.raises(SaveError, match="fabio cannot write CBF") as caught:
        writer.write([writer.encode(frames[1:])])
    assert caught.value.numbers == (1, 2)
    writer.close()


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("cbf", "f4"), ("cbf", "i8"), ("cbf", "u8"), ("tiff", "f8"), ("tiff", "u8")],
)
def test_pixels_that_a_format_has_not_are_refused_at_once(name: Any, dtype: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} has no pixels of type") as caught:
        SaveImages(folder="x", format=name).plan(SPEC.replace(dtype=np.dtype(dtype)))
    assert caught.value.field == "format"
    assert "uint16" in caught.value.allowed


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{prefix}.cbf", "all frames would be one file"),
        ("{number}_{sample}.cbf", "has no field 'sample'"),
        ("a/{number}.cbf", "without folders"),
        (".{number}.cbf", "does not begin with a point"),
        ("{number:.2f}.cbf", "cannot write number as '.2f'"),
        ("{number!r}.cbf", "cannot write number as 'r'"),
        ("{prefix:>9}{number}.cbf", "cannot write prefix as '>9'"),
        ("{number", "is no template"),
    ],
)
def test_templates_that_make_no_names(template: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        SaveImages(folder="x", name=template)
    assert (caught.value.field, caught.value.value) == ("name", template)


def test_names_that_are_not_unique_are_refused(tmp_path: Path) -> None:
    many = SPEC.replace(bands=tuple(map(str, range(12))))
    for template in ("{number}.cbf", "{number}{band}.cbf", "{number}_{band_name}.cbf"):
        bands = ("a b", "a-b") if "name" in template else many.bands
        with pytest.raises(ConfigError, match="would both be") as caught:
            SaveImages(folder="x", name=template).plan(many.replace(bands=bands))
        assert caught.value.value == template
    with pytest.raises(ConfigError, match=r"end with \.edf"):
        SaveImages(folder="x", format="edf", name="{number}.cbf").plan(SPEC)
    task = SaveImages(
        folder=str(tmp_path), format="tiff", name="{uuid}-{band_name}-{number:03x}.tif"
    )
    listed = saved(task, [block(1, SPEC.replace(bands=("4 keV",)), 1, first=30)],
                   SPEC.replace(bands=("4 keV",)))  # fmt: skip
    assert listed["frames"][30]["files"] == ["u-4_keV-01e.tif"]
    assert (tmp_path / "u-4_keV-01e.tif").exists()


fields = st.lists(
    st.sampled_from(["{number}", "{number:05d}", "{number:x}", "{band}", "{band:02d}", "_", "-"]),
    min_size=1, max_size=5,
).map("".join)  # fmt: skip


@given(template=fields, number=st.integers(0, 10**8), band=st.integers(0, 12))
def test_names_that_are_accepted_differ_and_are_found_again(
    template: str, number: int, band: int
) -> None:
    template += ".cbf"
    names = ImageNames(template, "run", "cbf", "u", tuple(map(str, range(13))))
    try:
        check_template(template)
        names.check([".cbf"])
    except ConfigError:
        return
    others = {names.name(number + 1, band), names.name(number, (band + 1) % 13)}
    assert names.name(number, band) not in others
    assert pattern(template, "run", "cbf").fullmatch(names.name(number, band))


def test_older_images_are_refused_or_replaced(tmp_path: Path) -> None:
    task = SaveImages(folder=str(tmp_path), prefix="run")
    saved(task, [block(1, SPEC, 6)])
    precious = [tmp_path / "run_2_00000.edf", tmp_path / "other_00000.cbf"]
    for path in precious:
        path.write_text("irreplaceable")
    with pytest.raises(ConfigError, match=r"run_cbf\.json exists") as caught:
        task.check()
    assert caught.value.field == "file_exists_policy"
    os.unlink(task.path())
    with pytest.raises(ConfigError, match=r"run_\d+\.cbf exists"):
        task.check()
    replacing = task.replace(file_exists_policy="overwrite")
    saved(replacing, [block(1, SPEC, 6)], uuid="v")
    second = block(2, SPEC, 2)
    saved(replacing, [second], uuid="w")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "other_00000.cbf", "run_00000.cbf", "run_00001.cbf", "run_2_00000.edf", "run_cbf.json",
    ]  # fmt: skip
    np.testing.assert_array_equal(image(tmp_path / "run_00001.cbf")[0], second.pixels[1, 0])
    assert {path.read_text() for path in precious} == {"irreplaceable"}


def test_what_a_dead_worker_saved_is_found_and_listed(tmp_path: Path) -> None:
    spec = SPEC.replace(bands=("a", "b"))
    task = SaveImages(folder=str(tmp_path), format="tiff")
    living, dead = (task.open(spec, place("u", rank, 2)) for rank in (0, 1))
    one, two = block(1, spec, 3), block(2, spec, 3, first=3)
    two.status[1], two.causes = Status.PARTIAL, {4: "packets_lost"}
    living.write([living.encode(one)])
    dead.write([dead.encode(two)])
    os.unlink(tmp_path / "limadask_00005_1.tiff")  # killed in front of its second band
    found = task.recover(spec, place("u", 1, 2), 1)
    assert found.numbers.tolist() == [3, 4]
    assert found.causes == {4: "packets_lost"}
    ledger = Ledger(6)
    ledger.mark(0, 3, Status.PRESENT)
    ledger.finish("worker_lost")
    for _ in range(2):  # whoever joins may die before it can say so
        parts = [living.close()]
        task.join(spec, place("u", 0, 2), parts, record(ledger, 6, uuid="u"))
        frames = json.loads(Path(task.path()).read_text())["frames"]
        assert [one["status"] for one in frames] == ["present"] * 4 + ["partial", "absent"]
        assert [one["cause"] for one in frames][4:] == ["packets_lost", "worker_lost"]
