"""The split by patient, the films without finding, and squares: on films that the test makes itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roentmod_fast_engines.cxr_mini.films import (
    NIH,
    SIZE,
    Film,
    hand_masks,
    load_squares,
    part_of,
    read_index,
)

SHARED = Path(__file__).parents[3] / "shared" / "films"
HEADER = "file,source,patient,age,sex,view,findings,rsna_reader_class\n"


def test_the_split_is_a_function_of_the_patient_alone() -> None:
    parts = [part_of(NIH, str(number)) for number in range(20_000)]
    shares = {part: parts.count(part) / len(parts) for part in set(parts)}
    assert shares == pytest.approx({"test": 0.20, "classifier": 0.14, "validation": 0.05, "train": 0.61}, abs=0.01)
    # Fixed for ever: the engine's figures hold for these patients only.
    assert [part_of(NIH, str(number)) for number in (1, 2, 3, 1280, 13670)] == [
        "validation",
        "classifier",
        "train",
        "test",
        "validation",
    ]
    assert part_of(NIH, "7") == part_of(NIH, "7")


def test_films_of_a_patient_are_in_one_part(tmp_path: Path) -> None:
    rows = [f"nih/{number:04d}_{k}.png,{NIH},{number},50,F,PA,No Finding," for number in range(40) for k in range(3)]
    (tmp_path / "index.csv").write_text(HEADER + "\n".join(rows) + "\n", encoding="utf-8")
    films = read_index(tmp_path)
    assert len(films) == 120
    parts = {film.patient: set() for film in films}
    for film in films:
        parts[film.patient].add(film.part)
    assert all(len(some) == 1 for some in parts.values())


@pytest.mark.parametrize(
    ("findings", "reader_class", "without"),
    [
        ("No Finding", "", True),
        ("No Finding", "Normal", True),
        ("No Finding", "Lung Opacity", False),
        ("No Finding", "No Lung Opacity / Not Normal", False),
        ("Edema", "", False),
        ("Edema", "Normal", False),
        ("", "", False),
    ],
)
def test_a_film_without_finding_is_one_that_no_reader_contradicts(
    findings: str, reader_class: str, without: bool
) -> None:
    film = Film("x.png", NIH, "1", "PA", frozenset(name for name in findings.split("|") if name), reader_class)
    assert film.without_finding is without


def test_squares_and_hand_masks_have_the_same_place(tmp_path: Path) -> None:
    (tmp_path / "hannover").mkdir()
    (tmp_path / "hannover-lungs").mkdir()
    image = np.zeros((300, 500), np.uint8)
    image[100:200, 50:200] = 255
    Image.fromarray(image).save(tmp_path / "hannover" / "a.png")
    Image.fromarray(image).convert("1").save(tmp_path / "hannover-lungs" / "a.png")
    (tmp_path / "index.csv").write_text(HEADER + "hannover/a.png,Hannover,7,50,F,AP,COVID-19,\n", encoding="utf-8")
    films = read_index(tmp_path)
    squares = load_squares(tmp_path, films)
    assert squares.shape == (1, SIZE, SIZE)
    masks = hand_masks(tmp_path, films)
    assert list(masks) == [0]
    assert ((squares[0] > 127) == masks[0]).mean() > 0.99
    assert not masks[0][:40].any()  # the padding above a wide film


@pytest.mark.skipif(not (SHARED / "index.csv").is_file(), reason="needs the films beside the project (../shared/films)")
def test_the_films_beside_the_project_give_sixty_to_test() -> None:
    films = read_index(SHARED)
    held = [film for film in films if film.source == NIH and film.part == "test" and film.without_finding]
    assert len(held) >= 60
    assert {film.view for film in held} == {"PA", "AP"}
