"""Runs over many sources: what goes on, what stops, what is counted, and what the exit status says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.dicom.sample import sample_dataset, write_sample
from tests.cli.conftest import Ran

Run = Callable[..., Ran]

ENGINE = Path(__file__).parent.parent / "goldens" / "tiny_bundle"
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="permissions and signals of Linux")


def edit(roentmod: Run, *arguments: object) -> Ran:
    return roentmod("edit", *arguments, "--engine", ENGINE, "--steps", 5)


def write_chest(path: Path, seed: int = 0, **attributes: Any) -> Path:
    """Write a phantom of 72 pixels, with attributes changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not attributes:
        write_sample(path, draw(72, seed).image, seed=seed)
        return path
    dataset = sample_dataset(draw(72, seed).image, seed=seed)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path


def last(ran: Ran) -> str:
    return ran.err.splitlines()[-1]


POWERLESS = (
    "import ctypes, os, sys; "
    # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, dropped by PR_CAPBSET_DROP: root keeps to permissions from now on.
    "[ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) for capability in (1, 2)]; "
    "os.execv(sys.executable, [sys.executable, '-c', *sys.argv[1:]])"
)


def process(*arguments: object, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start the command in a process that permissions hold for, root's too."""
    # Where the tests run in a shell's background, Ctrl-C is ignored and children inherit that.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heed}; from roentmod_fast.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", POWERLESS, code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
    )


def finished(started: subprocess.Popen[str]) -> Ran:
    out, err = started.communicate(timeout=240)
    return Ran(started.returncode, out, err)


# --- names and folders ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("-o", "edits/"), ("-o", "edits"), ("-o", "edits/", "--format", "dicom")])
def test_the_output_of_a_folder_is_a_folder(
    roentmod: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    write_chest(tmp_path / "study" / "a.dcm")
    monkeypatch.chdir(tmp_path)
    ran = edit(roentmod, "study", "-p", "edema", *arguments)
    assert ran.code == 0, ran.err
    assert (tmp_path / "edits" / "a.edema.dcm").is_file()


def test_a_trailing_slash_is_a_folder_for_a_file_too(roentmod: Run, tmp_path: Path) -> None:
    chest = write_chest(tmp_path / "a.dcm")
    ran = edit(roentmod, chest, "-p", "edema", "-o", f"{tmp_path}/new.dcm/")
    assert ran.code == 0, ran.err
    assert (tmp_path / "new.dcm" / "a.edema.dcm").is_file()


def test_the_output_of_a_zip_keeps_its_folders(roentmod: Run, tmp_path: Path) -> None:
    chest = write_chest(tmp_path / "a.dcm")
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for name in ("one/IM1", "two/IM1", "../evil/IM1", "/absolute/IM1", "c:/windows/IM1"):
            archive.write(chest, name)
    out = tmp_path / "out"
    ran = edit(roentmod, tmp_path / "study.zip", "-p", "edema", "-o", out)
    assert ran.code == 0, ran.err
    assert {str(path.relative_to(out)) for path in out.rglob("*.dcm")} == {
        f"{folder}/IM1.edema.dcm" for folder in ("one", "two", "evil", "absolute", "c_/windows")
    }
    ran = edit(roentmod, tmp_path / "study.zip", "-p", "edema", "-o", tmp_path / "out.dcm")
    assert ran.code == 2
    assert "folder's name" in ran.err


@pytest.mark.parametrize("way", ["itself", "symbolic link", "hard link", "preview", "by another path", "report"])
def test_a_source_is_never_replaced(roentmod: Run, tmp_path: Path, way: str) -> None:
    chest = write_chest(tmp_path / "chest.dcm")
    before = chest.read_bytes()
    out: list[object] = ["-o", chest]
    if way == "symbolic link":
        (tmp_path / "link.dcm").symlink_to(chest)
        out = ["-o", tmp_path / "link.dcm"]
    elif way == "hard link":
        os.link(chest, tmp_path / "link.dcm")
        out = ["-o", tmp_path / "link.dcm"]
    elif way == "by another path":
        out = ["-o", tmp_path / "." / ".." / tmp_path.name / "chest.dcm"]
    elif way == "report":
        out = ["-o", tmp_path / "x.dcm", "--report", chest]
    elif way == "preview":
        Image.fromarray(np.rint(draw(72, 0).image * 255).astype(np.uint8)).save(tmp_path / "x.preview.png")
        chest = tmp_path / "x.preview.png"
        before = chest.read_bytes()
        out = ["-o", tmp_path / "x.dcm", "--preview"]
    ran = edit(roentmod, chest, "-p", "edema", *out, "--overwrite")
    assert ran.code == 2
    assert "is one of the sources" in ran.err
    assert chest.read_bytes() == before


@pytest.mark.parametrize("empty", ["", "  "])
@pytest.mark.parametrize(
    "command",
    [
        ("edit", "{}", "-p", "edema"),
        ("edit", "chest.dcm", "-p", "edema", "-o", "{}"),
        ("edit", "chest.dcm", "-p", "edema", "--report", "{}"),
        ("edit", "chest.dcm", "-p", "edema", "--mask", "{}"),
        ("edit", "--table", "{}"),
        ("sample", "{}"),
        ("tune", "--images", "{}"),
        ("tune", "--output", "{}"),
        ("bench", "--json", "{}"),
        ("engines", "import", "{}"),
        ("export", "{}", "-o", "x"),
    ],
)
def test_an_empty_path_is_wrong_usage(
    roentmod: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], empty: str
) -> None:
    write_chest(tmp_path / "chest.dcm")
    monkeypatch.chdir(tmp_path)
    ran = with_value(roentmod, command, empty)
    assert ran.code == 2
    assert "it is empty" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["chest.dcm"]


def with_value(roentmod: Run, command: tuple[str, ...], value: str) -> Ran:
    return roentmod(*(value if part == "{}" else part for part in command))


@pytest.mark.parametrize(
    "command",
    [
        ("edit", "{}.dcm", "-p", "edema"),
        ("edit", "chest.dcm", "-p", "edema", "-o", "{}.dcm"),
        ("edit", "chest.dcm", "-p", "edema", "-o", "{}/x.dcm"),
        ("edit", "chest.dcm", "-p", "edema", "-o", "{}/"),
        ("edit", "chest.dcm", "-p", "edema", "--engine", "{}"),
        ("edit", "chest.dcm", "-p", "edema", "--mask", "{}"),
        ("edit", "chest.dcm", "-p", "edema", "--report", "{}"),
        ("edit", "--table", "{}"),
        ("sample", "{}"),
        ("tune", "--engine", "{}"),
        ("tune", "--images", "{}"),
        ("tune", "--output", "{}"),
        ("bench", "--json", "{}"),
        ("engines", "show", "{}"),
        ("engines", "verify", "{}"),
        ("engines", "import", "{}"),
        ("engines", "remove", "-y", "{}"),
    ],
)
@pytest.mark.parametrize("kind", ["too long", "shut"])
@linux_only
def test_a_path_that_the_system_refuses_is_one_line(tmp_path: Path, command: tuple[str, ...], kind: str) -> None:
    write_chest(tmp_path / "chest.dcm")
    (tmp_path / "shut").mkdir(mode=0)
    value = "n" * 300 if kind == "too long" else "shut/x"
    arguments = [part.replace("{}", value) for part in command]
    ran = finished(process(*arguments, cwd=tmp_path))
    (tmp_path / "shut").chmod(0o700)
    assert ran.code in (1, 2)
    assert "Traceback" not in ran.err
    assert len([line for line in ran.err.splitlines() if line.startswith("Error")]) == 1, ran.err


@pytest.mark.parametrize("identity", ["pseudonym", "strip", "keep"])
@pytest.mark.parametrize("beside", [False, True])
def test_a_patients_name_in_a_path_goes_nowhere(roentmod: Run, tmp_path: Path, identity: str, beside: bool) -> None:
    """Archives name folders and files after the patient."""
    who = {"PatientName": "Quixworth^Zebediah", "PatientID": "PID-90210", "PatientBirthDate": "19520607"}
    study, out, report = tmp_path / "study", tmp_path / "out", tmp_path / "r.json"
    write_chest(study / "PID-90210 Quixworth^Zebediah" / "CHEST PA" / "QUIXWORTH_ZEBEDIAH_19520607.dcm", **who)
    write_chest(study / "other.dcm", **who)
    (study / "broken Quixworth.dcm").write_bytes((study / "other.dcm").read_bytes()[:6000])
    where = () if beside else ("-o", out)
    ran = edit(roentmod, study, "-p", "edema", *where, "--report", report, "--identity", identity)
    assert ran.code == 3, ran.err
    assert len(ran.out.splitlines()) == 2
    names = [Path(line) for line in ran.out.splitlines()]
    if identity == "keep":
        assert any("QUIXWORTH" in path.name for path in names)
        return
    tells = ("quixworth", "zebediah", "90210", "1952")
    assert not any(word in path.name.lower() for path in names for word in tells)
    # UIDs, hashes and measured numbers hold any digits, by chance those too.
    said = re.sub(r"\b(?:\d+(?:\.\d+)+|[0-9a-f]{32,}|\d\.\d+e-\d+)\b", "", report.read_text().lower())
    assert not any(word in said for word in tells)
    assert "named by the pseudonym" in ran.err
    if beside:
        assert "choose another with -o" in ran.err
    else:
        assert not any(word in ran.out.lower().replace(str(tmp_path).lower(), "") for word in tells)
        assert len(list(out.rglob("CHEST PA/*.edema.dcm"))) == 1
    if identity == "pseudonym":
        # The same names come again, so that a run can go on.
        again = edit(roentmod, study, "-p", "edema", *where, "--identity", identity, "--skip-existing")
        assert again.err.splitlines()[-1].startswith("0 written, 2 existing")


# --- what goes on -----------------------------------------------------------------------------------------------------


def test_a_name_that_is_too_long_ends_no_run(roentmod: Run, tmp_path: Path) -> None:
    study = tmp_path / "study"
    for name in ("a", "n" * 250, "p", "q", "r"):
        write_chest(study / f"{name}.dcm")
    ran = edit(roentmod, study, "-p", "edema", "-o", tmp_path / "out", "--report", tmp_path / "r.json")
    assert ran.code == 3
    assert len(ran.out.splitlines()) == 4
    assert last(ran) == "4 written, 1 failed"
    [failure] = json.loads((tmp_path / "r.json").read_text())["failures"]
    assert "longer than 255 bytes" in failure["reason"]


@linux_only
def test_a_subfolder_that_may_not_be_read_is_counted(tmp_path: Path) -> None:
    study = tmp_path / "study"
    for name in ("open/a.dcm", "open/b.dcm", "shut/c.dcm"):
        write_chest(study / name)
    (study / "open" / "b.dcm").chmod(0)
    (study / "shut").chmod(0)
    arguments = (study, "-p", "edema", "-o", tmp_path / "out", "--engine", ENGINE, "--report", tmp_path / "r.json")
    ran = finished(process("edit", *arguments))
    (study / "shut").chmod(0o700)
    assert ran.code == 3
    assert len(ran.out.splitlines()) == 1
    assert last(ran) == "1 written, 2 failed"
    failures = json.loads((tmp_path / "r.json").read_text())["failures"]
    assert {Path(failure["source"]).name for failure in failures} == {"b.dcm", "shut"}
    assert "Permission denied" in ran.err


@linux_only
def test_a_folder_that_may_not_be_written_to_fails_before_the_work(tmp_path: Path) -> None:
    study = tmp_path / "study"
    for name in ("a/x.dcm", "b/x.dcm"):
        write_chest(study / name)
    (study / "a").chmod(0o500)
    ran = finished(process("edit", study, "-p", "edema", "--engine", ENGINE))
    (study / "a").chmod(0o700)
    assert ran.code == 3
    assert ran.out.splitlines() == [str(study / "b" / "x.edema.dcm")]
    assert ran.err.index("no permission to write in") < ran.err.index("x: edema")


def test_what_should_not_be_edited_in_a_folder_is_no_failure(roentmod: Run, tmp_path: Path) -> None:
    """An ordinary study of two views: the frontal one is edited, the lateral one left out."""
    write_chest(tmp_path / "study" / "frontal.dcm")
    lateral = write_chest(tmp_path / "study" / "lateral.dcm", ViewPosition="LL")
    report = tmp_path / "r.json"
    ran = edit(roentmod, tmp_path / "study", "-p", "edema", "-p", "mass", "-o", tmp_path / "out", "--report", report)
    assert ran.code == 0, ran.err
    assert last(ran) == "2 written, 2 refused"
    [refused] = json.loads(report.read_text())["refused"]
    assert (Path(refused["source"]).name, refused["prompts"]) == ("lateral.dcm", ["edema", "mass"])
    assert edit(roentmod, lateral, "-p", "edema").code == 1
    assert edit(roentmod, lateral, tmp_path / "study" / "frontal.dcm", "-p", "edema", "-o", tmp_path / "two").code == 3
    (tmp_path / "study" / "frontal.dcm").unlink()
    assert edit(roentmod, tmp_path / "study", "-p", "edema").code == 1


def test_skip_existing_goes_on(roentmod: Run, tmp_path: Path) -> None:
    study = tmp_path / "study"
    for name in ("a", "b", "c"):
        write_chest(study / f"{name}.dcm")
    out = tmp_path / "out"
    assert edit(roentmod, study / "a.dcm", "-p", "edema", "-o", f"{out}/").code == 0
    done = (out / "a.edema.dcm").read_bytes()
    ran = edit(roentmod, study, "-p", "edema", "-o", out, "--skip-existing")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines() == [str(out / f"{name}.edema.dcm") for name in ("b", "c")]
    assert last(ran) == "2 written, 1 existing"
    assert (out / "a.edema.dcm").read_bytes() == done
    again = edit(roentmod, study, "-p", "edema", "-o", out, "--skip-existing")
    assert (again.code, again.out, last(again)) == (0, "", "0 written, 3 existing")
    assert "engine" not in again.err, "nothing to do opens no engine"
    assert edit(roentmod, study, "-p", "edema", "-o", out, "--skip-existing", "--overwrite").code == 2


def test_an_encrypted_zip_says_so(roentmod: Run, tmp_path: Path) -> None:
    chest = write_chest(tmp_path / "a.dcm")
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        archive.write(chest, "IM1")
    data = bytearray((tmp_path / "study.zip").read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1  # the flag of encrypted members (APPNOTE 4.4.4)
    (tmp_path / "study.zip").write_bytes(data)
    ran = edit(roentmod, tmp_path / "study.zip", "-p", "edema")
    assert ran.code == 1
    assert "encrypted" in ran.err


def test_a_table_of_sources_and_prompts(roentmod: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_chest(tmp_path / "in" / f"{name}.dcm")
    table = tmp_path / "cases.csv"
    table.write_text("source,prompt\nin/a.dcm,edema\nin/b.dcm,hernia\nin/a.dcm,mass\n", encoding="utf-8-sig")
    ran = edit(roentmod, "--table", table, "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert [Path(line).name for line in ran.out.splitlines()] == ["a.edema.dcm", "a.mass.dcm", "b.hernia.dcm"]
    table.write_text("source;prompt\nin/a.dcm;edema, mild;\n")
    assert edit(roentmod, "--table", table, "-o", tmp_path / "two").code == 0
    for text, says in (
        ("file,prompt\nin/a.dcm,edema\n", "column source"),
        ("source,prompt\n", "no rows"),
        ("source,prompt\nin/a.dcm,left upper lobe mass, large\n", "row 2 has more cells than the header"),
        ("source;prompt\nin/b.dcm;edema\nin/a.dcm;mass; large;\n", "row 3 has more cells than the header"),
        ("source,prompt,\nin/a.dcm,mass, large\n", "row 2 has more cells than the header"),
        ("source,prompt\nin/a.dcm,\n", "row 2 has no prompt"),
        ("source,prompt\nin/absent.dcm,edema\n", "no such file"),
        ("source,prompt\nin/a.dcm,edema\nin,edema\n", "in is a folder or an archive"),
    ):
        table.write_text(text)
        ran = edit(roentmod, "--table", table, "-o", tmp_path / "three")
        assert ran.code in (1, 2)
        assert says in ran.err
    ran = edit(roentmod, "--table", table, tmp_path / "in", "-p", "edema")
    assert ran.code == 2


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("pnuemonia", "did you mean 'pneumonia'?"),
        ("Cardiomegally", "did you mean 'cardiomegaly'?"),
        ("right plural effusion", "did you mean 'right pleural effusion'?"),
        ("rib fracture", "names none of the findings"),
        ("edema", None),
        ("mild pulmonary oedema", None),
        ("no acute cardiopulmonary process", None),
        ("large left lung mass and hiatal hernia", None),
    ],
)
def test_a_prompt_is_given_a_hint(roentmod: Run, tmp_path: Path, prompt: str, says: str | None) -> None:
    ran = edit(roentmod, write_chest(tmp_path / "a.dcm"), "-p", prompt)
    assert ran.code == 0, ran.err
    hints = [line for line in ran.err.splitlines() if line.startswith(f"note: prompt {prompt!r}")]
    assert hints == [] if says is None else says in hints[0]


# --- how it ends ------------------------------------------------------------------------------------------------------


def test_a_report_that_cannot_be_written_is_known_before_the_work(roentmod: Run, tmp_path: Path) -> None:
    chest = write_chest(tmp_path / "a.dcm")
    (tmp_path / "file").write_text("in the way")
    ran = edit(roentmod, chest, "-p", "edema", "-o", tmp_path / "x.dcm", "--report", tmp_path / "file" / "r.json")
    assert ran.code == 1
    assert not (tmp_path / "x.dcm").exists()


def test_a_report_that_fails_after_the_work_is_no_nothing_done(
    roentmod: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from roentmod_fast import atomic

    monkeypatch.setattr(atomic, "check_writable", lambda path, overwrite=False: None)
    (tmp_path / "file").write_text("in the way")
    chest = write_chest(tmp_path / "a.dcm")
    ran = edit(
        roentmod,
        chest,
        "-p",
        "edema",
        "-o",
        tmp_path / "x.dcm",
        "--report",
        tmp_path / "file" / "r",
    )
    assert ran.code == 3
    assert ran.out.splitlines() == [str(tmp_path / "x.dcm")]
    assert "Error: the report: " in ran.err


def test_a_preview_that_cannot_be_written_leaves_the_edit_named(
    roentmod: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from roentmod_fast import pipeline
    from roentmod_fast.errors import DiskFullError

    def full(*arguments: object, **options: object) -> None:
        raise DiskFullError("x.preview.png: no space left on the disk")

    monkeypatch.setattr(pipeline, "write_preview", full)
    chest, report = write_chest(tmp_path / "a.dcm"), tmp_path / "r.json"
    ran = edit(roentmod, chest, "-p", "edema", "-o", tmp_path / "x.dcm", "--preview", "--report", report)
    assert ran.code == 3
    assert ran.out.splitlines() == [str(tmp_path / "x.dcm")]
    values = json.loads(report.read_text())
    assert values["outputs"][0]["preview"] is None
    assert "no space" in values["failures"][0]["reason"]


def mixed_folder(folder: Path) -> int:
    """Fill a folder with 40 sources and what is met beside them; return how many of them are good."""
    good = 0
    for number in range(40):
        name = f"{number:02d}"
        if number % 10 == 3:
            write_chest(folder / f"{name}-lateral.dcm", ViewPosition="LL")
        elif number % 10 == 5:
            (folder / f"{name}-broken.dcm").write_bytes(write_chest(folder / f"{name}-broken.dcm").read_bytes()[:3000])
        elif number % 20 == 7:
            write_chest(folder / f"{name}{'n' * 248}.dcm", number)
        else:
            write_chest(folder / f"{name}.dcm", number)
            good += 1
    (folder / "shut").mkdir(mode=0)
    with zipfile.ZipFile(folder / "empty.zip", "w"):
        pass
    return good


@pytest.mark.slow
@linux_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_accounts_for_each_source_and_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    study, out = tmp_path / "study", tmp_path / "out"
    good = mixed_folder(study)
    arguments = ["edit", study, "-p", "edema", "-o", out, "--engine", ENGINE]
    first_report, second_report = tmp_path / "1.json", tmp_path / "2.json"
    started = process(*arguments, "--report", first_report)
    for _ in range(2400):
        if out.is_dir() and len(list(out.glob("*.dcm"))) >= good // 3:
            break
        time.sleep(0.02)
    started.send_signal(number)
    first = finished(started)
    assert first.code == 128 + number
    values = json.loads(first_report.read_text())
    written = [Path(output["path"]).name for output in values["outputs"]]
    assert values["end"] == "interrupted"
    assert first.out.splitlines() == [str(out / name) for name in written]
    assert sorted(written) == sorted(path.name for path in out.glob("*.dcm"))
    assert good // 3 <= len(written) < good
    assert accounted(values) == 40 + 1  # and the folder that is shut
    assert values["skipped"] == {"zip archive in a folder": 1}
    stamps = {name: (out / name).stat().st_mtime_ns for name in written}

    second = finished(process(*arguments, "--skip-existing", "--report", second_report))
    (study / "shut").chmod(0o700)
    assert second.code == 3
    values = json.loads(second_report.read_text())
    assert values["end"] == "done"
    assert {Path(item["path"]).name for item in values["existing"]} == set(written)
    assert len(values["outputs"]) == good - len(written)
    assert accounted(values) == 40 + 1
    assert {name: (out / name).stat().st_mtime_ns for name in written} == stamps, "nothing is done twice"
    assert second.err.splitlines()[-1] == (
        f"{good - len(written)} written, {len(written)} existing, 4 refused, {4 + 2 + 1} failed, 1 skipped"
    )


def accounted(values: dict[str, Any]) -> int:
    """Return how many sources a report speaks of."""
    kinds = ("outputs", "existing", "refused", "failures", "not_tried")
    sources = [item["source"] for kind in kinds for item in values[kind]]
    assert len(sources) == len(set(sources))
    return len(sources)
