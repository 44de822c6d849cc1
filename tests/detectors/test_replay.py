"""Frames from files: every layout and format, in order, gaps included, through the whole path."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import psutil
import pytest
from distributed import Client
from fabio.cbfimage import CbfImage
from fabio.edfimage import EdfImage
from fabio.tifimage import TifImage
from numpy.typing import NDArray
from PIL import Image

import limadask as ld
from limadask import ConfigError, registry
from limadask.configuration import Configuration
from limadask.detector import End, Frame, share
from limadask.parameters import AcquisitionParameters, HardwareParameters
from limadask_detectors import Replay, Simulator
from limadask_tasks import SaveHdf5

FRAMES = np.random.default_rng(1).integers(0, 60000, (7, 12, 10)).astype("u2")


def prepared(camera: Replay, **asked: Any) -> HardwareParameters:
    parameters = AcquisitionParameters(**{"nb_frames": 0, **asked})
    taken = share(parameters, camera.info(), camera.capabilities()).hardware
    return camera.prepare(taken, ())


def open_files(camera: Replay) -> set[str]:
    """Return what is open beside the replayed files; this process has other files open, too."""
    paths = [camera.path] if isinstance(camera.path, str) else camera.path
    folders = {str(Path(path).parent) for path in paths}
    found = {file.path for file in psutil.Process().open_files()}
    return {path for path in found if path.startswith(tuple(folders))}


def take(camera: Replay, most: int = 100, **asked: Any) -> list[tuple[Frame, NDArray[Any]]]:
    """Take frames as the acquisition thread does; nothing may stay open."""
    hardware = prepared(camera, **asked)
    before = open_files(camera)
    receiver = camera.receiver(0, 1)
    frames: list[tuple[Frame, NDArray[Any]]] = []
    try:
        receiver.open()
        receiver.arm(hardware)
        receiver.start()
        while len(frames) < most:
            buffer = np.full((len(hardware.bands), *hardware.shape), 1, hardware.dtype)
            if not receiver.given:
                receiver.give(buffer)
            given = receiver.given[0]
            item = receiver.take(0.05)
            if isinstance(item, End):
                assert isinstance(receiver.take(0.05), End)
                break
            if isinstance(item, Frame):
                frames.append((item, given))
    finally:
        receiver.close()
        receiver.close()
    assert not open_files(camera) - before
    return frames


def images(camera: Replay, **asked: Any) -> NDArray[Any]:
    """Return all frames, ``(frame, band, y, x)``; their numbers have no gaps."""
    frames = take(camera, **asked)
    assert [frame.index for frame, _ in frames] == list(range(len(frames)))
    return np.array([buffer for _, buffer in frames])


def refused(camera: Replay) -> ConfigError:
    with pytest.raises(ConfigError) as info:
        camera.info()
    return info.value


def write(path: Path, **datasets: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in datasets.items():
            file[name] = value
    return path


# ---- HDF5 ---------------------------------------------------------------------------------------


def test_a_stack_is_replayed_in_order(tmp_path: Path) -> None:
    camera = Replay(path=write(tmp_path / "a.h5", frames=FRAMES))
    info = camera.info()
    assert (info.model, info.shape, info.dtype, info.bands) == (
        "replay",
        (12, 10),
        "uint16",
        ("0",),
    )
    assert np.array_equal(images(camera), FRAMES[:, np.newaxis])


def test_one_image_is_one_frame(tmp_path: Path) -> None:
    camera = Replay(path=write(tmp_path / "a.h5", image=FRAMES[0]))
    assert np.array_equal(images(camera), FRAMES[:1, np.newaxis])


def test_four_dimensions_are_bands(tmp_path: Path) -> None:
    stack = FRAMES[:6].reshape(3, 2, 12, 10)
    path = write(tmp_path / "a.h5", frames=stack)
    assert Replay(path=path).info().bands == ("0", "1")
    assert np.array_equal(images(Replay(path=path)), stack)
    write(path, frames=stack, band=["4 keV", "8 keV"])
    assert Replay(path=path).info().bands == ("4 keV", "8 keV")
    write(path, frames=stack, band=["same", "same"])
    assert Replay(path=path).info().bands == ("0", "1")


@pytest.mark.parametrize("dtype", ["u1", "i2", ">u2", "u4", ">i4", "u8", "f4", ">f8", "f2"])
def test_pixels_come_in_the_byte_order_of_this_machine(tmp_path: Path, dtype: str) -> None:
    stack = (FRAMES % 100).astype(dtype)
    camera = Replay(path=write(tmp_path / "a.h5", frames=stack))
    assert camera.info().dtype == stack.dtype.name
    pixels = images(camera)
    assert pixels.dtype.isnative
    assert np.array_equal(pixels[:, 0], stack)


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [("c8", (3, 4, 5)), ("?", (3, 4, 5)), ("f16", (3, 4, 5)), ("u2", (1, 2, 3, 4, 5)),
     ("u2", (0, 4, 5))],
)  # fmt: skip
def test_what_cannot_be_frames_is_refused(
    tmp_path: Path, dtype: str, shape: tuple[int, ...]
) -> None:
    error = refused(Replay(path=write(tmp_path / "a.h5", frames=np.zeros(shape, dtype))))
    assert error.field in ("path", "dataset")


def eiger(folder: Path, counts: Sequence[int] = (3, 3, 1), **options: Any) -> Path:
    """Write a master as DECTRIS does, with external links to data files."""
    start = 0
    master = folder / "run_master.h5"
    with h5py.File(master, "w") as file:
        data = file.create_group("entry/data")
        for number, count in enumerate(counts, 1):
            name = f"run_data_{number:06d}.h5"
            data[f"data_{number:06d}"] = h5py.ExternalLink(name, "/entry/data/data")
            with h5py.File(folder / name, "w") as part:
                part.create_dataset(
                    "entry/data/data", data=FRAMES[start : start + count],
                    chunks=(1, *FRAMES.shape[1:]), **options,
                )  # fmt: skip
            start += count
        classes = {"entry": "NXentry", "entry/instrument": "NXinstrument",
                   "entry/instrument/detector": "NXdetector"}  # fmt: skip
        for name, nx_class in classes.items():
            file.require_group(name).attrs["NX_class"] = np.bytes_(nx_class)
        detector = file["entry/instrument/detector"]
        for name, value, units in (
            ("x_pixel_size", 75e-6, "m"), ("y_pixel_size", 0.1, "mm"),
            ("detector_distance", 0.2, "m"), ("beam_center_x", 4.5, "pixel"),
            ("beam_center_y", 6.5, "pixel"), ("sensor_thickness", 450.0, "um"),
            ("saturation_value", 50000, ""), ("sensor_material", b"Si", ""),
            ("detector_number", "E-32-0117", ""),
        ):  # fmt: skip
            detector[name] = value
            detector[name].attrs["units"] = units
        detector["detectorSpecific/pixel_mask"] = np.zeros(FRAMES.shape[1:], "u4")
        file["entry/instrument/beam/incident_wavelength"] = 0.0918
        file["entry/instrument/beam/incident_wavelength"].attrs["units"] = "nm"
    return master


def test_an_eiger_master_is_followed(tmp_path: Path) -> None:
    camera = Replay(path=eiger(tmp_path, **hdf5plugin.Bitshuffle()))
    assert np.array_equal(images(camera)[:, 0], FRAMES)


def test_the_detector_is_described_as_the_master_does(tmp_path: Path) -> None:
    info = Replay(path=eiger(tmp_path)).info()
    assert info.pixel_size == pytest.approx((1e-4, 75e-6))
    assert info.beam_centre == (6.5, 4.5)
    assert (info.serial, info.sensor_material) == ("E-32-0117", "Si")
    assert (info.distance, info.saturation_value) == (0.2, 50000)
    assert (info.sensor_thickness, info.wavelength) == pytest.approx((450e-6, 0.918))


def test_data_files_must_fit_each_other_and_be_there(tmp_path: Path) -> None:
    master = eiger(tmp_path)
    second = tmp_path / "run_data_000002.h5"
    write(second, **{"entry/data/data": FRAMES.astype("u4")})
    assert "different kinds" in refused(Replay(path=master)).message
    second.unlink()
    assert "run_data_000002.h5" in refused(Replay(path=master)).value


def test_a_virtual_dataset_is_followed(tmp_path: Path) -> None:
    layout = h5py.VirtualLayout((7, 12, 10), "u2")
    for number, part in enumerate((slice(0, 4), slice(4, 7))):
        write(tmp_path / f"part_{number}.h5", frames=FRAMES[part])
        layout[part] = h5py.VirtualSource(f"part_{number}.h5", "frames", FRAMES[part].shape)
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file.create_virtual_dataset("entry/data/data", layout)
    camera = Replay(path=tmp_path / "master.h5")
    assert np.array_equal(images(camera)[:, 0], FRAMES)
    (tmp_path / "part_1.h5").unlink()  # HDF5 would read zeros
    assert refused(camera).value == "part_1.h5"


def test_a_dataset_is_named_where_several_may_be_meant(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", one=FRAMES, two=FRAMES[:2])
    error = refused(Replay(path=path))
    assert (error.field, len(error.allowed)) == ("dataset", 2)
    for camera in (Replay(path=path, dataset="two"), Replay(path=f"{path}::/two")):
        assert np.array_equal(images(camera)[:, 0], FRAMES[:2])
    assert refused(Replay(path=f"{path}::/two", dataset="one")).field == "dataset"
    assert refused(Replay(path=path, dataset="three")).field == "dataset"


def test_a_damaged_chunk_leaves_a_gap(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    master = eiger(tmp_path, **hdf5plugin.Bitshuffle())
    with h5py.File(tmp_path / "run_data_000001.h5", "a") as file:
        file["entry/data/data"].id.write_direct_chunk((1, 0, 0), b"damaged")
    taken = take(Replay(path=master))
    assert [frame.index for frame, _ in taken] == [0, 2, 3, 4, 5, 6]
    assert all(np.array_equal(pixels[0], FRAMES[frame.index]) for frame, pixels in taken)
    assert "leaves out image 1 of" in caplog.text


def test_a_damaged_first_image_is_told_at_once(tmp_path: Path) -> None:
    master = eiger(tmp_path, **hdf5plugin.Bitshuffle())
    with h5py.File(tmp_path / "run_data_000001.h5", "a") as file:
        file["entry/data/data"].id.write_direct_chunk((0, 0, 0), b"damaged")
    assert "cannot be read" in refused(Replay(path=master)).message


def test_hdf5_files_of_a_pattern_must_all_fit(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        write(tmp_path / f"part_{number}.h5", frames=FRAMES[:2] + number)
    camera = Replay(path=str(tmp_path / "part_*.h5"))
    expected = np.concatenate([FRAMES[:2] + number for number in (1, 2, 10)])
    assert np.array_equal(images(camera)[:, 0], expected)
    write(tmp_path / "part_2.h5", frames=FRAMES[:, :5])
    assert "part_2.h5" in refused(camera).message


# ---- formats of fabio ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [(CbfImage, "cbf"), (EdfImage, "edf"), (TifImage, "tif"), (EdfImage, "edf.gz")],
)
def test_files_of_a_pattern_are_sorted_naturally(
    tmp_path: Path, kind: Callable[..., Any], suffix: str
) -> None:
    stack = FRAMES.astype("i4")
    for number, image in enumerate(stack, 5):
        kind(data=image).write(str(tmp_path / f"scan_{number}.{suffix}"))
    camera = Replay(path=str(tmp_path / f"scan_*.{suffix}"))
    assert camera.info().dtype == "int32"
    assert np.array_equal(images(camera)[:, 0], stack)


def edf(path: Path, *stack: NDArray[Any]) -> Path:
    file = EdfImage(data=stack[0])
    for image in stack[1:]:
        file.append_frame(data=image)
    file.write(str(path))
    return path


def test_a_list_keeps_its_order_and_files_may_hold_several_images(tmp_path: Path) -> None:
    paths = [edf(tmp_path / "b.edf", *FRAMES[:3]), edf(tmp_path / "a.edf", *FRAMES[3:])]
    assert np.array_equal(images(Replay(path=paths))[:, 0], FRAMES)


def test_an_image_stack_of_numpy_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FRAMES)
    assert np.array_equal(images(Replay(path=tmp_path / "a.npy"))[:, 0], FRAMES)


def test_colours_are_bands(tmp_path: Path) -> None:
    colours = (FRAMES[:3] % 256).astype("u1")
    Image.fromarray(np.moveaxis(colours, 0, -1)).save(tmp_path / "a.tif")
    camera = Replay(path=tmp_path / "a.tif")
    assert camera.info().bands == ("red", "green", "blue")
    assert np.array_equal(images(camera), colours[np.newaxis])


@pytest.mark.parametrize(
    ("mode", "bands"), [("L", 1), ("RGB", 3), ("RGBA", 4), ("I;16", 1), ("P", 3), ("LA", 4)]
)
def test_photographs_in_png_are_read(mode: str, bands: int, tmp_path: Path) -> None:
    pixels = FRAMES[:4] if mode == "I;16" else (FRAMES[:4] % 256).astype("u1")
    colours = np.moveaxis(pixels[:bands], 0, -1) if bands > 1 else pixels[0]
    if mode == "LA":
        colours = colours[..., [0, 3]]
    picture = Image.fromarray(np.ascontiguousarray(colours))
    picture = picture.quantize() if mode == "P" else picture
    assert picture.mode == mode
    picture.save(tmp_path / "a.png")
    camera = Replay(path=tmp_path / "a.png")
    names = ("0",) if bands == 1 else ("red", "green", "blue", "alpha")[:bands]
    assert camera.info().bands == names
    wanted = pixels[:bands]
    if mode == "P":
        wanted = np.moveaxis(np.asarray(picture.convert("RGB")), -1, 0)
    if mode == "LA":
        wanted = pixels[[0, 0, 0, 3]]
    assert np.array_equal(images(camera), wanted[np.newaxis])


def test_a_jpeg_is_read_in_colours(tmp_path: Path) -> None:
    colours = np.zeros((16, 24, 3), "u1")
    colours[...] = [200, 100, 50]
    Image.fromarray(colours).save(tmp_path / "a.jpg", quality=95)
    camera = Replay(path=[tmp_path / "a.jpg", tmp_path / "a.jpg"])
    assert camera.info().bands == ("red", "green", "blue")
    found = images(camera)
    assert found.shape == (2, 3, 16, 24)
    assert np.abs(found.astype(int) - np.moveaxis(colours, -1, 0)).max() <= 3


def test_a_png_whose_colours_have_16_bits_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    raw = bytearray((tmp_path / "a.png").read_bytes())
    raw[24] = 16  # as its header would say; Pillow cannot write such
    (tmp_path / "a.png").write_bytes(raw)
    assert "16 bits" in str(refused(Replay(path=tmp_path / "a.png")))


def test_a_damaged_photograph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.moveaxis((FRAMES[:3] % 256).astype("u1"), 0, -1)).save(path)
    truncated(path)
    assert "cannot be read" in str(refused(Replay(path=path)))


@pytest.mark.parametrize("colours", [3, 4])
@pytest.mark.parametrize("told", ["rgba-image", b"rgb-image", None])
@pytest.mark.parametrize("count", [None, 2])
def test_colours_that_come_last_are_bands(
    colours: int, told: Any, count: int | None, tmp_path: Path
) -> None:
    shape = (12, 10, colours) if count is None else (count, 12, 10, colours)
    stack = np.random.default_rng(0).integers(0, 60000, shape, "u2")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=stack, chunks=True, **hdf5plugin.Bitshuffle())
        if told is not None:
            file["data"].attrs["interpretation"] = told
    camera = Replay(path=path)
    if count is None and told is None:  # three dimensions may be anything: they are frames
        assert camera.info().shape == (10, colours)
        return
    info = camera.info()
    assert (info.shape, info.bands) == (
        (12, 10), ("red", "green", "blue", "alpha")[:colours],
    )  # fmt: skip
    wanted = np.moveaxis(stack, -1, -3).reshape(count or 1, colours, 12, 10)
    assert np.array_equal(images(camera), wanted)


def test_bands_of_three_columns_stay_bands(tmp_path: Path) -> None:
    stack = FRAMES[:6, :, :3].reshape(3, 2, 12, 3)
    camera = Replay(path=write(tmp_path / "a.h5", frames=stack))
    assert camera.info().bands == ("0", "1")
    assert np.array_equal(images(camera), stack)


def test_a_damaged_chunk_of_a_colour_image_is_found_in_any_row(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    pixels = np.random.default_rng(0).integers(0, 60000, (12, 10, 3), "u2")
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", data=pixels, chunks=(4, 10, 3), compression="gzip")
        data.attrs["interpretation"] = "rgba-image"
        place = data.id.get_chunk_info(2).byte_offset
    with open(path, "r+b") as raw:
        raw.seek(place + 20)
        raw.write(bytes(40))
    assert "cannot be read" in str(refused(Replay(path=path)))


def test_a_pattern_is_told_and_goes_with_one_band_only(tmp_path: Path) -> None:
    assert Replay(path=write(tmp_path / "a.h5", frames=FRAMES)).info().pattern is None
    camera = Replay(path=tmp_path / "a.h5", pattern="gbrg")
    assert camera.info().pattern == "gbrg"
    path = write(tmp_path / "b.h5", frames=FRAMES[:6].reshape(3, 2, 12, 10))
    error = refused(Replay(path=path, pattern="gbrg"))
    assert (error.field, error.value) == ("pattern", "gbrg")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def altered(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"\x0c\x1a\x04\xd5") + 40] ^= 0x10  # in the pixels of a CBF
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("kind", "suffix", "damage"),
    [
        (EdfImage, "edf", truncated), (TifImage, "tif", truncated), (CbfImage, "cbf", truncated),
        (CbfImage, "cbf", altered), (CbfImage, "cbf", lambda path: path.write_bytes(b"")),
        (CbfImage, "cbf", Path.unlink),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_leaves_a_gap(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    kind: Callable[..., Any],
    suffix: str,
    damage: Callable[[Path], Any],
) -> None:
    paths = [tmp_path / f"scan_{number}.{suffix}" for number in range(4)]
    for path, image in zip(paths, FRAMES.astype("i4"), strict=False):
        kind(data=image).write(str(path))
    camera = Replay(path=paths)
    if damage is Path.unlink:  # after the files were found
        receiver = camera.receiver(0, 1)
        receiver.arm(prepared(camera))
        damage(paths[2])
        receiver.start()
        indices = []
        for _ in range(4):
            receiver.give(np.empty((1, 12, 10), "i4"))
            item = receiver.take(0)
            indices += [item.index] if isinstance(item, Frame) else []
        receiver.close()
        assert indices == [0, 1, 3]
    else:
        damage(paths[2])
        taken = take(camera)
        assert [frame.index for frame, _ in taken] == [0, 1, 3]
        assert np.array_equal(taken[2][1][0], FRAMES[3])
    assert paths[2].name in caplog.text


def test_a_damaged_image_among_several_leaves_a_gap_of_one(tmp_path: Path) -> None:
    truncated(edf(tmp_path / "a.edf", *FRAMES[:3]))
    camera = Replay(path=[tmp_path / "a.edf", edf(tmp_path / "b.edf", *FRAMES[3:5])])
    assert [frame.index for frame, _ in take(camera)] == [0, 1, 3, 4]


def test_an_unreadable_file_counts_for_as_many_images_as_the_first(tmp_path: Path) -> None:
    paths = [edf(tmp_path / f"{number}.edf", *FRAMES[:2]) for number in range(3)]
    paths[1].write_bytes(b"no EDF")
    assert [frame.index for frame, _ in take(Replay(path=paths))] == [0, 1, 4, 5]


@pytest.mark.parametrize("other", [FRAMES[1, :5], FRAMES[1].astype("f4")])
def test_a_file_of_another_kind_is_an_error_that_names_it(
    tmp_path: Path, other: NDArray[Any]
) -> None:
    camera = Replay(path=[edf(tmp_path / "a.edf", FRAMES[0]), edf(tmp_path / "b.edf", other)])
    camera.info()  # not every file of a scan is opened before
    with pytest.raises(ConfigError, match=r"b\.edf holds images of another kind"):
        take(camera)
    camera = Replay(path=edf(tmp_path / "c.edf", FRAMES[0], other))
    with pytest.raises(ConfigError, match=r"c\.edf holds images of different kinds"):
        take(camera)


# ---- asking -------------------------------------------------------------------------------------


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "none.h5", tmp_path / "none_*.cbf", tmp_path, [tmp_path / "none"]):
        assert refused(Replay(path=path)).field == "path"
    (tmp_path / "bad.h5").write_bytes(b"no HDF5")
    (tmp_path / "bad.cbf").write_bytes(b"no CBF")
    for name in ("bad.h5", "bad.cbf"):
        error = refused(Replay(path=tmp_path / name))
        assert (error.field, name in error.message) == ("path", True)
    path = edf(tmp_path / "a.edf", FRAMES[0])
    assert refused(Replay(path=path, dataset="entry")).field == "dataset"


@pytest.mark.parametrize(
    "fields",
    [{"path": ""}, {"path": []}, {"path": "a", "rate": 0}, {"path": "a", "rate": np.inf}, {}],
)
def test_fields_are_checked(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Replay(**fields)


def test_a_file_whose_name_looks_like_a_pattern_is_meant(tmp_path: Path) -> None:
    camera = Replay(path=edf(tmp_path / "a[1].edf", FRAMES[0]))
    assert np.array_equal(images(camera)[0, 0], FRAMES[0])


def test_yaml_takes_relative_paths_from_its_folder(tmp_path: Path) -> None:
    detector = {"type": "replay", "path": ["a.h5::/b", "scan_*.cbf"], "rate": 10}
    camera = Configuration.parse({"detector": detector}, tmp_path).detector
    assert isinstance(camera, Replay)
    assert camera.path == (f"{tmp_path}/a.h5::/b", f"{tmp_path}/scan_*.cbf")
    assert Replay(path="a.h5").absolute(tmp_path).path == f"{tmp_path}/a.h5"
    assert registry.detector_name(camera) == "replay"


def test_more_frames_than_there_are_end_with_the_files(tmp_path: Path) -> None:
    camera = Replay(path=write(tmp_path / "a.h5", frames=FRAMES))
    assert len(images(camera, nb_frames=50)) == 7
    assert len(images(camera, nb_frames=3)) == 3


@pytest.mark.parametrize("several", [False, True])
def test_a_loop_goes_on_with_its_numbers(tmp_path: Path, several: bool) -> None:
    paths = [edf(tmp_path / "a.edf", *FRAMES[:4]), edf(tmp_path / "b.edf", *FRAMES[4:])]
    paths = paths if several else [edf(tmp_path / "c.edf", *FRAMES)]
    pixels = images(Replay(path=paths, loop=True), nb_frames=17)
    assert np.array_equal(pixels[:, 0], np.concatenate([FRAMES] * 3)[:17])


def test_a_loop_of_which_nothing_can_be_read_any_more_ends(tmp_path: Path) -> None:
    paths = [edf(tmp_path / f"{number}.edf", FRAMES[number]) for number in range(2)]
    camera = Replay(path=paths, loop=True)
    receiver = camera.receiver(0, 1)
    receiver.arm(prepared(camera))
    receiver.start()
    receiver.give(np.empty((1, 12, 10), "u2"))
    assert isinstance(receiver.take(0), Frame)
    receiver.give(np.empty((1, 12, 10), "u2"))
    for path in paths:
        path.unlink()
    with pytest.raises(OSError, match="not one of the images"):
        list(iter(lambda: receiver.take(0), End()))
    receiver.close()


def test_the_pace_is_what_was_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", frames=FRAMES)
    assert prepared(Replay(path=path)).period == 0
    assert prepared(Replay(path=path), expo_time=0.2, latency_time=0.1).period == pytest.approx(0.3)
    assert prepared(Replay(path=path, rate=8)).period == 0.125
    for expo_time in (0.1, 5):
        hardware = prepared(Replay(path=path, rate=8), expo_time=expo_time, latency_time=1)
        assert hardware.period == pytest.approx(0.125)
        assert hardware.expo_time == min(expo_time, 0.125)


@pytest.mark.parametrize(("fields", "asked"), [({"rate": 50}, {}), ({}, {"expo_time": 0.02})])
def test_frames_do_not_come_faster_than_their_rate(
    tmp_path: Path, fields: dict[str, Any], asked: dict[str, Any]
) -> None:
    camera = Replay(path=write(tmp_path / "a.h5", frames=FRAMES), **fields)
    started = time.monotonic()
    assert len(images(camera, **asked)) == 7
    assert time.monotonic() - started >= 0.12


def test_stop_wakes_a_receiver_that_waits(tmp_path: Path) -> None:
    camera = Replay(path=write(tmp_path / "a.h5", frames=FRAMES), rate=1e-3)
    receiver = camera.receiver(0, 1)
    receiver.arm(prepared(camera))
    receiver.start()
    receiver.give(np.empty((1, 12, 10), "u2"))
    assert receiver.take(0) is None
    stop = threading.Thread(target=receiver.stop, args=(False,))
    stop.start()
    assert isinstance(receiver.take(60), End)
    stop.join()
    receiver.close()
    assert isinstance(receiver.take(0), End)


def test_files_that_changed_since_prepare_are_refused(tmp_path: Path) -> None:
    camera = Replay(path=write(tmp_path / "a.h5", frames=FRAMES))
    hardware = prepared(camera)
    write(tmp_path / "a.h5", frames=FRAMES.astype("u4"))
    receiver = camera.receiver(0, 1)
    with pytest.raises(ConfigError, match="changed"):
        receiver.arm(hardware)
    receiver.close()


# ---- the whole path -----------------------------------------------------------------------------


def run(client: Client, camera: Any, folder: Path, **asked: Any) -> ld.Acquisition:
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(folder), prefix="run"))
    acquisition = ld.Acquisition(client, camera, pipe, **asked)
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait()
    assert acquisition.state == ("acquired", "processed")
    return acquisition


def test_a_scan_is_saved_as_it_was(client: Client, tmp_path: Path) -> None:
    for number, image in enumerate(FRAMES.astype("i4")):
        CbfImage(data=image).write(str(tmp_path / f"scan_{number}.cbf"))
    (tmp_path / "scan_3.cbf").write_bytes(b"damaged")
    camera = Replay(path=str(tmp_path / "scan_*.cbf"))
    acquisition = run(client, camera, tmp_path, nb_frames=9)
    ledger = acquisition.ledger
    absent = np.flatnonzero(ledger["status"].values == 3)
    assert absent.tolist() == [3, 7, 8]
    causes = ledger["cause"].values[absent].tolist()
    assert causes == ["decode_error", "detector", "detector"]
    with h5py.File(acquisition.files["file"]) as file:
        saved = file["entry/data/data"][()]
    for number in (0, 1, 2, 4, 5, 6):
        assert np.array_equal(saved[number], FRAMES[number])


@pytest.mark.parametrize("bands", [("0",), ("4 keV", "8 keV")])
def test_what_limadask_saved_is_replayed_as_it_was(
    client: Client, tmp_path: Path, bands: tuple[str, ...]
) -> None:
    faults = {"drop": [2, 5], "lose_packets": [4, 7]}
    source = Simulator(shape=(64, 48), bands=bands, faults=faults)
    first = run(client, source, tmp_path / "first", nb_frames=10, expo_time=1e-3)
    camera = Replay(path=first.files["file"])
    assert camera.info().bands == bands
    assert camera.info().pixel_size == pytest.approx(source.info().pixel_size)
    again = run(client, camera, tmp_path / "again", nb_frames=10)
    assert np.flatnonzero(again.ledger["status"].values == 3).tolist() == [2, 5]
    with h5py.File(first.files["file"]) as one, h5py.File(again.files["file"]) as two:
        group = one["entry/data"], two["entry/data"]
        signal = group[1].attrs["signal"]
        assert np.array_equal(group[0][signal][()], group[1][signal][()])
        assert np.array_equal(group[0]["timestamp"][()], group[1]["timestamp"][()])
        pixels = group[1][signal][()].reshape(10, len(bands), 64, 48)
        lacking = [file["entry/instrument/detector/validity"] for file in (one, two)]
        assert [told["frame_number"][()].tolist() for told in lacking] == [[4, 7], [4, 7]]
        assert np.array_equal(lacking[0]["invalid"][()], lacking[1]["invalid"][()])
        assert lacking[0]["invalid"][()].any((1, 2, 3)).all()
    data_file = next((tmp_path / "first").glob("run_*_00000.h5"))
    told = {frame.index: frame.invalid for frame, _ in take(Replay(path=data_file))}
    assert [number for number, invalid in told.items() if invalid is not None]
    for number in set(range(10)) - {2, 4, 5, 7}:
        assert np.array_equal(pixels[number], source.frame(number).values)


def test_all_frames_there_are_make_a_run_without_a_number(client: Client, tmp_path: Path) -> None:
    camera = Replay(path=write(tmp_path / "a.h5", frames=FRAMES))
    acquisition = run(client, camera, tmp_path / "out", nb_frames=0)
    with h5py.File(acquisition.files["file"]) as file:
        assert np.array_equal(file["entry/data/data"][()], FRAMES)
    data_file = next((tmp_path / "out").glob("run_*_00000.h5"))
    taken = take(Replay(path=data_file))
    assert all(frame.timestamp for frame, _ in taken)
    assert sorted(int(pixels.sum()) for _, pixels in taken) == sorted(
        int(image.sum()) for image in FRAMES
    )


def test_logging_is_quiet_when_nothing_is_wrong(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "limadask_detectors"):
        images(Replay(path=edf(tmp_path / "a.edf", *FRAMES)))
    assert not caplog.records
