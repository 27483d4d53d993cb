"""Scores: a simulated panel is scored back to its error rates; what does not fit the key is an error."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from roentmod_fast.errors import SettingError
from roentmod_fast.study.labels import READ
from roentmod_fast.study.readers.agreement import BETWEEN, WITHIN, agreement_of
from roentmod_fast.study.readers.key import Key, read_key, write_private
from roentmod_fast.study.readers.rates import (
    ALL_EDITS,
    ASKED,
    CONTROLS,
    EXTRA,
    REALISM,
    Rate,
    check_options,
    cooccurrence,
    rate_index,
    rates_of,
    telling_of,
)
from roentmod_fast.study.readers.score import Reads, read_study
from roentmod_fast.study.readers.sheet import UNSURE, SheetRow, read_sheet, write_sheet
from tests.study.readers.conftest import MakeStudy
from tests.study.readers.panel import Reader, answers, key_of, write_panel

PROMPTS = READ[:6]
PANEL = (
    Reader(dict.fromkeys(READ, 0.95), 0.05, detects=0.5, trusts=0.5, names_extra=0.03),
    Reader(dict.fromkeys(READ, 0.85), 0.15, detects=0.55, trusts=0.45, names_extra=0.03),
    Reader(dict.fromkeys(READ, 0.75), 0.10, detects=0.45, trusts=0.55, names_extra=0.03),
)
SEES, INVENTS = np.array([0.95, 0.85, 0.75]), np.array([0.05, 0.15, 0.10])
Change = Callable[[SheetRow], SheetRow]


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Reads:
    """Sixty patients, six prompts and sixty controls, read by three readers."""
    key = key_of(60, PROMPTS, 60, overlap=0.3, repeat=0.2)
    return read_study(*write_panel(tmp_path_factory.mktemp("panel"), key, answers(key, PANEL)))


@pytest.fixture(scope="module")
def rates(panel: Reads) -> dict[tuple[str, str, str, int], Rate]:
    return rate_index(rates_of(panel, count=400))


def test_a_panel_is_scored_back_to_its_rates(rates: dict[tuple[str, str, str, int], Rate]) -> None:
    inside = {"wilson": [], "by_patient": []}
    for prompt in PROMPTS:
        for finding in READ:
            truth = (SEES if finding == prompt else INVENTS).mean()
            rate = rates[prompt, finding, "absent", 0]
            assert rate.images == rate.patients == 60 and rate.reads > 60
            for kind in inside:
                interval = getattr(rate, kind)
                assert interval.estimate == pytest.approx(rate.seen / 60)
                inside[kind].append(interval.low <= truth <= interval.high)
    # 48 intervals of 95 %: at least 42 hold the truth in 99.5 % of simulations.
    assert all(sum(each) >= 42 for each in inside.values()), {kind: sum(each) for kind, each in inside.items()}
    adherence = [rates[prompt, ASKED, "absent", 0] for prompt in PROMPTS]
    assert sum(rate.wilson.low <= SEES.mean() <= rate.wilson.high for rate in adherence) >= 5


def test_readers_are_scored_back_to_their_own_rates(rates: dict[tuple[str, str, str, int], Rate]) -> None:
    for reader, (sees, invents) in enumerate(zip(SEES, INVENTS, strict=True), 1):
        seen = [rates[prompt, prompt, "absent", reader] for prompt in PROMPTS]
        invented = [rates[p, f, "absent", reader] for p in PROMPTS for f in READ if f != p]
        assert sum(each.seen for each in seen) / sum(each.images for each in seen) == pytest.approx(sees, abs=0.05)
        total = sum(each.images for each in invented)
        assert sum(each.seen for each in invented) / total == pytest.approx(invents, abs=0.03)
        assert all(np.isnan(each.by_patient.low) for each in seen)


def test_realism_and_extra(rates: dict[tuple[str, str, str, int], Rate]) -> None:
    for row, truth in ((ALL_EDITS, 0.5), (CONTROLS, 0.5)):
        interval = rates[row, REALISM, "absent", 0].by_patient
        assert interval.low <= truth <= interval.high
    interval = rates[ALL_EDITS, EXTRA, "absent", 0].by_patient
    assert interval.low <= 0.03 <= interval.high
    assert rates[CONTROLS, ASKED, "absent", 0].images == 0


def test_chance_is_equivalent_to_chance_and_skill_is_not(panel: Reads, tmp_path: Path) -> None:
    pooled, *each = telling_of(panel, count=400)
    assert pooled.balanced.low <= 0.5 <= pooled.balanced.high and pooled.answer == "equivalent"
    assert pooled.auc.low <= 0.5 <= pooled.auc.high
    assert [one.reader for one in each] == [1, 2, 3]
    assert pooled.edits == sum(one.edits for one in each) and pooled.unsure == 0
    key = panel.key
    skilled = answers(key, [Reader(detects=0.9, trusts=0.7)] * 3)
    pooled, *_ = telling_of(read_study(*write_panel(tmp_path, key, skilled)), count=400)
    assert pooled.answer == "different" and pooled.balanced.low < 0.8 < pooled.balanced.high
    assert pooled.called_synthetic.low < 0.9 < pooled.called_synthetic.high
    assert pooled.called_real.low < 0.7 < pooled.called_real.high


@pytest.mark.parametrize(
    ("realism", "answer", "middle"),
    [("real", "undecided", 0.5), ("unsure", "undecided", 0.5), ("true", "different", 1)],
)
def test_readers_who_all_answer_alike_show_no_more_than_their_number(
    tmp_path: Path, realism: str, answer: str, middle: float
) -> None:
    """No resample differs, yet a few patients prove no equivalence."""
    key = small(overlap=0.0)
    real = {image.name: image.real for image in key.images}
    values = {"real": lambda name: 1, "unsure": lambda name: UNSURE, "true": lambda name: int(real[name])}
    reads = scored(tmp_path, lambda row: replace(row, realism=values[realism](row.image)), key)
    for found in telling_of(reads, count=200):
        assert found.balanced.estimate == middle == found.auc.estimate
        assert found.balanced.low < min(middle, 0.99) and found.auc.low < min(middle, 0.99)
        assert middle == 1 or (found.balanced.high > 0.6 and found.auc.high > 0.6)
        assert found.answer in (answer, "undecided")


def test_agreement_is_that_of_independent_readers(panel: Reads) -> None:
    found = {(each.kind, each.who, each.measure): each for each in agreement_of(panel, count=400)}
    shared = {image.case for image in panel.key.images if image.shared}
    asked = {name: np.mean([name in i.asked for i in panel.key.images if i.shared]) for name in READ}

    def expected(one: int, two: int, share: float) -> float:
        return sum(
            weight * (rates[one] * rates[two] + (1 - rates[one]) * (1 - rates[two]))
            for rates, weight in ((SEES, share), (INVENTS, 1 - share))
        )

    inside = []
    for name in READ:
        every = found[BETWEEN, "all", name]
        assert every.images == len(shared) and every.kappa_of == "Fleiss"
        truth = np.mean([expected(one, two, asked[name]) for one, two in combinations(range(3), 2)])
        inside.append(every.agreement.low <= truth <= every.agreement.high)
        pair = found[BETWEEN, "1 and 2", name]
        assert pair.kappa_of == "Cohen" and pair.kappa <= pair.ac1
        inside.append(pair.agreement.low <= expected(0, 1, asked[name]) <= pair.agreement.high)
        within = found[WITHIN, "all", name]
        assert within.images == sum(image.again for image in panel.key.images)
        assert {found[WITHIN, str(reader), name].images for reader in (1, 2, 3)} <= set(range(20, 60))
    assert sum(inside) >= 13


def test_shares_are_those_of_images_and_second_readings_are_left_out(panel: Reads) -> None:
    shares = cooccurrence(panel)
    assert list(shares) == list(PROMPTS) and all(list(row) == list(READ) for row in shares.values())
    cell = [r for r in panel.reads if r.image.asked == ("edema",) and not r.image.again]
    by_case = {c: [r.row.findings["mass"] for r in cell if r.image.case == c] for c in {r.image.case for r in cell}}
    assert shares["edema"]["mass"] == pytest.approx(np.mean([np.mean(each) for each in by_case.values()]))


def small(**shares: float) -> Key:
    return key_of(4, ("edema", "mass"), 2, 2, **{"overlap": 0.2, "repeat": 0.0, **shares})


def scored(tmp_path: Path, change: Change, key: Key | None = None) -> Reads:
    key = small() if key is None else key
    return read_study(*write_panel(tmp_path, key, answers(key, PANEL[:2]), change))


def test_not_read_is_not_absent(tmp_path: Path) -> None:
    key = small(overlap=0.0)
    blank = dict.fromkeys(READ)
    edema = {image.name for image in key.images if image.prompt == "edema"}
    emptied = sorted(edema)[:2]

    def change(row: SheetRow) -> SheetRow:
        values = dict.fromkeys(READ, 1)
        if row.image == emptied[0]:
            return SheetRow(row.study, row.image, row.order, blank)
        return replace(row, findings={**values, "mass": None} if row.image == emptied[1] else values)

    reads = scored(tmp_path, change, key)
    index = rate_index(rates_of(reads, count=100))
    assert (index["edema", "edema", "absent", 0].images, index["edema", "mass", "absent", 0].images) == (3, 2)
    assert index["edema", "mass", "absent", 0].wilson.estimate == 1
    assert reads.missing == {"mass": 1}
    assert any("read 4 of 5 images" in note for note in reads.notes)
    assert any("left out: mass 1" in note for note in reads.notes)


def test_unsure_is_counted_three_ways(tmp_path: Path) -> None:
    key = small(overlap=0.0)
    edema = sorted(image.name for image in key.images if image.prompt == "edema")
    value = dict(zip(edema, (1, 2, 2, 0), strict=True))
    reads = scored(tmp_path, lambda row: replace(row, findings=dict.fromkeys(READ, value.get(row.image, 0))), key)
    index = rate_index(rates_of(reads, count=100))
    found = {unsure: index["edema", "mass", unsure, 0] for unsure in ("absent", "excluded", "half")}
    assert [(rate.seen, rate.images) for rate in found.values()] == [(1, 4), (1, 2), (2, 4)]
    assert {name: cooccurrence(reads, name)["edema"]["edema"] for name in found} == {
        **{"absent": 0.25, "excluded": 0.5, "half": 0.5},
    }


@pytest.mark.parametrize(
    ("text", "names"),
    [
        *((text, False) for text in ("none", "None.", " NO ", "nil", "-", "'-", "--", "0", "n/a", "no other findings")),
        *((text, True) for text in ("nodule", "none of the above fits: a nodule", "- nodule", "10", "no lines")),
        *(("", False), ("  ", False)),
    ],
)
def test_a_text_that_denies_another_finding_names_none(tmp_path: Path, text: str, names: bool) -> None:
    reads = scored(tmp_path, lambda row: replace(row, extra=text))
    assert {rate.seen == rate.images for rate in rates_of(reads, count=100) if rate.measure == EXTRA} == {names}
    noted = [note for note in reads.notes if "of the column extra" in note]
    assert len(noted) == (not names and bool(text.strip()))
    assert all(note.startswith(f"{len(reads.reads)} cells ") for note in noted)


def test_adherence_needs_all_that_a_prompt_asks_for(tmp_path: Path) -> None:
    key = small()
    both = tuple(
        replace(image, asked=("edema", "hernia")) if image.prompt == "edema" else image for image in key.images
    )
    reads = scored(
        tmp_path,
        lambda row: replace(row, findings={**dict.fromkeys(READ, 1), "hernia": 0}),
        replace(key, images=both),
    )
    index = rate_index(rates_of(reads, count=100))
    assert index["edema", ASKED, "absent", 0].wilson.estimate == 0
    assert index["mass", ASKED, "absent", 0].wilson.estimate == 1
    assert list(cooccurrence(reads)) == ["mass"]


def test_half_filled_sheets_and_readers_without_one_count(tmp_path: Path) -> None:
    key = small()
    key_file, paths = write_panel(tmp_path, key, answers(key, PANEL[:2]))
    reads = read_study(key_file, paths[:1])
    assert {read.image.reader for read in reads.reads} == {1}
    assert any(note.startswith("reader 2 read 0 of ") for note in reads.notes)
    assert {rate.images for rate in rates_of(reads, count=100) if rate.reader == 2} == {0}
    assert all(each.reader in (0, 1) for each in telling_of(reads, count=100))
    assert agreement_of(reads, count=100) == []


def test_two_parts_of_a_readers_sheet_are_put_together(tmp_path: Path) -> None:
    key = small()
    key_file, paths = write_panel(tmp_path, key, answers(key, PANEL[:2]))
    rows = read_sheet(paths[0]).rows
    empty = [SheetRow(row.study, row.image, row.order) for row in rows]
    write_sheet(paths[0], [*rows[:2], *empty[2:]], READ, overwrite=True)
    write_sheet(tmp_path / "second.csv", [*empty[:2], *rows[2:]], READ)
    assert len(read_study(key_file, [*paths, tmp_path / "second.csv"]).reads) == len(key.images)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda row: replace(row, study="b" * 16), r"a sheet of study b{16}: the key is of study"),
        (lambda row: replace(row, image=row.image.replace("x0", "y0")), r"row 2: image 'y0\w+': not in the study"),
        (lambda row: SheetRow(row.study, row.image), "no image is read"),
    ],
)
def test_sheets_that_do_not_fit(tmp_path: Path, change: Change, match: str) -> None:
    with pytest.raises(SettingError, match=match):
        scored(tmp_path, change)


def test_images_that_are_read_twice_over(tmp_path: Path) -> None:
    key = small()
    key_file, paths = write_panel(tmp_path, key, answers(key, PANEL[:2]))
    copy = shutil.copy(paths[0], tmp_path / "copy.csv")
    with pytest.raises(SettingError, match=r"copy.csv: row 2: image x\w+ is read in .*sheet-1.csv too"):
        read_study(key_file, [*paths, Path(copy)])
    with pytest.raises(SettingError, match="no sheet"):
        read_study(key_file, [])


def test_columns_of_findings(tmp_path: Path) -> None:
    key = small()
    key_file, paths = write_panel(tmp_path, key, answers(key, PANEL[:2]))
    text = paths[0].read_text(encoding="utf-8-sig")
    paths[0].write_text(text.replace("hernia", "fracture"))
    with pytest.raises(SettingError, match="lacks the column hernia"):
        read_study(key_file, paths)
    lines = [f"{line},{'fracture' if number == 0 else 1}" for number, line in enumerate(text.splitlines())]
    paths[0].write_text("\n".join(lines))
    [*notes] = [note for note in read_study(key_file, paths).notes if "fracture" in note]
    assert notes == [f"{paths[0]}: column 'fracture' is no finding of the study: {len(lines) - 1} values are ignored"]


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('"prompt": "edema"', '"prompt": "mass"', "changed since the study was made"),
        ('"format": 1', '"format": 2', "another version"),
        ("{", "[", "no key of a reader study"),
        ('"sha256"', '"digest"', "changed since the study was made|no key"),
    ],
)
def test_keys_that_do_not_fit(tmp_path: Path, old: str, new: str, match: str) -> None:
    key = small()
    path, _ = write_panel(tmp_path, key, answers(key, PANEL[:2]))
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(SettingError, match=match):
        read_key(path)
    with pytest.raises(SettingError, match="cannot be read"):
        read_key(tmp_path / "absent.json")
    other = tmp_path / "study.json"
    write_private(other, json.dumps({"format": 1, "study": "a"}).encode())
    with pytest.raises(SettingError, match="no key of a reader study"):
        read_key(other)


def test_images_that_were_altered_or_are_elsewhere(study_of: MakeStudy, tmp_path: Path) -> None:
    folder, made = study_of()
    sheets = []
    for row, image in zip(answers(made.key, PANEL), made.key.images, strict=True):
        sheets.append((image.reader, row))
    paths = [folder / f"reader-{reader}" / "sheet.csv" for reader in (1, 2, 3)]
    for reader, path in enumerate(paths, 1):
        write_sheet(path, [row for number, row in sheets if number == reader], READ, overwrite=True)
    reads = read_study(folder / "key.json", paths)
    assert reads.checked == len(made.key.images) and reads.notes == []
    (folder / "reader-1" / "images" / "new.png").write_bytes(b"x")
    assert read_study(folder / "key.json", paths).notes == ["reader-1/images: 1 files are not of the study"]
    shutil.copy(folder / "key.json", tmp_path / "key.json")
    [note] = read_study(tmp_path / "key.json", paths).notes
    assert "image files are not beside the key" in note
    image = folder / made.key.images[3].path
    image.write_bytes(image.read_bytes()[:-1] + b"x")
    with pytest.raises(SettingError, match="altered since the study was made"):
        read_study(folder / "key.json", paths)


@pytest.mark.parametrize(("unsure", "margin", "count"), [("present", 0.1, 500), ("half", 0.5, 500), ("half", 0.1, 9)])
def test_options_that_cannot_be_used(unsure: str, margin: float, count: int) -> None:
    with pytest.raises(SettingError, match=r"--unsure|--margin|--resamples"):
        check_options(unsure, margin, count)
