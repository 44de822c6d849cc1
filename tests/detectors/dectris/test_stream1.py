"""Messages of stream v1 are read, or refused."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import decompress

from limadask_benchmarks.receive.images import Compression, Images
from limadask_benchmarks.receive.stream1 import Stream1
from limadask_detectors.dectris.message import UnsupportedError
from limadask_detectors.dectris.stream1 import identify, image

SHAPE = (3, 20)


def parts(**fields: Any) -> list[bytes]:
    """An image of 3 rows and 20 columns, with some fields of its second part otherwise."""
    header = {"htype": "dimage-1.0", "series": 4, "frame": 5, "hash": ""}
    about: dict[str, Any] = {
        "htype": "dimage_d-1.0", "shape": [20, 3], "type": "uint16", "encoding": "<",
    }  # fmt: skip
    times = {"htype": "dconfig-1.0", "start_time": 10**9, "stop_time": 3 * 10**9, "real_time": 5}
    payload = fields.pop("payload", np.arange(60, dtype="<u2").tobytes())
    about = {**about, "size": len(payload), **fields}
    return [json.dumps(header).encode(), json.dumps(about).encode(), payload,
            json.dumps(times).encode()]  # fmt: skip


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
@pytest.mark.parametrize("compression", ["bslz4", "lz4", "none"])
def test_images_are_as_they_were_sent(dtype: str, compression: Compression) -> None:
    images = Images((30, 50), dtype, compression=compression)
    message = identify([bytes(one) for one in Stream1(images).image(9, 3)])
    assert (message.kind, message.series, message.number) == ("image", 9, 3)
    found = image(message)
    (channel,) = found.channels.values()
    assert (channel.shape, channel.dtype) == ((30, 50), np.dtype(dtype))
    raw = bytes(channel.chunk)
    if compression != "none":
        raw = decompress(raw, compression, elem_size=np.dtype(dtype).itemsize)
    np.testing.assert_array_equal(np.frombuffer(raw, dtype).reshape(30, 50), images.pixels(3)[0])
    assert found.times == pytest.approx((0.06, 0.078, 0.018))
    assert found.timestamp is None


def test_the_fastest_axis_comes_first() -> None:
    channel = image(identify(parts())).channels[""]
    assert channel.shape == SHAPE
    assert bytes(channel.chunk) == np.arange(60, dtype="<u2").tobytes()


def test_big_endian_pixels_are_turned() -> None:
    payload = np.arange(60, dtype=">u2").tobytes()
    channel = image(identify(parts(encoding=">", payload=payload))).channels[""]
    assert channel.dtype == np.dtype("uint16")
    np.testing.assert_array_equal(np.frombuffer(channel.chunk, "<u2"), np.arange(60))


@pytest.mark.parametrize("detail", [1, 2, 8, 9])
def test_a_start_has_as_many_parts_as_its_detail(detail: int) -> None:
    header = b'{"htype": "dheader-1.0", "series": 12, "header_detail": "all"}'
    message = identify([header, *[b"\xff\xfe"] * (detail - 1)])
    assert (message.kind, message.series, message.number) == ("start", 12, -1)


def test_an_end_says_of_which_series() -> None:
    message = identify([b'{"htype": "dseries_end-1.0", "series": 12}'])
    assert (message.kind, message.series) == ("end", 12)


def test_more_parts_are_left_out() -> None:
    assert image(identify([*parts(), b"appendix"])).times == (1.0, 3.0, 5e-9)


@pytest.mark.parametrize("last", [[], [b"no JSON"], [b"[" * 100_000], [b'{"start_time": "soon"}']])
def test_an_image_is_not_lost_for_its_times(last: list[bytes]) -> None:
    found = image(identify([*parts()[:3], *last]))
    assert all(math.isnan(one) for one in found.times)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (b"", "Expecting value"),
        (b"[1]", "no JSON object"),
        (b"\xff", "codec can't decode"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"htype": "dimage-1.0", "series": 1}', "frame is None"),
        (b'{"htype": "dimage-1.0", "series": 1, "frame": -1}', "frame is -1"),
        (b'{"htype": "dimage-1.0", "series": 1, "frame": 1.0}', "frame is 1.0"),
        (b'{"htype": "dimage-1.0", "series": true, "frame": 1}', "series is True"),
        (b'{"htype": "dimage-1.0", "series": 9223372036854775808, "frame": 1}', "series is 92"),
        (b'{"htype": "dimage-2.0", "series": 1, "frame": 1}', "of type 'dimage-2.0'"),
        (b'{"series": 1, "frame": 1}', "of type None"),
    ],
)
def test_what_is_no_message_is_refused(header: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        identify([header, b"", b""])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"encoding": "bs16-lz4>"}, "the wrong way round"),
        ({"encoding": "bs16<"}, "encoded as bs16<"),
        ({"encoding": "zstd<"}, "encoded as zstd<"),
        ({"encoding": None}, "encoded as None"),
        ({"type": "complex"}, "type complex"),
        ({"type": ["uint16"]}, "type "),
        ({"shape": [20]}, r"shape \[20\]"),
        ({"shape": [20, 3, 1]}, "shape"),
        ({"shape": [0, 3]}, "shape"),
        ({"shape": "20x3"}, "shape"),
    ],
)
def test_what_no_image_of_a_series_can_be_is_unsupported(fields: Any, says: str) -> None:
    with pytest.raises(UnsupportedError, match=says):
        image(identify(parts(**fields)))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"encoding": "bs32-lz4<"}, "pixels of uint16"),
        ({"encoding": "bs16-lz4<"}, "its header tells"),
        ({"encoding": "lz4<"}, "120 bytes of LZ4"),
        ({"payload": bytes(119)}, "119 bytes are no image of 120"),
        ({"size": 121}, "120 bytes came of 121"),
    ],
)
def test_an_image_that_is_damaged_is_refused(fields: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        image(identify(parts(**fields)))
    assert not isinstance(caught.value, UnsupportedError)


def test_an_image_without_its_pixels_is_refused() -> None:
    for count in (1, 2):
        with pytest.raises(ValueError, match=f"has {count} parts"):
            image(identify(parts()[:count]))


@given(st.data())
def test_a_message_with_wrong_bits_is_read_or_refused(data: st.DataObject) -> None:
    damaged = [bytearray(one) for one in parts(encoding=data.draw(st.sampled_from(["<", "lz4<"])))]
    for _ in range(data.draw(st.integers(1, 4))):
        part = data.draw(st.sampled_from(damaged))
        part[data.draw(st.integers(0, len(part) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = image(identify([bytes(one) for one in damaged]))
    except ValueError:
        return
    assert set(found.channels) == {""}
