"""The recipe of the built-in engine: every stage runs, a killed run goes on as if nothing had happened."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the recipe needs the export extra")
pytest.importorskip("diffusers", reason="the recipe needs the export extra")

from roentmod_fast.findings import PROMPTS, find_findings  # noqa: E402
from roentmod_fast_engines.phantom import train as recipe  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def test_quick_run_leaves_a_whole_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe.main([str(tmp_path), "--quick"])
    first = capsys.readouterr().out
    assert "unet: step 2/2" in first
    checkpoint = tmp_path / "checkpoint"
    index = json.loads((checkpoint / "model_index.json").read_text())
    parts = [name for name, value in index.items() if isinstance(value, list) and value[0] is not None]
    assert sorted(parts) == ["scheduler", "text_encoder", "tokenizer", "unet", "vae"]
    assert all((checkpoint / part).is_dir() for part in parts)
    from safetensors.torch import load_file

    weights = load_file(checkpoint / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(value, value.half().float()) for value in weights.values())
    recipe.main([str(tmp_path), "--quick"])
    assert capsys.readouterr().out.count("done before") == 8


def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    def run(folder: Path, killed_at: int | None) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        network = torch.nn.Linear(3, 1)

        def loss_of(step: int) -> torch.Tensor:
            if step == killed_at:
                raise KeyboardInterrupt
            return (network(torch.randn(8, 3)) - 1).square().mean()

        folder.mkdir(exist_ok=True)
        networks = torch.nn.ModuleList([network])
        return recipe.train("toy", networks, loss_of, folder, steps=10, peak=0.1, decay=0.9, every=2)

    unbroken = run(tmp_path / "a", None)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", 7)
    resumed = run(tmp_path / "b", None)
    assert unbroken.keys() == resumed.keys()
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)


def test_captions_say_what_is_drawn() -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(300):
        keys = recipe.choose_findings(rng)
        text = recipe.caption(keys, rng)
        assert set(find_findings(text)) == set(keys), text
        seen.add(text)
    assert set(PROMPTS) <= seen


def test_every_prompt_is_a_few_tokens(tmp_path: Path) -> None:
    tokenizer = recipe.make_tokenizer(tmp_path)
    for prompt in PROMPTS:
        assert len(tokenizer.tokenize(prompt)) == len(prompt.split())
    assert tokenizer("").input_ids == [len(tokenizer) - 2, len(tokenizer) - 1]


def test_textures_and_augmentation_stay_in_range() -> None:
    textures = recipe.draw_textures(6, 1)
    assert textures.dtype == np.uint8
    assert textures.std(axis=(1, 2)).min() > 3
    rng = np.random.default_rng(3)
    for _ in range(40):
        image = recipe.augment(textures[0].astype(np.float32) / 255, rng)
        assert image.shape == (256, 256)
        assert 0 <= image.min() <= image.max() <= 1
