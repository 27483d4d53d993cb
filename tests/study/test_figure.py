"""Heat maps and interval plots: what SVG and PNG hold, colours, names that do not fit, bad input."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from roentmod_fast.errors import SettingError
from roentmod_fast.study import drawing, figure
from roentmod_fast.study.drawing import MINUS
from roentmod_fast.study.figure import Panel, heat_map, interval_plot, number_text
from roentmod_fast.study.statistics import Interval

NAN = float("nan")
SVG = "{http://www.w3.org/2000/svg}"
PANEL = Panel(
    "a model",
    ["edema", "pleural effusion"],
    ["edema", "pleural effusion", "hernia"],
    np.array([[42.4, -12.6, 0.3], [NAN, 71.0, -0.2]]),
    [["40 to 45", "", ""], ["", "", "n 9"]],
    muted=np.array([[False, True, True], [False, False, True]]),
    marked=np.array([[True, False, False], [False, True, False]]),
)
OPTIONS: dict[str, Any] = {"scale": 60, "unit": "points", "caption": "A caption."}


def texts(svg: bytes) -> list[str]:
    return [part.text or "" for part in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def pixels(png: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_an_svg_holds_numbers_as_text_and_a_description() -> None:
    svg = heat_map([PANEL], **OPTIONS, marked_label="added", row_title="prompt", column_title="prediction").svg()
    root = ElementTree.fromstring(svg)
    found = texts(svg)
    for text in (
        "+42",
        f"{MINUS}13",
        "0",
        "+71",
        "n/a",
        "40 to 45",
        "n 9",
        f"{MINUS}60",
        "+60 or more",
        "points",
        "A caption.",
    ):
        assert text in found, text
    assert {"prompt", "prediction", "added", "pale: not significant", "n/a: not measured"} <= set(found)
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{root[0].get('id')} {root[1].get('id')}"
    other = ElementTree.fromstring(heat_map([replace(PANEL, title="b")], **OPTIONS).svg())
    assert root[0].get("id") != other[0].get("id"), "several figures fit in one page"
    description = root.findtext(f"{SVG}desc") or ""
    assert "highest 71 at pleural effusion, pleural effusion; lowest -12.6 at edema, pleural effusion" in description
    titles = [part.text for part in root.iter(f"{SVG}title")]
    assert "edema, edema: +42 (40 to 45)" in titles and "pleural effusion, edema: not measured" in titles


def test_the_same_figure_has_the_same_bytes() -> None:
    assert heat_map([PANEL], **OPTIONS).svg() == heat_map([PANEL], **OPTIONS).svg()
    assert heat_map([PANEL], **OPTIONS).png() == heat_map([PANEL], **OPTIONS).png()


def test_a_png_has_twice_the_size() -> None:
    root = ElementTree.fromstring(heat_map([PANEL], **OPTIONS).svg())
    image = Image.open(io.BytesIO(heat_map([PANEL], **OPTIONS).png()))
    assert image.size == (2 * int(root.get("width", 0)), 2 * int(root.get("height", 0)))
    assert image.mode == "RGB"


def test_up_is_blue_down_is_red_and_no_shift_is_white() -> None:
    scale = figure._scale(60)
    colours = {value: scale.colour(value) for value in (-80.0, -60.0, -20.0, 0.0, 20.0, 60.0, 80.0)}
    parts = {value: [int(text[place : place + 2], 16) for place in (1, 3, 5)] for value, text in colours.items()}
    assert colours[0.0] == "#ffffff"
    assert parts[20.0][2] > parts[20.0][0] and parts[60.0][2] > parts[60.0][0]
    assert parts[-20.0][0] > parts[-20.0][2] and parts[-60.0][0] > parts[-60.0][2]
    assert colours[80.0] == colours[60.0] and colours[-80.0] == colours[-60.0]
    pale = scale.colour(60.0, muted=True)
    assert figure._luminance(pale) > figure._luminance(colours[20.0])
    # What is shown as 0 is white as well.
    fills = [
        part.get("fill")
        for part in ElementTree.fromstring(heat_map([PANEL], **OPTIONS).svg()).iter(f"{SVG}rect")
        if part.find(f"{SVG}title") is not None
    ]
    assert fills[2] == fills[5] == "#ffffff" and fills[0] == scale.colour(42.4)


def test_text_on_every_colour_has_contrast() -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1."""
    for scale, low, high in ((figure._scale(60), -60, 60), (figure._scale((0, 1)), 0, 1)):
        for value in np.linspace(low, high, 201):
            for muted in (False, True):
                fill = scale.colour(float(value), muted)
                assert figure._contrast(fill, figure._ink(fill, muted)) >= 4.5, (value, muted)


def test_a_sequential_scale_has_shares() -> None:
    panel = Panel("readers", ["a"], ["b", "c"], np.array([[0.925, 0.0]]), [["n 40", "n 0"]])
    found = texts(heat_map([panel], scale=(0, 1), unit="share", caption="").svg())
    assert {"0.93", "0.00", "n 40", "0.50", "1.00"} <= set(found) and "+0.93" not in found


def test_panels_stand_side_by_side_and_names_of_rows_once() -> None:
    one = ElementTree.fromstring(heat_map([PANEL], **OPTIONS).svg())
    three = heat_map([PANEL, replace(PANEL, title="another"), replace(PANEL, title="third")], **OPTIONS).svg()
    assert float(ElementTree.fromstring(three).get("width", 0)) > 1.2 * float(one.get("width", 0))
    assert ElementTree.fromstring(three).get("height") == one.get("height")
    assert texts(three).count("pleural effusion") == 1, "a row's name; those of columns are in two lines"
    assert texts(three).count("hernia") == 3
    other = replace(PANEL, rows=["mass", "nodule"])
    assert "nodule" in texts(heat_map([PANEL, other], **OPTIONS).svg())
    many = ElementTree.fromstring(heat_map([PANEL] * 9, **OPTIONS).svg())
    assert float(many.get("width", 0)) < 1700 and float(many.get("height", 0)) > float(one.get("height", 0)) + 100


NAMES = [
    "<b>&\"'",
    "x" * 300,
    "a " * 200,
    "",
    "œdème, Ödem, édème",
    "浮腫",
    "a\x00b\x1b\ud800",
    "a\nb\tc",
    "\u22125 \u2265 3 \u2013 \u00bd",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_drawn(name: str) -> None:
    panel = replace(
        PANEL, title=name, rows=[name, "b"], columns=[name, "b", "c"], notes=[[name[:20], "", ""], [""] * 3]
    )
    options = {**OPTIONS, "caption": name, "unit": name[:40], "row_title": name[:20]}
    root = ElementTree.fromstring(heat_map([panel], **options).svg())
    assert root.tag == f"{SVG}svg" and 300 < float(root.get("width", 0)) < 2500
    assert pixels(heat_map([panel], **options).png()).std() > 5
    rows = [(name, Interval(0.5, 0.4, 0.6))]
    ElementTree.fromstring(interval_plot(rows, title=name, unit="", caption=name).svg())
    assert interval_plot(rows, title=name, unit="", caption=name).png()


def test_a_png_replaces_letters_that_its_font_lacks() -> None:
    assert drawing._drawable("Ödem \u2013 édème \u2265 5") == "Odem - edeme >= 5"
    assert drawing._drawable("浮腫 β") == "?? ?"
    assert drawing._drawable("a\x00b") == "a?b"
    assert drawing.text_width(f"{MINUS}5", 12) > drawing.text_width("5", 12) + 4


def test_lines_are_broken_at_spaces_and_in_long_words() -> None:
    lines = drawing.wrap("pleural effusion and a verylongwordwithoutanyspace", 12, 60)
    assert lines[0] == "pleural" and all(drawing.text_width(line, 12) <= 60 for line in lines)
    assert "".join(lines).replace(" ", "") == "pleuraleffusionandaverylongwordwithoutanyspace"
    cut = drawing.wrap("pleural effusion and more", 12, 60, 2)
    assert len(cut) == 2 and cut[1].endswith("…") and drawing.text_width(cut[1], 12) <= 60
    assert drawing.wrap("", 12, 60) == [""]


@pytest.mark.parametrize(
    ("value", "digits", "signed", "text"),
    [
        (0.4, 0, True, "0"),
        (-0.4, 0, True, "0"),
        (-12.6, 0, True, f"{MINUS}13"),
        (5, 0, True, "+5"),
        (5, 1, False, "5.0"),
        (-0.0, 2, True, "0.00"),
    ],
)
def test_numbers_have_a_minus_sign_and_zero_has_none(value: float, digits: int, signed: bool, text: str) -> None:
    assert number_text(value, digits, signed=signed) == text


def test_intervals_are_plotted_with_their_numbers() -> None:
    rows = [("one", Interval(0.86, 0.82, 0.89)), ("two", Interval(NAN, 0, 1)), ("three", Interval(0.5, NAN, NAN))]
    svg = interval_plot(
        rows, title="AUC", unit="area", caption="A caption.", reference=0.5, margin=0.05, limits=(0.4, 0.85)
    ).svg()
    found = texts(svg)
    assert {"0.86 (0.82 to 0.89)", "n/a", "0.50", "one", "area", "AUC", "A caption."} <= set(found)
    root = ElementTree.fromstring(svg)
    assert "one: 0.86 (0.82 to 0.89)" in (root.findtext(f"{SVG}desc") or "")
    ends = [float(part.get(name, 0)) for part in root.iter(f"{SVG}line") for name in ("x1", "x2")]
    assert max(ends) <= float(root.get("width", 0)) and min(ends) >= 0
    image = Image.open(
        io.BytesIO(
            interval_plot(
                rows, title="AUC", unit="area", caption="A caption.", reference=0.5, margin=0.05, limits=(0.4, 0.85)
            ).png()
        )
    )
    assert image.size == (2 * int(root.get("width", 0)), 2 * int(root.get("height", 0)))


@pytest.mark.parametrize("values", [[0.0], [1e-9, 2e-9], [1e6, 3e6], [-3.0, -1.0], [0.7, 0.7], [NAN]])
def test_an_axis_fits_any_data(values: list[float]) -> None:
    rows = [(str(number), Interval(value, value, value)) for number, value in enumerate(values)]
    assert len(texts(interval_plot(rows, title="t", unit="u", caption="").svg())) >= len(values) + 4


ERRORS: dict[str, tuple[Callable[[], Any], str]] = {
    "no panels": (lambda: heat_map([], **OPTIONS).svg(), "no panels"),
    "no rows": (lambda: heat_map([replace(PANEL, rows=[])], **OPTIONS).svg(), "no rows or columns"),
    "shape": (
        lambda: heat_map([replace(PANEL, values=np.zeros((2, 2)))], **OPTIONS).png(),
        r"values of shape \(2, 2\)",
    ),
    "notes": (lambda: heat_map([replace(PANEL, notes=[["a"], ["b"]])], **OPTIONS).svg(), "notes of shape"),
    "ragged notes": (lambda: heat_map([replace(PANEL, notes=[["a"] * 3, ["b"]])], **OPTIONS).svg(), "notes of shape"),
    "no notes": (lambda: heat_map([replace(PANEL, notes=[])], **OPTIONS).svg(), "notes of shape"),
    "muted": (lambda: heat_map([replace(PANEL, muted=np.zeros(3, bool))], **OPTIONS).svg(), "muted of shape"),
    "infinite": (
        lambda: heat_map([replace(PANEL, values=np.full((2, 3), np.inf))], **OPTIONS).svg(),
        "infinite values",
    ),
    "scale 0": (lambda: heat_map([PANEL], **{**OPTIONS, "scale": 0}).svg(), "scale 0: expected above 0"),
    "scale NaN": (lambda: heat_map([PANEL], **{**OPTIONS, "scale": NAN}).svg(), "scale nan"),
    "scale falling": (lambda: heat_map([PANEL], **{**OPTIONS, "scale": (1, 0)}).svg(), "expected 0 <= low < high"),
    "scale below 0": (lambda: heat_map([PANEL], **{**OPTIONS, "scale": (-1, 1)}).svg(), "expected 0 <= low < high"),
    "no intervals": (lambda: interval_plot([], title="", unit="", caption="").svg(), "no rows"),
    "limits": (
        lambda: interval_plot([("a", Interval(1, 0, 2))], title="", unit="", caption="", limits=(1, 1)).png(),
        "limits",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_bad_input_is_an_error_of_one_line(name: str) -> None:
    call, message = ERRORS[name]
    with pytest.raises(SettingError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
