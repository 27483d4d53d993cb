"""The command: scores, retrieval, follow-ups, cached embeddings, and what is an error."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from roentmod_fast.cli import cli
from roentmod_fast.errors import OutputError, RoentmodError, SettingError
from roentmod_fast.phantom import draw
from roentmod_fast.study.plan import Cohort
from tests.study.drawn_cohort import drawn_cohort
from tests.study.identity.conftest import PATIENTS, PROMPTS, SIZE, near_edit
from tests.study.models.tiny_network import classifier_contract, write_embedder, write_linear

FAST = ("--resamples", "50", "-q")


def run(cohort: Cohort | Path, out: Path, *options: object) -> Result:
    folder = cohort.folder if isinstance(cohort, Cohort) else cohort
    arguments = ["identity", str(folder), "-o", str(out), *FAST, *map(str, options)]
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def row_of(out: Path, measure: str, prompt: str, score: str) -> dict[str, str]:
    [row] = [
        row
        for row in table(out / "summary.csv")
        if (row["measure"], row["prompt"], row["score"]) == (measure, prompt, score)
    ]
    return row


def write_table(path: Path, rows: Iterable[str], head: str = "source,follow_up") -> Path:
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def later(folder: Path, patient: int) -> Path:
    """A radiograph of the same phantom with a finding that came by itself, as a file."""
    path = folder / f"later-{patient}.png"
    Image.fromarray((255 * draw(SIZE, patient, ["mass"]).image).astype(np.uint8)).save(path)
    return path


def test_own_edits_are_nearer_than_those_of_others(cohort: Cohort, out: Path, tmp_path: Path) -> None:
    result = run(cohort, out, "--embed", write_embedder(tmp_path / "tiny.onnx", side=16, numbers=40))
    assert result.exit_code == 0
    written = ["pairs.csv", "summary.csv", "identity.svg", "identity.png", "index.html", "result.json"]
    assert [Path(line).name for line in result.stdout.split()] == written
    for prompt in (*PROMPTS, "all"):
        own, other = (row_of(out, "tiny", prompt, score) for score in ("model", "control"))
        assert float(own["median"]) < float(own["median_high"]) < float(other["median"])
        assert float(own["q1"]) <= float(own["median"]) <= float(own["q3"])
        assert (own["rank1"], own["mrr"], own["auc"]) == ("1.0", "1.0", "1.0")
        # All are right: the interval is Wilson's of the patients, not without width.
        assert float(own["rank1_low"]) == pytest.approx(1 / (1 + 1.959964**2 / PATIENTS), abs=1e-4)
        assert other["rank1"] == other["auc"] == ""
        assert own["pairs"] == str(PATIENTS * (2 if prompt == "all" else 1)) and own["patients"] == str(PATIENTS)


def test_pairs_hold_what_a_plain_computation_gives(cohort: Cohort, out: Path, tmp_path: Path) -> None:
    path = write_embedder(tmp_path / "tiny.onnx", side=SIZE, numbers=5)
    weight = np.random.default_rng(0).normal(size=(SIZE * SIZE, 5)).astype(np.float32)
    run(cohort, out, "--embed", path)

    def embed(file: Path, size: int = SIZE) -> Any:
        image = np.asarray(Image.open(file), dtype=np.float64) / 255
        return image.reshape(-1) @ weight

    sources = {row.key: embed(Path(cohort.plan.origin.root) / row.path) for row in cohort.sources()}
    edits = {
        edit.id: embed(cohort.folder / cohort.paths(edit.id)["png"])
        for row in cohort.sources()
        for edit in cohort.edits_of(row)
    }
    rows = table(out / "pairs.csv")
    assert [row["score"] for row in rows].count("model") == [row["score"] for row in rows].count("control") == 12
    for row in rows:
        source, edit = sources[row["source_key"]], edits[row["edit_id"]]
        distance = float(((source - edit) ** 2).sum())
        assert float(row["tiny.d2"]) == pytest.approx(distance, rel=1e-3, abs=1e-3)
        cosine = source @ edit / np.linalg.norm(source) / np.linalg.norm(edit)
        assert float(row["tiny.cosine"]) == pytest.approx(cosine, abs=1e-5)
        if row["score"] == "model":
            ranks = sorted(sources, key=lambda key: float(((sources[key] - edit) ** 2).sum()))
            assert float(row["tiny.rank"]) == 1 + ranks.index(row["source_key"])
            assert 0 < float(row["ssim"]) < 1
        else:
            assert row["other_patient"] not in ("", row["patient"]) and row["tiny.rank"] == row["ssim"] == ""
    own = [float(row["tiny.d2"]) for row in rows if row["score"] == "model" and row["prompt"] == "edema"]
    assert float(row_of(out, "tiny", "edema", "model")["median"]) == np.median(own)


def test_without_an_embedder_pixels_are_compared(cohort: Cohort, out: Path) -> None:
    result = run(cohort, out)
    assert result.exit_code == 0
    assert not (out / "identity.svg").exists()
    assert {row["measure"] for row in table(out / "summary.csv")} == {"ssim", "psnr_db", "share_changed"}
    assert float(row_of(out, "ssim", "all", "model")["median_low"]) < 1


def test_two_embedders_and_their_length(cohort: Cohort, out: Path, tmp_path: Path) -> None:
    one = write_embedder(tmp_path / "one.onnx")
    two = write_embedder(tmp_path / "two.onnx", seed=1, output__unit_norm=True)
    assert run(cohort, out, "--embed", one, "--embed", two).exit_code == 0
    for row in table(out / "pairs.csv"):
        assert float(row["two.d2"]) == pytest.approx(2 - 2 * float(row["two.cosine"]), abs=1e-9)
        assert float(row["one.d2"]) > 0
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "one: distances" in page and "Embeddings have length 1." in page and "<svg" in page


def test_embeddings_are_reused_until_something_changes(
    cohort: Cohort, out: Path, tmp_path: Path, logged: list[str]
) -> None:
    path = write_embedder(tmp_path / "tiny.onnx")

    def again(*options: object) -> str:
        logged.clear()
        folder = ["identity", str(cohort.folder), "-o", str(out), "--resamples", "20", "--overwrite"]
        assert CliRunner().invoke(cli, [*folder, *map(str, options)], catch_exceptions=False).exit_code == 0
        return next(line for line in logged if line.startswith("tiny: "))

    assert "18 images" in again("--embed", path)
    first = (out / "pairs.csv").read_bytes()
    assert "0 images" in again("--embed", path)
    assert (out / "pairs.csv").read_bytes() == first
    write_embedder(path, input__filter="bilinear")  # another contract
    assert "18 images" in again("--embed", path)
    assert any("of another model, contract or version: made anew" in line for line in logged)
    write_embedder(path, seed=5)  # another network
    assert "18 images" in again("--embed", path)
    (out / "embeddings-tiny.npz").write_bytes(b"no archive")
    assert "18 images" in again("--embed", path)
    assert any("no archive of embeddings that can be read" in line for line in logged)


def test_the_same_seed_gives_the_same_files_and_another_seed_other_controls(cohort: Cohort, tmp_path: Path) -> None:
    path = write_embedder(tmp_path / "tiny.onnx")
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(cohort, tmp_path / name, "--embed", path, "--seed", seed)
    for file in ("pairs.csv", "summary.csv", "identity.svg", "identity.png", "index.html", "result.json"):
        first, again = ((tmp_path / name / file).read_bytes() for name in "ab")
        assert first == again, file
    assert (tmp_path / "a" / "pairs.csv").read_bytes() != (tmp_path / "c" / "pairs.csv").read_bytes()


def test_follow_ups_are_the_real_score(cohort: Cohort, out: Path, tmp_path: Path) -> None:
    files = [later(tmp_path, patient) for patient in range(4)]
    pairs = write_table(
        tmp_path / "pairs.csv",
        [f"{patient:04d}.png,{file.name},{'edema' if patient < 2 else ''}" for patient, file in enumerate(files)],
        "source,follow_up,prompt",
    )
    result = run(cohort, out, "--embed", write_embedder(tmp_path / "tiny.onnx"), "--follow-ups", pairs)
    assert result.exit_code == 0
    assert row_of(out, "tiny", "edema", "real")["pairs"] == "2"
    whole = row_of(out, "tiny", "all", "real")
    assert whole["pairs"] == whole["patients"] == "4" and float(whole["rank1"]) == 1.0
    difference = row_of(out, "tiny", "all", "model - real")
    expected = float(row_of(out, "tiny", "all", "model")["median"]) - float(whole["median"])
    assert float(difference["median"]) == pytest.approx(expected)
    assert float(difference["median_low"]) <= expected <= float(difference["median_high"])
    assert not [row for row in table(out / "summary.csv") if row["prompt"] == "hernia" and row["score"] == "real"]
    assert [row["line"] for row in table(out / "pairs.csv") if row["score"] == "real"] == ["2", "3", "4", "5"]
    assert "later-" not in (out / "pairs.csv").read_text(encoding="utf-8")  # names of files may tell who it is


@pytest.mark.parametrize("embeds", [True, False])
def test_a_follow_up_of_two_prompts_is_one_image(cohort: Cohort, out: Path, tmp_path: Path, embeds: bool) -> None:
    names = [later(tmp_path, patient).name for patient in range(2)]
    rows = [f"{at:04d}.png,{name},{prompt}" for at, name in enumerate(names) for prompt in ("edema", "hernia")]
    (tmp_path / "copy.png").write_bytes((tmp_path / names[0]).read_bytes())
    pairs = write_table(tmp_path / "pairs.csv", [*rows, "0000.png,copy.png,"], "source,follow_up,prompt")
    arguments = ("--embed", write_embedder(tmp_path / "tiny.onnx")) if embeds else ()
    assert run(cohort, out, "--follow-ups", pairs, *arguments).exit_code == 0
    for measure in ("ssim", *["tiny"] * embeds):
        counts = [row_of(out, measure, prompt, "real")["pairs"] for prompt in ("edema", "hernia", "all")]
        assert counts == ["2", "2", "2"], measure


@pytest.mark.parametrize("style", ["semicolons", "bom", "absolute", "key", "spaces", "windows"])
def test_how_a_table_of_follow_ups_may_be_written(cohort: Cohort, out: Path, tmp_path: Path, style: str) -> None:
    file, source = later(tmp_path, 1), cohort.sources()[1]
    text = f"source,follow_up\n{source.path},{file.name}\n"
    if style == "semicolons":
        text = text.replace(",", ";")
    elif style == "bom":
        text = "\ufeff" + text
    elif style == "absolute":
        text = text.replace(file.name, str(file))
    elif style == "key":
        text = text.replace(source.path, source.key)
    elif style == "spaces":
        text = text.replace(",", " , ")
    else:
        text = text.replace("\n", "\r\n")
    (tmp_path / "pairs.csv").write_bytes(text.encode())
    assert run(cohort, out, "--follow-ups", tmp_path / "pairs.csv").exit_code == 0
    assert row_of(out, "ssim", "all", "real")["pairs"] == "1"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["0000.png,nowhere.png"], "line 2: the follow-up is not found"),
        (["nobody.png,0001.png"], "line 2: its source is none of the cohort's"),
        (["0000.png,0000.png"], "line 2: the follow-up is the source itself"),
        (["0000.png,0001.png"], "line 2: the follow-up is of another patient"),
        (["0000.png,"], "line 2: expected a source and a follow-up"),
        (["0000.png,later-1.png,edema"], "line 2: expected a source and a follow-up, and no more"),
        (["0000.png,later-1.png", "", "0000.png,later-1.png"], "line 4: the pair of line 2 once more"),
        ([f"0000.png,{'x' * 5000}"], "line 2: the follow-up is not found"),
        (["0000.png,\0"], "line 2"),
        ([], "no row"),
    ],
)
def test_rows_of_follow_ups_that_are_none(
    cohort: Cohort, out: Path, tmp_path: Path, rows: list[str], words: str
) -> None:
    later(tmp_path, 1)
    pairs = write_table(tmp_path / "pairs.csv", rows)
    with pytest.raises(SettingError) as raised:
        run(cohort, out, "--follow-ups", pairs)
    assert words in str(raised.value) and "\n" not in str(raised.value)
    assert not out.exists()


@pytest.mark.parametrize("spelled", ["from the table", "absolute", "upwards", "a link", "a linked folder"])
def test_a_source_is_known_however_its_path_is_spelled(cohort: Cohort, out: Path, tmp_path: Path, spelled: str) -> None:
    root = Path(cohort.plan.origin.root)

    def path_of(name: str) -> str:
        if spelled == "from the table":
            return os.path.relpath(root / name, tmp_path)
        if spelled == "absolute":
            return str(root / name)
        if spelled == "upwards":
            return f"../{root.name}/./{name}"
        if spelled == "a link":
            (tmp_path / f"link-{name}").symlink_to(root / name)
            return f"link-{name}"
        if not (tmp_path / "films").exists():
            (tmp_path / "films").symlink_to(root, target_is_directory=True)
        return f"films/{name}"

    for name, words in (("0000.png", "the follow-up is the source itself"), ("0001.png", "of another patient")):
        pairs = write_table(tmp_path / "pairs.csv", [f"0000.png,{path_of(name)}"])
        with pytest.raises(SettingError, match=f"line 2: .*{words}"):
            run(cohort, out, "--follow-ups", pairs)


def test_tables_of_follow_ups_that_are_none(cohort: Cohort, out: Path, tmp_path: Path) -> None:
    for data, words in (
        (b"source,later\n0000.png,x\n", "column follow_up is missing"),
        (b"", "column source is missing"),
        ("source,follow_up\nä,b\n".encode("latin-1"), "not UTF-8"),
    ):
        (tmp_path / "pairs.csv").write_bytes(data)
        with pytest.raises(SettingError, match=words):
            run(cohort, out, "--follow-ups", tmp_path / "pairs.csv")
    with pytest.raises(SettingError, match="cannot be read"):
        run(cohort, out, "--follow-ups", tmp_path)
    pairs = write_table(tmp_path / "pairs.csv", ["0000.png,x,pneumonia"], "source,follow_up,prompt")
    with pytest.raises(SettingError, match="its prompt is none of the plan's: edema, hernia"):
        run(cohort, out, "--follow-ups", pairs)


def test_follow_ups_that_cannot_be_compared_are_counted(cohort: Cohort, out: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    copy = tmp_path / "copy.png"
    copy.write_bytes((Path(cohort.plan.origin.root) / "0001.png").read_bytes())
    pairs = write_table(tmp_path / "pairs.csv", ["0000.png,broken.png", "0001.png,copy.png"])
    assert run(cohort, out, "--follow-ups", pairs).exit_code == 3
    counts = json.loads((out / "result.json").read_bytes())["counts"]
    assert counts["follow_ups"] == 0
    assert counts["left_out"] == {"follow-up cannot be read": 1, "follow-up is the source's file once more": 1}
    assert "follow-up cannot be read" in (out / "index.html").read_text(encoding="utf-8")


def test_edits_that_cannot_be_read_are_left_out(out: Path, tmp_path: Path) -> None:
    cohort = drawn_cohort(tmp_path / "cohort", PROMPTS, patients=3, size=SIZE, edit=near_edit)
    first, second, _ = cohort.sources()
    (cohort.folder / cohort.paths(cohort.edits_of(first)[0].id)["png"]).write_bytes(b"changed")
    (Path(cohort.plan.origin.root) / second.path).write_bytes(b"changed")
    assert run(cohort, out, "--embed", write_embedder(tmp_path / "tiny.onnx")).exit_code == 3
    counts = json.loads((out / "result.json").read_bytes())["counts"]
    assert counts["edits"] == 3 and sum(counts["left_out"].values()) == 3
    # Only two patients have the other prompt, one has edema: that cell has no interval and no control.
    alone = row_of(out, "tiny", "edema", "model")
    assert alone["patients"] == "1" and alone["median"] and alone["median_low"] == alone["auc"] == ""
    assert row_of(out, "tiny", "hernia", "control")["patients"] == "2"


def test_a_cohort_of_which_nothing_can_be_read(out: Path, tmp_path: Path) -> None:
    cohort = drawn_cohort(tmp_path / "cohort", PROMPTS, patients=2, size=SIZE, edit=near_edit)
    for source in cohort.sources():
        (Path(cohort.plan.origin.root) / source.path).write_bytes(b"changed")
    with pytest.raises(SettingError, match="no edit and no follow-up can be read"):
        run(cohort, out, "--embed", write_embedder(tmp_path / "tiny.onnx"))


def test_several_radiographs_of_a_patient(out: Path, tmp_path: Path) -> None:
    cohort = drawn_cohort(tmp_path / "cohort", ["edema"], patients=3, films=2, size=SIZE, edit=near_edit)
    pairs = write_table(tmp_path / "pairs.csv", ["0000.png,0001.png"])
    run(cohort, out, "--embed", write_embedder(tmp_path / "tiny.onnx"), "--follow-ups", pairs)
    rows = table(out / "pairs.csv")
    assert all(row["patient"] != row["other_patient"] for row in rows)
    own = row_of(out, "tiny", "edema", "model")
    assert (own["pairs"], own["patients"], own["rank1"]) == ("6", "3", "1.0")
    assert row_of(out, "tiny", "all", "real")["pairs"] == "1"


def test_one_patient_only(out: Path, tmp_path: Path) -> None:
    cohort = drawn_cohort(tmp_path / "cohort", ["edema"], patients=1, films=3, size=SIZE)
    with pytest.raises(SettingError, match="edits of one patient only: expected at least 2"):
        run(cohort, out)
    assert not out.exists()


def test_a_classifier_and_two_of_one_name(cohort: Cohort, out: Path, tmp_path: Path) -> None:
    write_linear(tmp_path / "model.onnx", ("N", 1, 4, 4), np.ones((16, 1)))
    (tmp_path / "model.json").write_text(json.dumps(classifier_contract(["edema"])), encoding="utf-8")
    with pytest.raises(SettingError, match=r"says classifier: identity needs an embedder; is it for stress\?"):
        run(cohort, out, "--embed", tmp_path / "model.onnx")
    one, two = (write_embedder(tmp_path / f"{name}.onnx", name="a/b") for name in ("one", "two"))
    with pytest.raises(SettingError, match="a second model called a/b"):
        run(cohort, out, "--embed", one, "--embed", two)


def test_an_embedder_that_gives_no_numbers(cohort: Cohort, out: Path, tmp_path: Path) -> None:
    path = write_embedder(tmp_path / "tiny.onnx")
    write_linear(path, ("N", 1, 8, 8), np.full((64, 2), np.nan))
    with pytest.raises(RoentmodError, match="holds NaN or infinity"):
        run(cohort, out, "--embed", path)
    assert not (out / "summary.csv").exists()


def test_results_are_not_overwritten_unasked(cohort: Cohort, out: Path) -> None:
    assert run(cohort, out).exit_code == 0
    with pytest.raises(OutputError, match="already exists"):
        run(cohort, out)
    assert run(cohort, out, "--overwrite").exit_code == 0


def test_generated_images_and_folders_that_are_no_cohort(out: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no cohort"):
        run(tmp_path, out)


@pytest.mark.parametrize("name", ["../evil", "a b/ü", "..", "x" * 300])
def test_a_models_name_leads_nowhere(cohort: Cohort, out: Path, tmp_path: Path, name: str) -> None:
    path = write_embedder(tmp_path / "tiny.onnx", name=name)
    assert run(cohort, out, "--embed", path).exit_code == 0
    [archive] = out.glob("*.npz")
    assert archive.parent == out and archive.name.startswith("embeddings-") and len(archive.name) < 100
    assert row_of(out, name, "all", "model")["pairs"] == "12"


def test_a_page_escapes_names_and_prompts(out: Path, tmp_path: Path) -> None:
    prompt = 'edema <script>alert(1)</script> & "mass"'
    cohort = drawn_cohort(tmp_path / "cohort", [prompt], patients=2, size=SIZE, edit=near_edit)
    run(cohort, out, "--embed", write_embedder(tmp_path / "tiny.onnx", name="<b>tiny</b>"))
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "<script" not in page and "<b>tiny" not in page and "&lt;script&gt;" in page
    assert (out / "identity.png").read_bytes().startswith(b"\x89PNG")
