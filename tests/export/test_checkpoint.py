"""Checkpoints as they lie about in the field: what is read, under which names, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from roentmod_fast.engine.tokenizer import Tokenizer
from roentmod_fast_export.bundle_writer import write_tokenizer
from roentmod_fast_export.checkpoint import open_checkpoint
from roentmod_fast_export.errors import CheckpointError

VAE = "diffusion_pytorch_model.safetensors"
Weights = dict[str, torch.Tensor]


def rewrite(path: Path, change: Callable[[Weights], Weights]) -> None:
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def change_json(path: Path, **values: Any) -> None:
    """Set entries of a JSON file; ``None`` takes one out."""
    read = {**json.loads(path.read_text(encoding="utf-8")), **values}
    path.write_text(json.dumps({name: value for name, value in read.items() if value is not None}), encoding="utf-8")


def assert_same_weights(one: Path, other: Path, role: str) -> None:
    first, second = open_checkpoint(one).load(role).state_dict(), open_checkpoint(other).load(role).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_text_encoder_of_transformers_4(checkpoints: Path, changed: Path) -> None:
    """It has a prefix that version 5 has not, and once saved a count as if it were a weight."""

    def age(weights: Weights) -> Weights:
        old = {f"text_model.{name}": value for name, value in weights.items()}
        return {**old, "text_model.embeddings.position_ids": torch.arange(77)[None]}

    rewrite(changed / "text_encoder" / "model.safetensors", age)
    assert_same_weights(checkpoints / "sd1", changed, "text_encoder")


def test_an_autoencoder_of_diffusers_before_0_15(checkpoints: Path, changed: Path) -> None:
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def age(weights: Weights) -> Weights:
        old = {}
        for name, value in weights.items():
            for today, then in names.items():
                if ".attentions." in name:
                    name = name.replace(f".{today}.", f".{then}.")
            old[name] = value
        return old

    rewrite(changed / "vae" / VAE, age)
    assert any(".proj_attn." in name for name in load_file(changed / "vae" / VAE))
    assert_same_weights(checkpoints / "sd1", changed, "vae")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_of_weights(checkpoints: Path, changed: Path, legacy: bool) -> None:
    path = changed / "vae" / VAE
    torch.save(
        load_file(path), changed / "vae" / "diffusion_pytorch_model.bin", _use_new_zipfile_serialization=not legacy
    )
    path.unlink()
    assert_same_weights(checkpoints / "sd1", changed, "vae")


def test_weights_in_shards(checkpoints: Path, changed: Path) -> None:
    folder = changed / "unet"
    weights = load_file(folder / VAE)
    (folder / VAE).unlink()
    names = sorted(weights)
    shards = {"a-00001-of-00002.safetensors": names[::2], "a-00002-of-00002.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: weights[name] for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (folder / f"{VAE}.index.json").write_text(json.dumps(index))
    assert_same_weights(checkpoints / "sd1", changed, "unet")
    (folder / "a-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"a-00002-of-00002\.safetensors: missing"):
        open_checkpoint(changed)
    index["weight_map"]["conv_in.weight"] = "../../elsewhere.safetensors"
    (folder / f"{VAE}.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="elsewhere"):
        open_checkpoint(changed)


def test_half_precision_only(changed: Path) -> None:
    path = changed / "unet" / VAE
    weights = {name: value.half() for name, value in load_file(path).items()}
    path.unlink()
    save_file(weights, changed / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    opened = open_checkpoint(changed)
    assert opened.precisions()["unet"] == "float16"
    assert {value.dtype for value in opened.load("unet").state_dict().values()} == {torch.float32}


def test_full_precision_is_preferred(checkpoints: Path, changed: Path) -> None:
    weights = {name: value.half() for name, value in load_file(changed / "unet" / VAE).items()}
    save_file(weights, changed / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    assert_same_weights(checkpoints / "sd1", changed, "unet")


def test_a_folder_without_model_index(changed: Path) -> None:
    (changed / "model_index.json").unlink()
    assert open_checkpoint(changed).model.image_size == 64


def test_an_autoencoder_beside_or_inside_the_folder_given(checkpoints: Path, changed: Path) -> None:
    shutil.rmtree(changed / "vae")
    for vae in (checkpoints / "sd1", checkpoints / "sd1" / "vae"):
        assert open_checkpoint(changed, vae).parts["vae"] == checkpoints / "sd1" / "vae"
    with pytest.raises(CheckpointError, match="no autoencoder"):
        open_checkpoint(changed, checkpoints)


# --- the noise schedule ----------------------------------------------------------------------------------------------


def test_a_schedule_is_read_as_the_pipeline_corrects_it(changed: Path) -> None:
    """The oldest files say 0 for the offset and nothing of clipping; the pipeline sets 1 and no clipping."""
    change_json(changed / "scheduler" / "scheduler_config.json", steps_offset=0, clip_sample=True, prediction_type=None)
    model = open_checkpoint(changed).model
    assert model.steps_offset == 1
    assert model.prediction == "epsilon"


def test_another_solver_gives_its_schedule(changed: Path) -> None:
    change_json(
        changed / "scheduler" / "scheduler_config.json",
        _class_name="EulerDiscreteScheduler",
        timestep_spacing="trailing",
        skip_prk_steps=None,
        set_alpha_to_one=None,
    )
    opened = open_checkpoint(changed)
    assert (opened.model.timestep_spacing, opened.model.beta_end) == ("trailing", 0.012)
    # Where the file is silent, diffusers' DDIM scheduler says yes.
    assert opened.model.set_alpha_to_one
    assert opened.model.set_alpha_to_one == opened.scheduler().config.set_alpha_to_one


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"trained_betas": [0.1, 0.2]}, "betas of its own"),
        ({"rescale_betas_zero_snr": True}, "betas of its own"),
        ({"prediction_type": "sample"}, "prediction_type 'sample'"),
        ({"beta_schedule": "sigmoid"}, "beta_schedule 'sigmoid'"),
        ({"beta_end": None}, "beta_end"),
    ],
)
def test_a_schedule_we_cannot_follow(changed: Path, values: dict[str, Any], says: str) -> None:
    change_json(changed / "scheduler" / "scheduler_config.json", **values)
    with pytest.raises(CheckpointError, match=says):
        open_checkpoint(changed)


def test_no_schedule(changed: Path) -> None:
    shutil.rmtree(changed / "scheduler")
    with pytest.raises(CheckpointError, match=r"scheduler_config\.json: missing"):
        open_checkpoint(changed)


def test_the_latent_size_that_old_folders_have_wrong(changed: Path) -> None:
    change_json(changed / "unet" / "config.json", _diffusers_version="0.6.0", sample_size=32)
    assert open_checkpoint(changed).model.image_size == 512


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "values", "says"),
    [
        ("unet", {"cross_attention_dim": 48}, "not of one checkpoint"),
        ("unet", {"in_channels": 9}, "inpainting"),
        ("unet", {"addition_embed_type": "text_time"}, "SDXL"),
        ("unet", {"down_block_types": ["NoSuchBlock", "DownBlock2D"]}, "NoSuchBlock"),
        ("unet", {"of_a_later_version": 7}, "does not know of_a_later_version"),
        ("unet", {"sample_size": [8, 16]}, "not square"),
        ("vae", {"latent_channels": 16}, "channels"),
        ("vae", {"shift_factor": 0.1}, "shifts"),
        ("text_encoder", {"use_attention_mask": True}, "attention mask"),
        ("text_encoder", {"vocab_size": 10}, "wrong shape"),
    ],
)
def test_networks_of_another_kind(changed: Path, role: str, values: dict[str, Any], says: str) -> None:
    change_json(changed / role / "config.json", **values)
    with pytest.raises(CheckpointError, match=says) as error:
        open_checkpoint(changed)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / "unet" / "config.json").write_text("{"), "cannot be read as JSON"),
        (lambda folder: (folder / "unet" / "config.json").unlink(), "unet/config.json is missing"),
        (lambda folder: (folder / "unet" / VAE).unlink(), "no weights"),
        (lambda folder: (folder / "unet" / VAE).write_bytes(b""), "not a whole safetensors file"),
        (lambda folder: shutil.rmtree(folder / "tokenizer"), "no tokenizer"),
        (lambda folder: (folder / "tokenizer" / "merges.txt").unlink(), "tokenizer"),
        (lambda folder: shutil.rmtree(folder / "unet"), "has no unet/"),
        (shutil.rmtree, "no such folder"),
    ],
)
def test_a_damaged_folder(changed: Path, damage: Callable[[Path], object], says: str) -> None:
    damage(changed)
    with pytest.raises(CheckpointError, match=says) as error:
        open_checkpoint(changed)
    assert "\n" not in str(error.value)


def test_a_folder_with_a_single_file(tmp_path: Path) -> None:
    (tmp_path / "roentgen.ckpt").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=r"roentgen\.ckpt: a single file"):
        open_checkpoint(tmp_path)


def test_a_damaged_pickle(changed: Path) -> None:
    (changed / "unet" / VAE).unlink()
    (changed / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"PK\x03\x04 not a pickle")
    with pytest.raises(CheckpointError, match=r"\.bin: cannot be read") as error:
        open_checkpoint(changed)
    assert "\n" not in str(error.value)


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["sd1", "sd2"])
def test_the_bundle_tokenises_as_the_checkpoint(checkpoints: Path, tmp_path: Path, layout: str) -> None:
    opened = open_checkpoint(checkpoints / layout)
    write_tokenizer(opened, tmp_path / "tokenizer.json")
    ours = Tokenizer.load(tmp_path / "tokenizer.json", opened.model.max_tokens)
    for text in ("", "edema", "Right pleural effusion, moderate-sized!", "œdème 25%", "left upper lobe mass " * 40):
        theirs = opened.tokenizer(text, padding="max_length", truncation=True, max_length=77)["input_ids"]
        assert ours.encode(text)[0].tolist() == theirs
    assert ours.pad_id == opened.tokenizer.pad_token_id
    assert ours.encode("")[0, -1] == (0 if layout == "sd2" else opened.tokenizer.eos_token_id)
