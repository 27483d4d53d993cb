"""Tiny random checkpoints of every layout become engines that compute what they compute."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from roentmod_fast.bundle.bundle import Bundle, read_bundle, verify_files
from roentmod_fast.bundle.manifest import bytes_of
from roentmod_fast.cli import cli
from roentmod_fast.editor import Editor
from roentmod_fast.errors import OutputError, SettingError
from roentmod_fast.phantom import draw
from roentmod_fast.settings import EditConfig
from roentmod_fast_export import engine_side, export_checkpoint, exporter
from roentmod_fast_export import parity as checks
from roentmod_fast_export.errors import CheckpointError, ParityError
from tests.export.conftest import EngineOf
from tests.goldens.tiny import LAYOUTS

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:torch.*"),
]


def weights_of(folder: Path) -> Path:
    [path] = folder.glob("*.safetensors")
    return path


def size_of(bundle: Bundle, file: str) -> int:
    """Return the bytes of a network, with its weights."""
    return bytes_of(file, bundle.manifest.files)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_exports_and_edits_as_diffusers_does(engine_of: EngineOf, layout: str) -> None:
    bundle = read_bundle(engine_of(layout))
    verify_files(bundle)
    assert bundle.manifest.model.prediction == ("v_prediction" if layout == "v" else "epsilon")
    parity = bundle.manifest.parity["fp32"]
    assert set(parity) == {"text_encoder", "unet", "unet_fused", "vae_encoder", "vae_decoder", "whole_edit"}
    assert max(values["relative"] for values in parity.values()) < 1e-3
    assert parity["whole_edit"]["psnr_db"] > 60
    result = Editor.load(bundle.folder, device="cpu").edit(draw(90, 0).image, "edema", EditConfig(steps=5))
    assert result.image.shape == (90, 90)
    assert "whole_edit" in (bundle.folder / "CARD.md").read_text()


@pytest.mark.parametrize(
    ("strength", "guidance", "steps"),
    [(0.2, 7.5, 20), (0.4, 1.0, 50), (0.75, 4.0, 20), (1.0, 4.0, 20), (0.4, 7.5, 75)],
)
def test_settings_off_the_beaten_track_are_the_same_too(
    checkpoints: Path, engine_of: EngineOf, strength: float, guidance: float, steps: int
) -> None:
    from roentmod_fast_export.checkpoint import open_checkpoint

    opened = open_checkpoint(checkpoints / "sd1")
    config = EditConfig(strength, guidance, steps, 42, "replace")
    image, prompt = engine_side.edit_image(opened.model), "right pleural effusion"
    reference = checks.reference_edit(checks.reference_pipeline(opened), image, config, prompt)
    ours = Editor.load(engine_of("sd1"), device="cpu").edit(image, prompt, config)
    assert engine_side.edit_difference(reference, ours.decoded)["psnr_db"] > 60


def test_half_precision_keeps_its_ports_and_its_limit(engine_of: EngineOf) -> None:
    bundle = read_bundle(engine_of("sd1"))
    full, half = bundle.manifest.networks["fp32"], bundle.manifest.networks["fp16"]
    for network, file in half.items():
        assert size_of(bundle, file) < 0.7 * size_of(bundle, full[network])
    assert bundle.manifest.parity["fp16"]["whole_edit"]["psnr_db"] > 35
    assert bundle.manifest.parity["fp16"]["unet"]["max_abs"] > bundle.manifest.parity["fp32"]["unet"]["max_abs"]


@pytest.mark.parametrize("precisions", [("fp32", "fp16"), ("fp16",)])
def test_an_autoencoder_too_large_for_half_precision_stays_in_float32(
    checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precisions: tuple[str, ...]
) -> None:
    monkeypatch.setattr(checks, "HALF_VAE_LARGEST", 12.0)  # the tiny encoder comes to 10, the decoder to 13
    bundle = read_bundle(export_checkpoint(checkpoints / "sd1", tmp_path / "b", precisions=precisions))
    verify_files(bundle)
    half = bundle.manifest.networks["fp16"]
    assert half["vae_encoder"] == "vae_encoder.fp16.onnx"
    assert half["vae_decoder"] == "vae_decoder.onnx"
    assert "vae_decoder.fp16.onnx" not in bundle.manifest.files
    assert bundle.manifest.parity["fp16"]["vae_decoder"]["psnr_db"] > 110


def test_parity_can_be_measured_again(checkpoints: Path, engine_of: EngineOf, tmp_path: Path) -> None:
    out = engine_of("sd2")
    parity = checks.validate_bundle(out, checkpoints / "sd2")
    assert parity["fp32"]["whole_edit"]["psnr_db"] > 60
    with pytest.raises(ParityError, match="another model"):
        checks.validate_bundle(out, checkpoints / "v")
    with pytest.raises(ParityError, match="fp32 unet"):  # other weights, all else the same
        weights = checkpoints / "sd2" / "unet" / "diffusion_pytorch_model.safetensors"
        shutil.copytree(checkpoints / "sd2", tmp_path / "other")
        values = {name: value * 1.01 for name, value in load_file(weights).items()}
        save_file(values, tmp_path / "other" / "unet" / weights.name, metadata={"format": "pt"})
        checks.validate_bundle(out, tmp_path / "other")


def test_stored_halves_lose_nothing_that_was_rounded_before(changed: Path, tmp_path: Path) -> None:
    path = weights_of(changed / "unet")
    rounded = {name: value.half().float() for name, value in load_file(path).items()}
    save_file(rounded, path, metadata={"format": "pt"})
    plain = read_bundle(export_checkpoint(changed, tmp_path / "plain"))
    small = read_bundle(export_checkpoint(changed, tmp_path / "small", store_halves=True))
    assert size_of(small, "unet.onnx") < 0.7 * size_of(plain, "unet.onnx")
    # Of the others hardly any weight was rounded.
    assert size_of(small, "vae_decoder.onnx") > 0.9 * size_of(plain, "vae_decoder.onnx")
    image = draw(64, 0).image
    edits = [Editor.load(b.folder, device="cpu").edit(image, "edema", EditConfig(steps=5)) for b in (plain, small)]
    assert np.abs(edits[0].decoded - edits[1].decoded).max() < 1e-6


def test_mixed_precisions_pickles_and_strays_open(changed: Path, tmp_path: Path) -> None:
    """As checkpoints are found in the field: fp16 parts, a .bin, folders that are none of ours."""
    vae = weights_of(changed / "vae")
    save_file({name: value.half() for name, value in load_file(vae).items()}, vae, metadata={"format": "pt"})
    text = weights_of(changed / "text_encoder")
    torch.save(load_file(text), changed / "text_encoder" / "pytorch_model.bin")
    text.unlink()
    for stray in ("checkpoint-500", "safety_checker", "feature_extractor", "text_encoder_and_tokenizer"):
        (changed / stray).mkdir()
        (changed / stray / "config.json").write_text("{}")
    bundle = read_bundle(export_checkpoint(changed, tmp_path / "out"))
    assert bundle.manifest.made["checkpoint_precision"]["vae"] == "float16"
    assert not any("safety" in name for name in bundle.manifest.files)


def test_another_autoencoder(changed: Path, checkpoints: Path, tmp_path: Path) -> None:
    shutil.rmtree(changed / "vae")
    with pytest.raises(CheckpointError, match="--vae"):
        export_checkpoint(changed, tmp_path / "out")
    export_checkpoint(changed, tmp_path / "out", vae=checkpoints / "sd1" / "vae")
    assert (tmp_path / "out" / "manifest.json").is_file()


class Boom:
    """Unpickling this would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (self.path,))  # type: ignore[return-value]


def break_checkpoint(kind: str, folder: Path) -> None:
    unet = weights_of(folder / "unet")
    values = load_file(unet)
    name = "conv_in.weight"
    if kind == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
    elif kind == "missing weight":
        del values[name]
        save_file(values, unet, metadata={"format": "pt"})
    elif kind == "extra weight":
        save_file({**values, "stray.weight": torch.zeros(2)}, unet, metadata={"format": "pt"})
    elif kind == "wrong shape":
        save_file({**values, name: values[name][:1].clone()}, unet, metadata={"format": "pt"})
    elif kind == "truncated":
        unet.write_bytes(unet.read_bytes()[:-100])
    elif kind == "nan":
        save_file({**values, name: values[name] * float("nan")}, unet, metadata={"format": "pt"})
    elif kind == "pickle":
        unet.unlink()
        torch.save({"boom": Boom(folder / "ran")}, folder / "unet" / "diffusion_pytorch_model.bin")
    elif kind == "sdxl":
        (folder / "text_encoder_2").mkdir()
        index = json.loads((folder / "model_index.json").read_text())
        index["_class_name"] = "StableDiffusionXLPipeline"
        index["text_encoder_2"] = ["transformers", "CLIPTextModelWithProjection"]
        (folder / "model_index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("empty", "diffusers folder"),
        ("missing weight", "conv_in.weight"),
        ("extra weight", "stray.weight"),
        ("wrong shape", "conv_in.weight"),
        ("truncated", "diffusion_pytorch_model.safetensors"),
        ("nan", "conv_in.weight"),
        ("pickle", "diffusion_pytorch_model.bin"),
        ("sdxl", "XL"),
    ],
)
def test_a_broken_checkpoint_is_one_line_and_leaves_nothing(
    changed: Path, tmp_path: Path, kind: str, says: str
) -> None:
    break_checkpoint(kind, changed)
    out = tmp_path / "out" / "bundle"
    with pytest.raises(CheckpointError) as error:
        export_checkpoint(changed, out)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert not (changed / "ran").exists()
    assert not out.parent.exists() or not list(out.parent.iterdir())


def test_a_single_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt").write_bytes(b"x" * 100)
    with pytest.raises(CheckpointError, match=r"model\.ckpt"):
        export_checkpoint(tmp_path / "model.ckpt", tmp_path / "out")


def test_an_engine_that_computes_something_else_is_refused(
    checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = checks.reference_edit_once
    monkeypatch.setattr(checks, "reference_edit_once", lambda *a, **k: real(*a, **k) * np.float32(0.9))
    with pytest.raises(ParityError, match=r"fp32 whole_edit: [0-9.]+ dB, limit 60 dB"):
        export_checkpoint(checkpoints / "sd1", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    export_checkpoint(checkpoints / "sd1", tmp_path / "out", keep_anyway=True)
    assert "whole_edit" in read_bundle(tmp_path / "out").manifest.made["kept_although"][0]


def test_a_bundle_that_exists_stays(checkpoints: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("x")
    with pytest.raises(OutputError, match="--overwrite"):
        export_checkpoint(checkpoints / "sd1", tmp_path / "out")
    assert (tmp_path / "out" / "precious").read_text() == "x"


def test_a_disk_without_room_is_named_first(checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 5, 5))
    with pytest.raises(OutputError, match=r"needs [0-9.]+ GB"):
        export_checkpoint(checkpoints / "sd1", tmp_path / "out")


def test_a_disk_that_fills_up_leaves_nothing(
    checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(network: str, module: object, model: object, width: int, path: Path, **options: object) -> None:
        path.write_bytes(b"half a file")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(exporter, "export_network", fill)
    with pytest.raises(OutputError, match="No space left on device"):
        export_checkpoint(checkpoints / "sd1", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_precision_is_named(checkpoints: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="fp8"):
        export_checkpoint(checkpoints / "sd1", tmp_path / "out", precisions=("fp8",))
    with pytest.raises(SettingError, match="none"):
        export_checkpoint(checkpoints / "sd1", tmp_path / "out", precisions=())


def test_the_command_says_what_it_does(checkpoints: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["export", str(checkpoints / "sd1"), "-o", str(tmp_path / "mine")])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'mine'}\n"
    assert "exporting unet, fp32" in result.stderr
    assert "dB against the checkpoint" in result.stderr


def test_the_command_measures_parity_again(checkpoints: Path, engine_of: EngineOf, tmp_path: Path) -> None:
    engine = engine_of("sd1")
    words = ["engines", "verify", str(engine), "--against"]
    result = CliRunner().invoke(cli, [*words, str(checkpoints / "sd1")])
    assert result.exit_code == 0, result.output
    assert "files match the manifest" in result.stdout
    assert "fp32 unet: " in result.stdout and "fp32 whole_edit: " in result.stdout
    other = CliRunner().invoke(cli, [*words, str(checkpoints / "v")])
    assert isinstance(other.exception, ParityError)
    alone = CliRunner().invoke(cli, ["engines", "verify", str(engine), "--vae", str(tmp_path)])
    assert "--vae belongs to --against" in str(alone.exception)
