"""How things look in a notebook."""

from __future__ import annotations

import re

import limadask as ld
from limadask.geometry import Affine, Grid
from limadask.ledger import Ledger
from limadask.parameters import AcquisitionParameters, ParameterSets
from limadask_detectors import Simulator
from limadask_tasks import Flip, SaveHdf5


def rows(page: str) -> dict[str, list[str]]:
    """The cells of all rows of tables, by the first."""
    found = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in page.split("<tr")[1:]]
    return {cells[0]: cells[1:] for cells in found}


def test_the_three_parameter_sets_stand_side_by_side() -> None:
    camera = Simulator(shape=(64, 48), hardware_flip=False, hardware_binning=False)
    asked = AcquisitionParameters(nb_frames=7, binning={"y": 2, "x": 2}, flip="x")
    ready = ld.check(ld.Configuration(detector=camera, acquisition=asked))
    sets = ParameterSets(user=asked, hardware=ready.hardware, software=ready.software)
    shown = rows(sets._repr_html_())
    assert shown["parameter"] == ["user", "hardware", "software"]
    assert shown["nb_frames"] == ["7", "7", ""]
    assert shown["binning"] == ["y: 2, x: 2", "y: 1, x: 1", "y: 2, x: 2, mode: sum"]
    assert shown["flip"] == ["x", "none", "axis: x"]
    assert shown["roi"] == ["—", "—", ""]
    assert shown["shape"] == ["", "[64, 48]", "[32, 24]"]
    assert shown["dtype"] == ["", "uint16", "uint32"]
    assert shown["nb_slots"] == ["", "", str(ready.software.nb_slots)]


def test_before_prepare_only_the_user_s_parameters_are_known() -> None:
    page = ParameterSets(user=AcquisitionParameters(flip="y"))._repr_html_()
    assert rows(page)["flip"] == ["y", "", ""]
    assert "not prepared yet" in page


def test_a_pipeline_is_a_tree_and_its_names_are_no_markup() -> None:
    pipe = ld.Pipeline()
    pipe.add("upside_down", Flip(axis="y"))
    pipe.add("file", SaveHdf5(folder="<b>"), after="upside_down")
    page = pipe._repr_html_()
    assert "└─ upside_down: flip(axis=y)\n   └─ file: save_hdf5(" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page


def test_a_grid_is_drawn_with_its_place_on_the_detector() -> None:
    turned = Grid((4, 6), Affine.of([(0, 2, 10), (2, 0, 20), (0, 0, 1)]))
    page = turned._repr_html_()
    (outline,) = re.findall(r'points="([^"]*)"', page)
    assert outline == "19,9 19,21 27,21 27,9"


def test_a_ledger_counts_and_names_what_is_lost() -> None:
    ledger = Ledger(10)
    ledger.mark(0, 3, ld.Status.PRESENT)
    ledger.mark(3, 5, ld.Status.ABSENT, "detector")
    ledger.mark(5, 10, ld.Status.PRESENT)
    page = ledger._repr_html_()
    assert "8 present" in page
    assert rows(page)["3"] == ["4", "absent", "detector"]


def test_a_model_shows_its_fields_with_their_meaning_and_no_markup() -> None:
    html = Simulator(shape=(64, 48), bands=["<b>low</b>"])._repr_html_()
    assert '<td style="text-align: left">shape</td><td>(64, 48)</td>' in html
    assert "Mean count of a pixel of the first band." in html
    assert "<b>low" not in html
    assert "&lt;b&gt;low" in html
