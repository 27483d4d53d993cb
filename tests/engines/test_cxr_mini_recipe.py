"""The recipe of cxr-mini: every stage runs on a few made films, and what is done is not done again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the recipe needs the export extra")
pytest.importorskip("diffusers", reason="the recipe needs the export extra")

from roentmod_fast.phantom import draw as draw_phantom  # noqa: E402
from roentmod_fast_engines.cxr_mini import (  # noqa: E402
    learning,
    masks,
    train,
)
from roentmod_fast_engines.cxr_mini.films import NIH, part_of  # noqa: E402
from roentmod_fast_engines.cxr_mini.learning import Length  # noqa: E402
from roentmod_fast_engines.cxr_mini.pairs import fields_of  # noqa: E402
from roentmod_fast_engines.cxr_mini.segment import find_lungs  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def make_films(folder: Path, count: int) -> None:
    """Write phantoms as films, half of them with masks drawn by hand."""
    (folder / "hannover").mkdir(parents=True)
    (folder / "hannover-lungs").mkdir()
    rows = ["file,source,patient,age,sex,view,findings,rsna_reader_class"]
    for number in range(count):
        film = draw_phantom(256, number)
        Image.fromarray((film.image * 255).astype(np.uint8)).save(folder / "hannover" / f"{number}.png")
        if number % 2 == 0:
            mask = fields_of(film).any(0)
            Image.fromarray(mask.astype(np.uint8) * 255).convert("1").save(folder / "hannover-lungs" / f"{number}.png")
        rows.append(f"hannover/{number}.png,{NIH},{number},50,F,{'PA' if number % 2 else 'AP'},No Finding,")
    (folder / "index.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def test_quick_run_leaves_a_whole_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_films(tmp_path / "films", 24)
    # Two steps teach no network to find lungs: take the truth for what it found.
    parts = [part_of(NIH, str(number)) for number in range(24)]
    assert {"train", "test", "classifier", "validation"} >= set(parts)
    truth = np.stack([fields_of(draw_phantom(256, number)) for number in range(24)]).astype(np.float16)
    monkeypatch.setattr(train, "find_lungs", lambda network, images, device: truth)
    arguments = [str(tmp_path / "work"), "--films", str(tmp_path / "films"), "--quick"]
    train.main(arguments)
    assert "guidance: step 2/2" in capsys.readouterr().out
    checkpoint = tmp_path / "work" / "checkpoint"
    index = json.loads((checkpoint / "model_index.json").read_text())
    parts = [name for name, value in index.items() if isinstance(value, list) and value[0] is not None]
    assert sorted(parts) == ["scheduler", "text_encoder", "tokenizer", "unet", "vae"]
    assert all((checkpoint / part).is_dir() for part in parts)
    from safetensors.torch import load_file

    for part in ("unet", "vae"):
        weights = load_file(checkpoint / part / "diffusion_pytorch_model.safetensors")
        assert all(torch.equal(value, value.half().float()) for value in weights.values())
    train.main(arguments)
    assert capsys.readouterr().out.count("done before") == 9
    train.pack_start(tmp_path / "work", tmp_path / "start.pt")
    other = tmp_path / "other"
    train.main([str(other), *arguments[1:], "--start", str(tmp_path / "start.pt")])
    said = capsys.readouterr().out
    assert "autoencoder: done before" in said
    assert "words: done before" in said
    assert "guidance: step 2/2" in said
    first, second = (
        load_file(folder / "checkpoint" / "vae" / "diffusion_pytorch_model.safetensors")
        for folder in (tmp_path / "work", other)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "SAVE_EVERY", 0.0)

    def run(folder: Path, killed_at: int | None) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        network = torch.nn.Linear(3, 1)

        def loss_of(step: int) -> torch.Tensor:
            if step == killed_at:
                raise KeyboardInterrupt
            return (network(torch.randn(8, 3)) - 1).square().mean()

        folder.mkdir(exist_ok=True)
        return learning.train("toy", network, loss_of, folder, Length(10, 8), peak=0.1, decay=0.9)

    unbroken = run(tmp_path / "a", None)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", 7)
    resumed = run(tmp_path / "b", None)
    assert unbroken.keys() == resumed.keys()
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)


def lungs(seed: int) -> np.ndarray:
    return fields_of(draw_phantom(256, seed)).astype(np.float32)


def test_lung_fields_of_phantoms_are_let_in() -> None:
    assert [masks.faults(lungs(seed)) for seed in range(6)] == [[]] * 6


@pytest.mark.parametrize("fault", ["none", "one", "shoulder", "pieces", "edge", "unsure", "overlap", "short"])
def test_bad_lung_fields_are_refused(fault: str) -> None:
    p = lungs(0)
    if fault == "none":
        p[:] = 0
    elif fault == "one":
        p[1] = 0
    elif fault == "shoulder":
        p[1, 4:30, 150:230] = 1
        p[1, 30:60, 180:200] = 1
    elif fault == "pieces":
        p[0, 215:250, 60:110] = 1
    elif fault == "edge":
        p[1, 120:140, 160:256] = 1
    elif fault == "unsure":
        p[p > 0] = 0.6
    elif fault == "overlap":
        p[1] = np.maximum(p[1], p[0])
    elif fault == "short":
        p[0, 120:] = 0
    assert masks.faults(p)


def test_a_base_that_is_just_cut_is_let_in_and_a_side_that_is_cut_off_is_not() -> None:
    p = lungs(0)
    first = int(np.flatnonzero(p[0].any(0))[0])
    beside = np.pad(p, ((0, 0), (0, 0), (0, first - 3)))[:, :, first - 3 :]
    lowest = int(np.flatnonzero(beside[0, :, 3])[-1])
    for rows, refused in ((0, False), (8, False), (40, True)):
        cut = beside.copy()
        cut[0, lowest - rows : lowest, :4] = 1
        assert ("a lung at the film's edge" in masks.faults(cut)) == refused


def test_lungs_are_read_at_several_zooms_and_put_back() -> None:
    film = (lungs(0).any(0) * 200).astype(np.uint8)
    found = find_lungs(lambda x: torch.cat([x, x], 1) * 40 - 15, film[None], torch.device("cpu"))
    assert found.shape == (1, 2, 256, 256)
    assert masks.dice(found[0, 0] > 0.5, film > 100) > 0.97


def test_sides_are_split_and_the_largest_part_kept() -> None:
    both = lungs(2).any(0)
    right, left = masks.split_sides(both)
    assert not (right & left).any()
    assert masks.dice(right, lungs(2)[0] > 0.5) > 0.97
    assert masks.dice(left, lungs(2)[1] > 0.5) > 0.97
    dirty = right.copy()
    dirty[2:6, 2:6] = True
    holed = dirty.copy()
    rows, columns = np.nonzero(right)
    holed[int(np.median(rows)), int(np.median(columns))] = False
    assert (masks.largest_part(holed) == right).all()
    assert not masks.largest_part(np.zeros((8, 8), bool)).any()
