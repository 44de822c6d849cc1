"""What all savers into a folder have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import limadask as ld
from limadask_tasks import SaveHdf5, SaveImages, SaveZarr

SAVERS = SaveHdf5, SaveImages, SaveZarr


@pytest.mark.parametrize("kind", SAVERS)
def test_fields_of_a_prefix_are_filled_in(kind: Any, tmp_path: Path) -> None:
    (tmp_path / "LaB6_02_master.h5").touch()
    saver = kind(folder=str(tmp_path), prefix="{sample}_{run:02d}")
    names = {"sample": "LaB6"}
    assert saver.next_run(names) == 3
    assert saver.named({**names, "run": 3}).prefix == "LaB6_03"


@pytest.mark.parametrize("kind", SAVERS)
def test_what_is_in_the_way_is_found_before_the_first_exposure(kind: Any, tmp_path: Path) -> None:
    pipe = ld.Pipeline()
    pipe.add("saver", kind(folder=str(tmp_path)))
    pixels = np.ones((2, 1, 8, 9), "u2")
    assert ld.process(pixels, pipe).files["saver"].startswith(str(tmp_path))
    with pytest.raises(ld.ConfigError, match="exists") as caught:
        ld.process(pixels, pipe)
    assert (caught.value.node, caught.value.field) == ("saver", "file_exists_policy")
