"""Finding images: the layouts of limadask, DECTRIS, Lima1 and Lima2, and plain files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fabio.edfimage
import h5py
import numpy as np
import pytest

from limadask import ConfigError
from limadask.storage import absolute_path, find_images, read_image, split_path

FRAMES = np.arange(5 * 4 * 3, dtype="u2").reshape(5, 4, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.h5"


def found(path: Path, dataset: str | None = None) -> list[str]:
    with h5py.File(path, "r") as file:
        return [one.name for one in find_images(file, dataset)]


def refused(path: Path, dataset: str | None = None) -> ConfigError:
    with h5py.File(path, "r") as file, pytest.raises(ConfigError) as info:
        find_images(file, dataset)
    return info.value


def plain(file: h5py.File) -> str:
    file["somewhere/frames"] = FRAMES
    file["somewhere/numbers"] = np.arange(5)
    file["somewhere/table"] = np.zeros((3, 2), [("a", "i4"), ("b", "f4")])
    return "/somewhere/frames"


def default_signal(file: h5py.File) -> str:
    file.attrs["default"] = "scan"
    file.create_group("scan").attrs["default"] = "plot"
    file.create_group("scan/plot").attrs["signal"] = "counts"
    file["scan/plot/counts"] = FRAMES
    file["scan/plot/errors"] = np.sqrt(FRAMES)
    return "/scan/plot/counts"


def bytes_attributes(file: h5py.File) -> str:
    file.attrs["default"] = np.bytes_("scan/plot")
    file.create_group("scan/plot").attrs["signal"] = np.array(["counts"], "S")
    file["scan/plot/counts"] = FRAMES
    file["scan/plot/errors"] = np.sqrt(FRAMES)
    return "/scan/plot/counts"


def default_in_a_circle(file: h5py.File) -> str:
    file.attrs["default"] = "a"
    file.create_group("a").attrs["default"] = "/b"
    file.create_group("b").attrs["default"] = "/a"
    file["frames"] = FRAMES
    return "/frames"


def entry_data(file: h5py.File) -> str:
    file["entry/data/data"] = FRAMES
    file["entry/instrument/detector/mask"] = FRAMES[0]
    return "/entry/data/data"


def lima1(file: h5py.File) -> str:
    file.attrs["default"] = "entry_0000"
    entry = file.create_group("entry_0000")
    entry.attrs["default"] = "measurement"
    entry["instrument/pilatus/data"] = FRAMES
    entry["instrument/pilatus/background"] = FRAMES[0]
    entry["measurement/data"] = entry["instrument/pilatus/data"]
    return "/entry_0000/measurement/data"


def lima1_without_default(file: h5py.File) -> str:
    expected = lima1(file)
    del file.attrs["default"]
    return expected


def lima1_instrument_alone(file: h5py.File) -> str:
    file["entry_0003/instrument/pilatus/data"] = FRAMES
    file["entry_0003/instrument/pilatus/background"] = FRAMES[0]
    return "/entry_0003/instrument/pilatus/data"


def lima2(file: h5py.File) -> str:
    """As /E/I/D of a Lima2 master: ``default`` leads to the plot."""
    file.attrs["default"] = "entry"
    entry = file.create_group("entry")
    entry.attrs["default"] = "ESRF-ID00/eiger/plot"
    entry["ESRF-ID00/eiger/data"] = FRAMES
    entry["ESRF-ID00/eiger/flatfield"] = FRAMES[0]
    plot = entry.create_group("ESRF-ID00/eiger/plot")
    plot.attrs["signal"] = "data"
    plot["data"] = entry["measurement/data"] = entry["ESRF-ID00/eiger/data"]
    return "/entry/ESRF-ID00/eiger/plot/data"


@pytest.mark.parametrize(
    "layout",
    [
        plain, default_signal, bytes_attributes, default_in_a_circle, entry_data, lima1,
        lima1_without_default, lima1_instrument_alone, lima2,
    ],
)  # fmt: skip
def test_a_layout_is_known(path: Path, layout: Callable[[h5py.File], str]) -> None:
    with h5py.File(path, "w") as file:
        expected = layout(file)
    assert found(path) == [expected]


def test_links_to_the_only_dataset_do_not_make_it_two(path: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["frames"] = FRAMES
    with h5py.File(path, "w") as file:
        file["a"] = h5py.ExternalLink("other.h5", "/frames")
        file["group/b"] = h5py.ExternalLink("other.h5", "/frames")
        file["group/up"] = h5py.SoftLink("/")
        file["nowhere"] = h5py.SoftLink("/nothing")
    assert found(path) == ["/frames"]


def test_several_candidates_are_listed(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["data"] = FRAMES
        file["group/other"] = FRAMES[0]
    error = refused(path)
    assert error.field == "dataset"
    assert error.allowed == ["/data (5, 4, 3)", "/group/other (4, 3)"]
    assert found(path, "group/other") == ["/group/other"]


def test_two_detectors_or_entries_are_not_chosen_from(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["entry/instrument/one/data"] = FRAMES
        file["entry/instrument/two/data"] = FRAMES
    assert len(refused(path).allowed) == 2
    with h5py.File(path, "w") as file:
        file["entry_0000/measurement/data"] = FRAMES
        file["entry_0001/measurement/data"] = FRAMES
    assert len(refused(path).allowed) == 2
    with h5py.File(path, "a") as file:
        file.attrs["default"] = "entry_0001"
    assert found(path) == ["/entry_0001/measurement/data"]


def test_a_file_without_images_is_refused(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["numbers"] = np.arange(5)
    assert refused(path).allowed == []


def test_a_wrong_name_is_told_with_the_right_ones(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["frames"] = FRAMES
        file["numbers"] = np.arange(5)
    for name in ("nothing", "numbers", "/"):
        error = refused(path, name)
        assert (error.value, error.allowed) == (name, ["/frames (5, 4, 3)"])


def numbered(path: Path, numbers: list[int], present: list[int], **attributes: str) -> None:
    """Write an Eiger master with external links, of which only some lead to a file."""
    with h5py.File(path, "w") as file:
        group = file.create_group("entry/data")
        group.attrs.update(attributes)
        for number in numbers:
            group[f"data_{number}"] = h5py.ExternalLink(f"part_{number}.h5", "/entry/data/data")
    for number in present:
        with h5py.File(path.parent / f"part_{number}.h5", "w") as file:
            file["entry/data/data"] = FRAMES + number


def firsts(path: Path, dataset: str | None = None) -> list[int]:
    with h5py.File(path, "r") as file:
        return [int(one[0, 0, 0]) for one in find_images(file, dataset)]


def test_numbered_links_are_followed_in_the_order_of_their_numbers(path: Path) -> None:
    numbered(path, [1, 2, 10], [1, 2, 10])
    assert firsts(path) == firsts(path, "entry/data") == [1, 2, 10]


def test_a_signal_that_names_the_first_link_means_all(path: Path) -> None:
    numbered(path, [1, 2], [1, 2], signal="data_1")
    assert firsts(path) == [1, 2]


def test_links_count_up_to_the_last_that_leads_somewhere(path: Path) -> None:
    numbered(path, [1, 2, 3, 4], [1, 2])
    assert firsts(path) == [1, 2]


@pytest.mark.parametrize("present", [[1, 3], []])
def test_a_file_that_is_missing_before_others_is_told(path: Path, present: list[int]) -> None:
    numbered(path, [1, 2, 3], present)
    error = refused(path)
    assert error.field == "path"
    assert "data_2 → part_2.h5::/entry/data/data" in str(error.value)


def test_an_image_is_read_from_every_format(tmp_path: Path) -> None:
    image = FRAMES[0]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["one"], file["stack"] = image[np.newaxis, np.newaxis], FRAMES[:2]
        file["many"] = FRAMES.reshape(5, 1, 4, 3)
    np.save(tmp_path / "a.npy", image)
    fabio.edfimage.EdfImage(data=image).write(str(tmp_path / "a.edf"))
    for name in ("a.h5::/one", "a.npy", "a.edf"):
        assert np.array_equal(read_image(str(tmp_path / name)), image)
    assert read_image(f"{tmp_path}/a.h5::stack").shape == (2, 4, 3)


def test_what_is_not_one_image_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["many"], file["other"] = FRAMES.reshape(5, 1, 4, 3), FRAMES
    numbered(tmp_path / "master.h5", [1, 2], [1, 2])
    (tmp_path / "bad.h5").write_bytes(b"no HDF5")
    (tmp_path / "bad.npy").write_bytes(b"")
    (tmp_path / "bad.cbf").write_bytes(b"no CBF")
    edf = fabio.edfimage.EdfImage(data=FRAMES[0])
    edf.append_frame(data=FRAMES[1])
    edf.write(str(tmp_path / "two.edf"))
    names = (
        "none.h5", "a.h5", "a.h5::/none", "a.h5::/many", "master.h5", "bad.h5", "bad.npy",
        "bad.cbf", "two.edf",
    )  # fmt: skip
    for name in names:
        path = str(tmp_path / name)
        with pytest.raises(ConfigError) as info:
            read_image(path)
        assert (info.value.field, info.value.value) == ("path", path)


def test_paths_with_a_dataset() -> None:
    assert split_path("a.h5::/b") == ("a.h5", "/b")
    assert split_path("a.h5::") == split_path("a.h5") == ("a.h5", None)
    assert absolute_path("a.h5::/b", Path("/c")) == "/c/a.h5::/b"
    assert absolute_path("/d/a.h5", Path("/c")) == "/d/a.h5"
