"""``tune`` and ``bench``, and an edit with what was tuned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from roentmod_fast.cli import cli
from roentmod_fast.editor import Editor
from roentmod_fast.errors import SettingError
from roentmod_fast.presets import Preset, SpeedSettings
from roentmod_fast.runtime.networks import Networks

TINY = Path(__file__).parents[1] / "goldens" / "tiny_bundle"


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


def run(*words: str) -> tuple[str, str]:
    result = CliRunner().invoke(cli, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_tune_then_edit_says_what_it_costs(tmp_path: Path) -> None:
    chest = tmp_path / "chest.dcm"
    run("sample", str(chest), "--size", "160")
    edit = ("edit", str(chest), "-p", "edema", "--engine", str(TINY), "--device", "cpu", "--preset", "fast")
    with pytest.raises(SettingError, match="never measured"):
        run(*edit)
    out, err = run("tune", "--engine", str(TINY), "--device", "cpu", "--count", "1", "-p", "edema", "--min-psnr", "5")
    kept = Path(out.strip())
    assert kept.is_file() and kept.is_relative_to(tmp_path)
    assert "fp32, dpm++ in 5 steps" in err and "fast: fp32, dpm++ in" in err
    speed = json.loads(kept.read_text())["presets"]["fast"]["speed"]
    report = tmp_path / "report.json"
    _, err = run(*edit, "--report", str(report))
    assert "times as fast as exact" in err
    values = json.loads(report.read_text())
    assert values["preset"]["name"] == "fast" and values["preset"]["measured"]["images"] == 1
    assert values["outputs"][0]["settings"]["speed"] == speed
    assert values["outputs"][0]["unet_calls"] == 2 * speed["calls"]  # with text and without, for the contrast


def test_an_edit_in_five_calls_says_so_in_the_file(tmp_path: Path) -> None:
    import pydicom

    chest = tmp_path / "chest.dcm"
    run("sample", str(chest), "--size", "160")
    out, err = run(
        "edit", str(chest), "-p", "edema", "--engine", str(TINY), "--device", "cpu", "--solver", "dpm++", "--calls", "5"
    )
    assert "fp32, dpm++ in 5 steps" in err
    assert "dpm++ in 5 steps" in pydicom.dcmread(out.strip()).DerivationDescription


def test_bench_gives_a_table_and_json(tmp_path: Path) -> None:
    report = tmp_path / "bench.json"
    out, err = run("bench", "--engine", str(TINY), "--device", "cpu", "--runs", "2", "--json", str(report))
    rounds = [line.partition(":")[0] for line in err.splitlines() if not line.startswith("note: ")]
    assert rounds == ["warming up", "edit 1", "edit 2"]
    assert "cpu       exact" in out and "images/s" in out
    values = json.loads(report.read_text())
    (row,) = values["rows"]
    assert row["lowest"] <= row["seconds"] <= row["highest"]
    assert row["images_a_second"] == pytest.approx(1 / row["seconds"], rel=0.2)
    assert values["runs"] == 2


@pytest.mark.slow
def test_presets_of_one_precision_share_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = Networks.open
    monkeypatch.setattr(Networks, "open", lambda *words, **options: opened.append(words) or real(*words, **options))
    out, _ = run("bench", "--engine", "phantom", "--device", "cpu", "--runs", "1")
    assert [line.split()[1] for line in out.splitlines()[1:]] == ["exact", "balanced", "fast"]
    assert len(opened) == 1


def test_an_editor_takes_no_preset_of_another_precision() -> None:
    editor = Editor.load(TINY, "cpu")
    assert editor.with_preset(Preset("fast", SpeedSettings("fp32", "dpm++", 4))).networks is editor.networks
    with pytest.raises(SettingError, match="preset 'fast' is int8, open is fp32"):
        editor.with_preset(Preset("fast", SpeedSettings("int8")))


def test_bench_of_a_preset_that_was_never_measured_is_refused() -> None:
    with pytest.raises(SettingError, match="never measured"):
        run("bench", "--engine", str(TINY), "--device", "cpu", "--preset", "fast")
