"""What all peers share counts and times alike; a stub takes the place of the library under test."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.benchmarks.conftest import BENCHMARKS


def image(flat: bool = False) -> Image.Image:
    drawn = Image.new("L", (4, 4))
    drawn.putpixel((1, 1), 0 if flat else 255)
    return drawn


def test_a_guided_step_is_the_sum_of_its_evaluations() -> None:
    from peer import Clock

    clock = Clock()
    evaluate = clock.timed("unet", time.sleep)
    for name in ("vae_encoder", "vae_decoder"):
        clock.timed(name, lambda: None)()
    for seconds in (0.03, 0.03, 0.0, 0.0):
        evaluate(seconds)
    edit = clock.edit(image(), evaluations=2)
    assert len(edit.unet_calls) == 2
    assert edit.unet_calls[0] >= 0.06 > edit.unet_calls[1]
    assert clock.calls == {}


def test_process_start_is_before_this_module_and_after_the_machines() -> None:
    code = "import time; import peer; print(time.perf_counter() - peer.process_start())"
    started = time.perf_counter()
    output = subprocess.run(
        [sys.executable, "-c", f"import time; time.sleep(0.3); {code}"],
        cwd=BENCHMARKS / "peers",
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert 0.3 <= float(output) <= time.perf_counter() - started + 0.02  # clock ticks of a hundredth of a second


@pytest.mark.parametrize(("options", "steps", "edits"), [([], [50, 50], 1), (["--no-edit"], [5, 5], 0)])
def test_the_first_edit_is_kept_apart_from_the_warm_ones(
    options: list[str], steps: list[int], edits: int, capsys: pytest.CaptureFixture[str]
) -> None:
    from peer import Edit, command_line, measure

    steps_of_edits: list[int] = []

    def edit(of: int) -> Edit:
        steps_of_edits.append(of)
        return Edit(image(), [float(len(steps_of_edits))] * 2, None, 0.5, time.perf_counter())

    measure(command_line("").parse_args(["folder", "chest.png", *options]), edit, ("pillow",))
    figures: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert steps_of_edits == steps
    assert figures["guided_unet_call_s"] == [2.0, 2.0]
    assert figures["vae_encoder_s"] == []
    assert len(figures["edit_s"]) == edits
    assert (figures["first_image_after_s"] is None) == (edits == 0)
    assert figures["packages"]["pillow"]


def test_a_flat_image_is_no_edit() -> None:
    from peer import Edit, command_line, measure

    with pytest.raises(SystemExit, match="flat grey"):
        measure(
            command_line("").parse_args(["folder", "chest.png", "--no-edit"]),
            lambda steps: Edit(image(flat=True), [1.0, 1.0], None, None, time.perf_counter()),
            (),
        )


def test_a_missing_conversion_is_an_error_with_the_command(tmp_path: Path) -> None:
    from peer import converted

    with pytest.raises(SystemExit, match="--convert"):
        converted(tmp_path / "sd1.genai", "genai.py sd1 --convert")


@pytest.mark.parametrize("prefix", ["text_model.", ""])
def test_a_text_encoder_that_older_transformers_do_not_read_is_refused(prefix: str, tmp_path: Path) -> None:
    from peer import check_names

    (tmp_path / "text_encoder").mkdir()
    header = json.dumps({"__metadata__": {}, f"{prefix}embeddings.weight": {}}).encode()
    (tmp_path / "text_encoder" / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    if prefix:
        check_names(tmp_path)
    else:
        with pytest.raises(SystemExit, match="make_checkpoint"):
            check_names(tmp_path)
