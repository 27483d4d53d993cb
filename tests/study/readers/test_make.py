"""Studies: whole folders, the same for the same seed, a private key, and nothing of the label with the readers."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roentmod_fast.errors import OutputError, SettingError, SourceError
from roentmod_fast.study.labels import READ
from roentmod_fast.study.plan import Cohort, Output, write_plan
from roentmod_fast.study.readers.key import CONTROL, read_key, study_id
from roentmod_fast.study.readers.make import StudyMaker, StudySettings, make_study
from roentmod_fast.study.readers.sheet import COLUMNS, read_sheet
from tests.study.readers.conftest import SETTINGS, MakeStudy, drawn_cohort, source_image, write_source


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_study_has_a_folder_a_reader_and_a_key_of_its_own(study_of: MakeStudy) -> None:
    folder, made = study_of()
    assert sorted(path.name for path in folder.iterdir()) == [
        *("key.json", "reader-1", "reader-2", "reader-3", "study.json"),
    ]
    assert stat.S_IMODE((folder / "key.json").stat().st_mode) == 0o600
    key = read_key(folder / "key.json")
    assert key == made.key
    public = json.loads((folder / "study.json").read_text())
    assert public == {
        **{"format": 1, "study": key.study, "title": "Reader study", "findings": list(READ)},
        **{"canvas": 96, "readers": 3},
    }
    assert re.fullmatch(r"[abc][0-9a-f]{15}", key.study)
    for reader in (1, 2, 3):
        own = folder / f"reader-{reader}"
        assert sorted(path.name for path in own.iterdir()) == ["README.txt", "images", "sheet.csv"]
        sheet = read_sheet(own / "sheet.csv")
        assert sheet.study == key.study and sheet.findings == READ
        assert not any(row.read for row in sheet.rows)
        names = {path.stem for path in (own / "images").iterdir()}
        assert names == {row.image for row in sheet.rows} == {each.name for each in key.images if each.reader == reader}
        assert [row.order for row in sheet.rows] == list(range(1, len(names) + 1))
        assert all(re.fullmatch(r"x[0-9a-f]{12}", name) for name in names)
        with (own / "sheet.csv").open(encoding="utf-8-sig") as file:
            assert tuple(next(csv.reader(file))) == COLUMNS(READ)
    for image in key.images:
        assert hashlib.sha256((folder / image.path).read_bytes()).hexdigest() == image.sha256


def test_what_is_in_the_key(study_of: MakeStudy, cohort: Cohort) -> None:
    _, made = study_of(controls=0.25, overlap=0.25, repeat=0.2)
    key = made.key
    assert (made.edits, made.controls, made.shared) == (12, 4, 4)
    assert key.cohort["digest"] == cohort.digest.hex() and key.settings["seed"] == 1
    ids = {edit.id: (edit, source) for source in cohort.sources() for edit in cohort.edits_of(source)}
    assert {image.edit for image in key.images if image.edit} == set(ids)
    for image in key.images:
        assert image.patient.startswith("P") and image.labels == {"no_finding": "1"}
        if image.real:
            assert (image.edit, image.prompt, image.asked, image.kind) == ("", "", (), CONTROL)
        else:
            edit, source = ids[image.edit]
            assert (image.prompt, image.asked, image.source) == (edit.prompt, (edit.prompt,), source.key)
    by_case = {case: {each.reader for each in key.images if each.case == case} for case in range(1, 17)}
    assert sorted(map(len, by_case.values())) == [1] * 12 + [3] * 4
    shared = {each.case for each in key.images if each.shared}
    assert all((len(readers) == 3) == (case in shared) for case, readers in by_case.items())
    again = [each for each in key.images if each.again]
    assert again
    for each in again:
        [first] = [one for one in key.images if (one.case, one.reader, one.again) == (each.case, each.reader, False)]
        assert first.order < each.order and first.name != each.name


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(study_of: MakeStudy) -> None:
    first, made = study_of("one")
    second, _ = study_of("two")
    _, other = study_of("three", seed=2)
    assert files_of(first) == files_of(second)
    assert other.key.study != made.key.study
    assert not {each.name for each in made.key.images} & {each.name for each in other.key.images}


def test_per_prompt_takes_the_same_sources_for_all_prompts(study_of: MakeStudy) -> None:
    _, made = study_of(per_prompt=3, controls=0.4, readers=1)
    sources = {
        prompt: {each.source for each in made.key.images if each.prompt == prompt} for prompt in ("edema", "hernia", "")
    }
    assert sources["edema"] == sources["hernia"] and len(sources["edema"]) == 3
    assert len(sources[""]) == 4 and sources[""] >= sources["edema"]


def test_controls_beyond_the_sources_are_noted(study_of: MakeStudy) -> None:
    _, made = study_of(controls=0.9)
    assert made.controls == 6
    assert made.notes == ["6 controls of 108: there are no more sources; their share is 0.33"]
    assert study_of("none", controls=0)[1].controls == 0


def test_controls_of_another_cohort(cohort: Cohort, tmp_path: Path) -> None:
    others = drawn_cohort(tmp_path, 5, created="2026-05-05T12:00:00+00:00")
    made = StudyMaker(cohort, tmp_path / "study", SETTINGS, controls_from=others).make()
    assert made is not None
    assert {each.source for each in made.key.images if each.real} <= {each.key for each in others.sources()}
    assert made.key.cohort["controls_digest"] == others.digest.hex()


def test_a_control_is_read_by_its_own_cohort_s_path(tmp_path: Path) -> None:
    """The same content has another name and another folder in the cohort of the controls."""
    cohort, others = drawn_cohort(tmp_path / "a", 5), drawn_cohort(tmp_path / "b", 5)
    films = tmp_path / "b" / "films"
    films.mkdir()
    rows = []
    for source in others.sources():
        (tmp_path / "b" / "sources" / source.path).rename(films / f"film-{source.path}")
        rows.append(replace(source, path=f"film-{source.path}", name=f"film-{source.path}"))
    origin = replace(others.plan.origin, root=str(films))
    renamed = write_plan(tmp_path / "b" / "renamed", replace(others.plan, origin=origin), rows, ("no_finding", "edema"))
    made = StudyMaker(cohort, tmp_path / "study", replace(SETTINGS, controls=1 / 3), controls_from=renamed).make()
    assert made is not None and made.controls == 5


def test_images_hold_their_source_and_a_mark(study_of: MakeStudy) -> None:
    folder, made = study_of(size=128)
    for image in made.key.images[:4]:
        with Image.open(folder / image.path) as opened:
            assert (opened.mode, opened.size, opened.info) == ("L", (128, 128), {})
            pixels = np.asarray(opened)
        strip, shown = pixels[:10], pixels[10:]
        assert strip.max() > 100 and (strip[:, :4] == 0).all()
        number = int(image.patient[1:])
        expected = source_image(number, image.asked)
        inside = shown[:, (128 - 106) // 2 : (128 + 106) // 2]
        reference = np.asarray(Image.fromarray(expected).resize(inside.shape[::-1], Image.Resampling.BICUBIC))
        assert np.corrcoef(reference.ravel(), inside.ravel())[0, 1] > 0.95


def test_a_folder_with_something_in_it_is_left_alone(study_of: MakeStudy, tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    study_of()
    with pytest.raises(OutputError, match="not empty"):
        study_of()
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="not empty"):
        study_of("file")
    assert not list(tmp_path.glob(".*"))


def test_a_study_that_is_stopped_leaves_nothing(cohort: Cohort, tmp_path: Path) -> None:
    names: list[str] = []
    made = StudyMaker(cohort, tmp_path / "s", SETTINGS).make(names.append, lambda: len(names) > 3)
    assert made is None and len(names) == 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["source", "edit", "gone"])
def test_an_image_that_cannot_be_read_is_an_error_and_not_left_out(tmp_path: Path, what: str) -> None:
    cohort = drawn_cohort(tmp_path, 3)
    if what == "source":
        write_source(tmp_path / "sources" / "s1.png", source_image(77))
    else:
        [*_, path] = sorted((cohort.folder / "edits").rglob("*.png"))
        path.unlink() if what == "gone" else path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(SourceError, match=r"a study needs all of its images|changed since"):
        make_study(cohort, tmp_path / "study", replace(SETTINGS, readers=1))
    assert not (tmp_path / "study").exists() and not list(tmp_path.glob(".study*"))


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"size": 32}, "--size 32"),
        ({"detail": 2}, "--detail 2"),
        ({"controls": 1.0}, "--controls 1"),
        ({"controls": float("nan")}, "--controls nan"),
        ({"per_prompt": 0}, "--per-prompt 0"),
        ({"per_prompt": 7}, "6 edits are made, 7 are needed"),
        ({"prompts": ("mass",)}, "--prompt 'mass': not in the plan: expected one of 'edema', 'hernia'"),
        ({"seed": -1}, "--seed -1"),
        ({"findings": ()}, "at least one"),
        ({"findings": ("Edema",)}, "'Edema'"),
        ({"findings": ("status",)}, "'status'"),
        ({"findings": ("a b",)}, "'a b'"),
        ({"findings": ("edema", "edema")}, "one comes twice"),
        ({"readers": 0}, "0 readers"),
        ({"readers": 99}, "images for 99 readers"),
        ({"overlap": 2.0}, "overlap 2"),
    ],
)
def test_settings_that_make_no_study(study_of: MakeStudy, fields: dict[str, object], match: str) -> None:
    with pytest.raises(SettingError, match=match):
        study_of(**fields)


def test_cohorts_that_cannot_be_blinded(tmp_path: Path) -> None:
    labelled = drawn_cohort(tmp_path / "a", 2, output=Output("png", size=64, label=True))
    with pytest.raises(SettingError, match="SYNTHETIC is burned into its edits"):
        make_study(labelled, tmp_path / "study", SETTINGS)
    replaced = drawn_cohort(tmp_path / "b", 3, settings={"compose": "replace"})
    with pytest.raises(SettingError, match="give it by --detail PIXELS"):
        make_study(replaced, tmp_path / "study", SETTINGS)
    assert make_study(replaced, tmp_path / "study", replace(SETTINGS, readers=1, detail=48)) is not None
    phantom = drawn_cohort(tmp_path / "c", 3, settings={"compose": "replace"}, engine_place="phantom")
    made = make_study(phantom, tmp_path / "engine", StudySettings(readers=1, size=512))
    assert made is not None and made.key.settings["detail"] == 64


def test_ids_are_text_for_spreadsheets() -> None:
    ids = [study_id("digest", number) for number in range(500)]
    assert len(set(ids)) == 500 and all(re.fullmatch(r"[abc][0-9a-f]{15}", each) for each in ids)
