"""The editor, on a tiny engine of random weights and against what diffusers gives with the same weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from roentmod_fast.bundle.bundle import read_bundle
from roentmod_fast.diffusion.noise import TorchNoise
from roentmod_fast.editor import Editor
from roentmod_fast.errors import DeviceError, EngineError, SettingError
from roentmod_fast.presets import Preset, SpeedSettings, render_presets, tuned_path
from roentmod_fast.result import EditResult, Prepared
from roentmod_fast.runtime.backends.cpu import CPU
from roentmod_fast.runtime.backends.cuda import CUDA
from roentmod_fast.runtime.backends.openvino import OPENVINO
from roentmod_fast.runtime.backends.tensorrt_rtx import RTX
from roentmod_fast.settings import EditConfig

GOLDENS = Path(__file__).parent / "goldens"


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor.load(GOLDENS / "tiny_bundle", device="cpu")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).random((64, 64), dtype=np.float32)


def test_a_whole_edit_is_that_of_diffusers(editor: Editor) -> None:
    """Sameness: noise, schedule, guidance, networks and tokens together, against the recorded pipeline."""
    recorded = np.load(GOLDENS / "edit_sd1.npz")
    made = json.loads((GOLDENS / "edit.json").read_text())["sd1"]
    config = EditConfig(made["strength"], made["guidance"], made["steps"], made["seed"], "replace")
    result = editor.edit(recorded["image"], made["prompt"], config)
    difference = np.abs(result.decoded - recorded["output"].mean(axis=2))
    # Measured 1e-6 on the recording machine; ONNX Runtime's kernels differ a little between CPUs.
    assert difference.max() < 1e-4
    assert result.unet_calls == 20


def test_sharing_between_prompts_changes_nothing(editor: Editor, image: np.ndarray) -> None:
    prompts = ["edema", "hernia"]
    shared = list(editor.edit(image, prompts, EditConfig(steps=10)))
    for prompt, result in zip(prompts, shared, strict=True):
        alone = editor.edit(image, prompt, EditConfig(steps=10))
        assert np.array_equal(alone.image, result.image)
        assert np.array_equal(alone.decoded, result.decoded)
    assert not np.array_equal(shared[0].decoded, shared[1].decoded)


@pytest.fixture
def calls(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many items each call of the UNet has."""
    seen: list[int] = []
    real = type(editor.networks).predict

    def spy(networks: object, latents: np.ndarray, timestep: int, states: np.ndarray) -> np.ndarray:
        assert latents.shape[0] == states.shape[0]
        seen.append(latents.shape[0])
        return real(networks, latents, timestep, states)

    monkeypatch.setattr(type(editor.networks), "predict", spy)
    return seen


def test_no_guidance_takes_half_of_the_network(editor: Editor, image: np.ndarray, calls: list[int]) -> None:
    for guidance, looks in ((1.0, 1), (4.0, 2), (0.0, 1)):
        calls.clear()
        result = editor.edit(image, "edema", EditConfig(steps=10, guidance=guidance, compose="replace"))
        assert calls == [looks] * 4
        assert result.unet_calls == 4


def test_noise_as_an_array_is_the_seeds_own(editor: Editor, image: np.ndarray) -> None:
    generator = TorchNoise(7)
    size = editor.model.latent_size
    draws = [generator.normal((1, 4, size, size)) for _ in range(2)]
    by_array = editor.edit(image, "edema", EditConfig(steps=10), noise=np.concatenate(draws))
    by_seed = editor.edit(image, "edema", EditConfig(steps=10, seed=7))
    assert np.array_equal(by_array.decoded, by_seed.decoded)


def test_a_setting_of_zero_is_a_value(editor: Editor, image: np.ndarray) -> None:
    assert editor.settings(EditConfig(guidance=0.0)).guidance == 0
    assert editor.settings(EditConfig()).guidance == 4
    assert editor.settings(EditConfig(strength=0.0)).strength == 0


@pytest.mark.parametrize(("compose", "calls"), [("contrast", None), ("delta", None), ("contrast", 5)])
def test_strength_0_changes_nothing(editor: Editor, image: np.ndarray, compose: str, calls: int | None) -> None:
    result = editor.edit(image, "edema", strength=0.0, compose=compose, calls=calls)
    assert np.array_equal(result.image, image)
    assert result.unet_calls == 0


def test_strength_0_with_replace_is_what_the_autoencoder_gives_back(editor: Editor, image: np.ndarray) -> None:
    prepared = editor.prepare(image, EditConfig(strength=0.0, compose="replace"))
    assert np.array_equal(editor.apply(prepared, "edema").decoded, editor.reconstruct(prepared))


@pytest.mark.parametrize("compose", ["contrast", "delta", "replace"])
def test_any_size_comes_back_at_its_size(editor: Editor, compose: str) -> None:
    image = np.random.default_rng(1).random((50, 81), dtype=np.float32)
    result = editor.edit(image, "edema", EditConfig(steps=5, compose=compose))
    assert result.image.shape == (50, 81)
    assert result.image.dtype == np.float32
    assert 0 <= result.image.min() <= result.image.max() <= 1
    assert result.decoded.shape == (64, 64)


def test_progress_counts_every_step(editor: Editor, image: np.ndarray) -> None:
    seen: list[tuple[int, int]] = []
    editor.edit(image, "edema", EditConfig(steps=10), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(index, 4) for index in range(1, 5)]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (np.zeros((4, 4, 3), np.float32), "expected"),
        (np.full((8, 8), 2, np.float32), r"in \[2, 2\]: expected \[0, 1\]"),
        (np.full((8, 8), np.nan, np.float32), "NaN or infinity"),
    ],
)
def test_an_image_that_is_none_is_refused(editor: Editor, bad: np.ndarray, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        editor.edit(bad, "edema")


def test_a_long_prompt_says_what_was_left_out(editor: Editor, image: np.ndarray) -> None:
    long = "edema " * 100 + "hernia"
    result = editor.edit(image, long, EditConfig(steps=5))
    assert result.truncated.endswith("hernia")
    assert editor.edit(image, "edema", EditConfig(steps=5)).truncated == ""


def test_provenance_says_how_it_was_made(editor: Editor, image: np.ndarray) -> None:
    made = editor.edit(image, "edema", EditConfig(strength=0.5, guidance=2.0, steps=10, seed=3)).provenance
    assert (made.prompt, made.strength, made.guidance, made.steps, made.seed) == ("edema", 0.5, 2.0, 10, 3)
    assert made.engine_hash == editor.bundle.manifest_hash


def test_a_device_that_is_absent_is_an_error() -> None:
    with pytest.raises(DeviceError, match="'rtx'"):
        Editor.load(GOLDENS / "tiny_bundle", device="rtx")
    with pytest.raises(DeviceError, match="unknown device 'tpu'"):
        Editor.load(GOLDENS / "tiny_bundle", device="tpu")


def test_a_precision_that_is_absent_is_an_error() -> None:
    with pytest.raises(EngineError, match="has no int8 networks"):
        Editor.load(GOLDENS / "tiny_bundle", device="cpu", precision="int8")


@pytest.mark.parametrize("compose", ["contrast", "delta", "replace"])
def test_outside_a_region_the_image_stays_exactly(editor: Editor, image: np.ndarray, compose: str) -> None:
    region = np.zeros((64, 64), np.float32)
    region[20:44, 8:32] = 1
    result = editor.edit(image, "edema", EditConfig(steps=10, compose=compose), region=region)
    assert np.array_equal(result.image[region == 0], image[region == 0])
    assert np.abs(result.image - image)[region > 0].max() > 0.01


def test_latents_outside_a_region_are_held_to_the_source(editor: Editor, image: np.ndarray) -> None:
    """Far from the region the decoded edit is the decoded source, which without a region it is not."""
    region = np.zeros((64, 64), np.float32)
    region[:8, :8] = 1
    config = EditConfig(steps=10, compose="replace")
    prepared = editor.prepare(image, config)
    source = editor.reconstruct(prepared)
    held = editor.edit(image, "edema", config, region=region).decoded
    free = editor.edit(image, "edema", config).decoded
    assert np.abs(held - source)[40:, 40:].mean() < 0.5 * np.abs(free - source)[40:, 40:].mean()


def test_a_region_of_another_shape_is_refused(editor: Editor, image: np.ndarray) -> None:
    with pytest.raises(SettingError, match="region of shape"):
        editor.edit(image, "edema", region=np.ones((8, 8), np.float32))


def test_settings_name_the_precision_that_really_runs() -> None:
    unsaid = Editor.load(GOLDENS / "tiny_bundle", device="cpu", preset=Preset("mine", SpeedSettings()))
    assert unsaid.settings().speed.precision == unsaid.networks.precision == "fp32"


PROMPTS = ("edema", "hernia")


def several(editor: Editor, **options: object) -> list[tuple[Prepared, str]]:
    """Three radiographs of their own size, seed and region, each with two prompts."""
    pairs = []
    for seed, shape in enumerate(((64, 64), (50, 81), (90, 70))):
        image = np.random.default_rng(seed).random(shape, dtype=np.float32)
        region = None
        if seed == 1:
            region = np.zeros(shape, np.float32)
            region[10:40, 20:60] = 1
        placed = editor.place(image, EditConfig(seed=seed, **options), region=region)
        [prepared] = editor.encode([placed])
        pairs += [(prepared, prompt) for prompt in PROMPTS]
    return pairs


@pytest.fixture(
    scope="module",
    params=[
        {"steps": 10},
        {"steps": 10, "compose": "delta", "solver": "dpm++"},
        {"calls": 4, "compose": "replace", "solver": "dpm++", "guidance": 1.0},
    ],
    ids=["contrast", "delta", "unguided"],
)
def alone(request: pytest.FixtureRequest, editor: Editor) -> tuple[dict[str, object], list[EditResult]]:
    """Options, and each of several edits made by itself."""
    return request.param, [editor.apply(prepared, prompt) for prepared, prompt in several(editor, **request.param)]


@pytest.mark.parametrize("batch", [2, 3, 5, 6])
def test_a_batch_gives_what_one_at_a_time_gives(
    editor: Editor, monkeypatch: pytest.MonkeyPatch, alone: tuple[dict[str, object], list[EditResult]], batch: int
) -> None:
    """Bit for bit: on a CPU a network runs item by item, and the rest is arithmetic of each element alone."""
    monkeypatch.setattr(editor, "batch", batch)
    options, one_at_a_time = alone
    pairs = several(editor, **options)
    together = [
        result for start in range(0, len(pairs), batch) for result in editor.apply_batch(pairs[start : start + batch])
    ]
    for one, many in zip(one_at_a_time, together, strict=True):
        assert (one.prompt, one.settings, one.provenance) == (many.prompt, many.settings, many.provenance)
        assert np.array_equal(one.decoded, many.decoded)
        assert np.array_equal(one.image, many.image)
        assert one.change == many.change
        assert one.unet_calls == many.unet_calls
        assert one.seconds.keys() == many.seconds.keys()


def test_the_order_of_a_batch_does_not_matter(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editor, "batch", 6)
    forwards = editor.apply_batch(several(editor, steps=10))
    backwards = editor.apply_batch(several(editor, steps=10)[::-1])
    for one, other in zip(forwards, backwards[::-1], strict=True):
        assert (one.prompt, one.settings.seed) == (other.prompt, other.settings.seed)
        assert np.array_equal(one.image, other.image)


def test_images_are_encoded_together_as_alone(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editor, "batch", 3)
    images = [np.random.default_rng(seed).random((64, 64), dtype=np.float32) for seed in range(3)]
    together = editor.encode([editor.place(image, EditConfig(seed=seed)) for seed, image in enumerate(images)])
    for seed, (image, prepared) in enumerate(zip(images, together, strict=True)):
        assert np.array_equal(prepared.x_0, editor.prepare(image, EditConfig(seed=seed)).x_0)
    assert len({item.watch.seconds["vae_encoder"] for item in together}) == 1
    placed = editor.place(images[0])
    first, again = editor.encode([placed]) + editor.encode([placed])
    editor.apply(first, "edema")
    assert "vae_encoder" in again.watch.seconds
    assert editor.encode([]) == []
    assert editor.apply_batch([]) == []


def test_the_unet_is_called_once_a_step_and_evaluates_nothing_twice(editor: Editor, calls: list[int]) -> None:
    pairs = several(editor, steps=10)[:4]
    assert editor.count_calls(pairs) == 4
    editor.apply_batch(pairs)
    # Four guided edits and the references of their two images, which at the start share what has no text.
    assert calls == [4 + 2, 10, 10, 10]
    calls.clear()
    editor.apply_batch(pairs)
    assert calls == [4 + 2, 8, 8, 8], "a reference is made once"
    calls.clear()
    editor.apply_batch(several(editor, steps=10, compose="delta")[:4])
    assert calls == [4 + 2, 8, 8, 8]


def test_what_a_batch_shares_counts_for_the_first(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editor, "batch", 4)
    results = editor.apply_batch(several(editor, steps=10)[:4])
    assert [result.unet_calls for result in results] == [8, 4, 8, 4]
    assert ["vae_encoder" in result.seconds for result in results] == [True, False, True, False]
    assert len({result.seconds["unet"] for result in results}) == 1, "one loop, shared evenly"


def test_progress_of_a_batch_counts_every_step(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editor, "batch", 6)
    seen: list[tuple[int, int]] = []
    editor.apply_batch(several(editor, steps=10), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(index, 4) for index in range(1, 5)]


def test_prompts_of_one_image_are_edited_in_batches(
    editor: Editor, image: np.ndarray, monkeypatch: pytest.MonkeyPatch, calls: list[int]
) -> None:
    monkeypatch.setattr(editor, "batch", 2)
    prompts = ["edema", "hernia", "left upper lobe mass"]
    results = list(editor.edit(image, prompts, EditConfig(steps=10, compose="replace")))
    assert calls == [3, 4, 4, 4, 2, 2, 2, 2]
    assert [result.prompt for result in results] == prompts


def test_what_cannot_be_one_batch_is_refused(editor: Editor, image: np.ndarray) -> None:
    two = Editor.load(GOLDENS / "tiny_bundle", device="cpu", batch=2)
    other = two.prepare(image, EditConfig(steps=20))
    with pytest.raises(SettingError, match="different settings"):
        two.apply_batch([(two.prepare(image, EditConfig(steps=10)), "edema"), (other, "edema")])
    with pytest.raises(SettingError, match="batch 0"):
        Editor.load(GOLDENS / "tiny_bundle", device="cpu", batch=0)


def test_auto_takes_the_cpu_device_that_was_measured_as_the_quicker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    # As where OpenVINO is installed, which it need not be: the session is not to be opened on it.
    monkeypatch.setattr(OPENVINO, "missing", lambda: None)
    for gpu in (CUDA, RTX):
        monkeypatch.setattr(gpu, "missing", lambda: "no GPU")
    bundle = read_bundle(GOLDENS / "tiny_bundle")
    for device, seconds in (("cpu", 4.0), ("openvino", 5.0)):
        path = tuned_path(bundle, device)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render_presets({}, bundle, {"exact_seconds": seconds}))
    assert Editor.load(bundle.folder).device == CPU
