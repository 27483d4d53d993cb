"""A Stable Diffusion checkpoint on disk: a diffusers folder, opened strictly.

``from_pretrained`` only warns where weights are missing, and goes on with random ones: a text encoder saved by
transformers 5 and opened by transformers 4 is lost that way. So weights are read here, compared name by name and shape
by shape with what the networks need, and any difference is an error that names it. A pickle is read with torch's
``weights_only``; nothing is downloaded, and only the folders of the networks, the tokenizer and the scheduler are
looked into: a ``safety_checker`` or a stray ``checkpoint-500`` beside them is left alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from roentmod_fast.bundle.manifest import Model, sha256_of
from roentmod_fast.diffusion.schedule import BETA_SCHEDULES, PREDICTIONS, TIMESTEP_SPACINGS

from .errors import CheckpointError

ROLES = ("text_encoder", "unet", "vae")
CLASSES: Mapping[str, str] = {"text_encoder": "CLIPTextModel", "unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}
STEMS: Mapping[str, tuple[str, ...]] = {
    "text_encoder": ("model", "pytorch_model"),
    "unet": ("diffusion_pytorch_model",),
    "vae": ("diffusion_pytorch_model",),
}
CONVERT = "convert it with diffusers' StableDiffusionPipeline.from_single_file(...).save_pretrained(FOLDER)"
LISTED = 5
"""How many weights an error names."""

Spec = tuple[tuple[int, ...], torch.dtype]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose weights are all there: its folders by role, its model facts, the rest as read from disk.

    ``specs`` holds shape and type of each weight by role, under the names the networks know them by.
    """

    folder: Path
    parts: Mapping[str, Path]
    configs: Mapping[str, Mapping[str, Any]]
    specs: Mapping[str, Mapping[str, Spec]]
    schedule: Mapping[str, Any]
    tokenizer: CLIPTokenizer
    model: Model

    def load(self, role: str) -> nn.Module:
        """Return a network in float32, for evaluation; its weights are those on disk and no others."""
        network = _make(role, self.configs[role], self.parts[role])
        found = {}
        for name, value in _read_weights(role, self.parts[role]):
            value = value.float() if value.is_floating_point() else value
            if not bool(torch.isfinite(value).all()):
                raise CheckpointError(
                    f"{self.parts[role]}: weight {name} holds NaN or infinity: the training has failed"
                )
            found[name] = value
        own = {_without_prefix(role, name): name for name in network.state_dict()}
        network.load_state_dict({own[name]: value for name, value in found.items()}, strict=True, assign=True)
        for name, buffer in list(network.named_buffers()):
            if buffer.is_meta:  # made by the network itself and not saved
                parent, _, leaf = name.rpartition(".")
                if leaf != "position_ids":
                    raise CheckpointError(f"{self.parts[role]}: this version does not know its buffer {name}")
                count = torch.arange(buffer.shape[-1]).expand(buffer.shape)
                setattr(network.get_submodule(parent), leaf, nn.Buffer(count, persistent=False))
        return network.eval().requires_grad_(False)

    def scheduler(self) -> DDIMScheduler:
        """Return diffusers' scheduler as diffusers makes it of the checkpoint's own: what ours is compared with.

        What ``model`` says of the schedule has no part in it, so that a misreading would show.
        """
        with quiet():
            return DDIMScheduler.from_config(dict(self.schedule))

    def weight_bytes(self, role: str) -> int:
        """Return the size of a network's weights in float32."""
        return 4 * sum(torch.Size(shape).numel() for shape, _ in self.specs[role].values())

    def precisions(self) -> dict[str, str]:
        """Return how each network is stored, such as ``float16``; several types are joined by ``+``."""
        return {
            role: "+".join(sorted({str(dtype).removeprefix("torch.") for _, dtype in specs.values()}))
            for role, specs in self.specs.items()
        }

    def sha256(self) -> str:
        """Return one hash over configurations and weights: that of the sorted lines ``SHA-256  role/file``."""
        lines = []
        for role in ROLES:
            files = [self.parts[role] / "config.json", *_weight_files(role, self.parts[role])]
            lines += [f"{sha256_of(file)}  {role}/{file.name}" for file in files]
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def open_checkpoint(folder: Path, vae: Path | None = None) -> Checkpoint:
    """Open the diffusers folder ``folder``, with the autoencoder of the folder ``vae`` where one is given.

    Checks all that can be known without computing: layout, facts, and name and shape of every weight. Raises
    :class:`CheckpointError`.
    """
    _check_folder(folder)
    parts = {role: folder / role for role in ROLES}
    if vae is not None:
        parts["vae"] = vae if (vae / "config.json").is_file() else vae / "vae"
        if not (parts["vae"] / "config.json").is_file():
            raise CheckpointError(
                f"{vae}: no autoencoder: expected a folder with config.json and weights, or with vae/"
            )
    elif not parts["vae"].is_dir():
        raise CheckpointError(
            f"{folder}: has no vae/: give an autoencoder's folder with --vae, such as Stable Diffusion's"
        )
    for role in ROLES:
        if not (parts[role] / "config.json").is_file():
            raise CheckpointError(f"{folder}: no Stable Diffusion folder: {role}/config.json is missing")
    configs = {role: _read_json(parts[role] / "config.json") for role in ROLES}
    _check_configs(folder, parts, configs)
    specs = {role: _check_weights(role, parts[role], configs[role]) for role in ROLES}
    tokenizer = _read_tokenizer(folder, configs["text_encoder"])
    schedule = _read_schedule(folder)
    return Checkpoint(folder, parts, configs, specs, schedule, tokenizer, _read_model(folder, configs, schedule))


# --- layout ----------------------------------------------------------------------------------------------------------


def _check_folder(folder: Path) -> None:
    """Refuse what is no diffusers folder of Stable Diffusion 1 or 2, naming what it is where we can tell."""
    if folder.is_file():
        raise CheckpointError(f"{folder}: a single file, expected a diffusers folder: {CONVERT}")
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder: give the checkpoint's folder (nothing is downloaded)")
    if not any(folder.iterdir()):
        raise CheckpointError(f"{folder}: an empty folder: expected a diffusers folder with model_index.json and unet/")
    if (folder / "text_encoder_2").is_dir() or (folder / "transformer").is_dir():
        raise CheckpointError(f"{folder}: not Stable Diffusion 1 or 2 (SDXL, SD 3 or another): its networks differ")
    if not (folder / "unet").is_dir():
        single = sorted(path.name for path in folder.iterdir() if path.suffix in (".ckpt", ".safetensors"))
        if single:
            raise CheckpointError(f"{folder / single[0]}: a single file, expected a diffusers folder: {CONVERT}")
        raise CheckpointError(f"{folder}: no diffusers folder: it has no unet/")
    index = folder / "model_index.json"
    if not index.is_file():
        return
    named = _read_json(index)
    for role in ROLES:
        entry = named.get(role)
        if isinstance(entry, list) and len(entry) == 2 and entry[1] not in (None, CLASSES[role]):
            raise CheckpointError(f"{index}: {role} is a {entry[1]}, expected {CLASSES[role]}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({error}): copy the checkpoint again") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a JSON object: copy the checkpoint again")
    return values


def _check_configs(folder: Path, parts: Mapping[str, Path], configs: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse networks that the runtime's loop does not drive."""
    unet, vae, text = configs["unet"], configs["vae"], configs["text_encoder"]

    def refuse(role: str, reason: str) -> None:
        raise CheckpointError(f"{parts[role] / 'config.json'}: {reason}")

    if unet.get("addition_embed_type") is not None or unet.get("class_embed_type") is not None:
        refuse(
            "unet", "takes more than a prompt and a time step (SDXL or another): only Stable Diffusion 1 and 2 are read"
        )
    channels = vae.get("latent_channels", 4)
    if unet.get("in_channels", 4) != channels or unet.get("out_channels", 4) != channels:
        refuse(
            "unet",
            f"takes {unet.get('in_channels', 4)} and gives {unet.get('out_channels', 4)} channels, the autoencoder has"
            f" {channels}: an inpainting or upscaling network, or the wrong --vae",
        )
    if vae.get("in_channels", 3) != 3 or vae.get("out_channels", 3) != 3:
        refuse("vae", "not an autoencoder of images with 3 channels")
    if any(vae.get(name) is not None for name in ("shift_factor", "latents_mean", "latents_std")):
        refuse("vae", "shifts its latents, which Stable Diffusion 1 and 2 do not")
    width, states = text.get("hidden_size", 512), unet.get("cross_attention_dim", 1280)
    if width != states:
        refuse(
            "text_encoder", f"gives {width} numbers a token, the UNet of {folder} takes {states}: not of one checkpoint"
        )
    if text.get("use_attention_mask"):
        refuse("text_encoder", "wants an attention mask, which Stable Diffusion's pipeline is not compared with here")


def _read_schedule(folder: Path) -> dict[str, Any]:
    """Read the noise schedule, whichever solver it is written for. Refuses one that this version cannot follow."""
    path = folder / "scheduler" / "scheduler_config.json"
    if not path.is_file():
        raise CheckpointError(f"{path}: missing: without the noise schedule no step can be computed")
    schedule = _read_json(path)
    missing = [name for name in ("beta_start", "beta_end", "beta_schedule") if schedule.get(name) is None]
    if missing:
        raise CheckpointError(f"{path}: does not say {', '.join(missing)}")
    if schedule.get("trained_betas") is not None or schedule.get("rescale_betas_zero_snr"):
        raise CheckpointError(f"{path}: has betas of its own (trained or rescaled), which this version does not read")
    for name, known, default in (
        ("beta_schedule", BETA_SCHEDULES, None),
        ("timestep_spacing", TIMESTEP_SPACINGS, "leading"),
        ("prediction_type", PREDICTIONS, "epsilon"),
    ):
        value = schedule.get(name, default)
        if value not in known:
            raise CheckpointError(f"{path}: {name} {value!r}: expected one of {', '.join(known)}")
    return schedule


def _read_model(folder: Path, configs: Mapping[str, Mapping[str, Any]], schedule: Mapping[str, Any]) -> Model:
    """Gather the manifest's facts; the schedule as diffusers' own pipeline would take it over into a DDIM scheduler."""
    unet, vae = configs["unet"], configs["vae"]
    levels = len(vae.get("block_out_channels", (64,)))
    scale = 2 ** (levels - 1)
    latent_size = unet.get("sample_size", 64)
    if not isinstance(latent_size, int):
        raise CheckpointError(f"{folder / 'unet' / 'config.json'}: sample_size {latent_size} is not square")
    version = str(unet.get("_diffusers_version", "1.0")).split(".")
    if latent_size < 64 and version[0] == "0" and int(version[1]) < 9:
        latent_size = 64  # written wrongly before diffusers 0.9; the pipeline corrects it the same way
    return Model(
        image_size=latent_size * scale,
        latent_channels=vae.get("latent_channels", 4),
        vae_scale=scale,
        latent_scaling=float(vae.get("scaling_factor") or 0.18215),  # older than the entry itself: Stable Diffusion's
        prediction=schedule.get("prediction_type", "epsilon"),
        train_timesteps=schedule.get("num_train_timesteps", 1000),
        beta_start=float(schedule["beta_start"]),
        beta_end=float(schedule["beta_end"]),
        beta_schedule=schedule["beta_schedule"],
        set_alpha_to_one=bool(schedule.get("set_alpha_to_one", True)),
        steps_offset=1,  # StableDiffusionImg2ImgPipeline sets this, whatever the file says
        timestep_spacing=schedule.get("timestep_spacing", "leading"),
        max_tokens=configs["text_encoder"].get("max_position_embeddings", 77),
    )


def _read_tokenizer(folder: Path, config: Mapping[str, Any]) -> CLIPTokenizer:
    path = folder / "tokenizer"
    if not any((path / name).is_file() for name in ("tokenizer.json", "merges.txt")):
        raise CheckpointError(f"{path}: no tokenizer: expected vocab.json and merges.txt, or tokenizer.json")
    try:
        with quiet():
            tokenizer = CLIPTokenizer.from_pretrained(path, local_files_only=True)
    except Exception as error:  # whatever transformers raises, the file is at fault
        raise CheckpointError(f"{path}: cannot be read as CLIP's tokenizer ({_first_line(error)})") from error
    size = config.get("vocab_size", 49408)
    if len(tokenizer) > size or tokenizer.pad_token_id is None:
        raise CheckpointError(
            f"{path}: has {len(tokenizer)} words, the text encoder knows {size}: not of one checkpoint"
        )
    return tokenizer


# --- weights ---------------------------------------------------------------------------------------------------------


def _weight_files(role: str, folder: Path) -> list[Path]:
    """Return the files that hold a network's weights: full precision before half, safetensors before pickle."""
    for variant in ("", ".fp16"):
        for ending in (".safetensors", ".bin"):
            for stem in STEMS[role]:
                file = folder / f"{stem}{variant}{ending}"
                if file.is_file():
                    return [file]
                for index in (folder / f"{file.name}.index.json", folder / f"{stem}{ending}.index{variant}.json"):
                    if index.is_file():
                        return _shards(index)
    raise CheckpointError(f"{folder}: no weights: expected {STEMS[role][0]}.safetensors or {STEMS[role][-1]}.bin")


def _shards(index: Path) -> list[Path]:
    names = sorted({str(name) for name in _read_json(index).get("weight_map", {}).values()})
    files = [index.parent / name for name in names]
    for file in files:
        if not file.resolve().is_relative_to(index.parent.resolve()) or not file.is_file():
            raise CheckpointError(f"{file}: missing, though {index.name} names it: copy the checkpoint again")
    return files


def _read_weights(role: str, folder: Path, *, values: bool = True) -> Iterator[tuple[str, Tensor]]:
    """Yield a network's weights under the names it knows them by; without ``values`` they are on the meta device."""
    for file in _weight_files(role, folder):
        if file.suffix == ".safetensors":
            try:
                with safe_open(file, framework="pt") as opened:
                    for name in opened.keys():  # noqa: SIM118 (it is no mapping)
                        kept = _rename(role, name)
                        if kept is None:
                            continue
                        if values:
                            yield kept, opened.get_tensor(name)
                        else:
                            part = opened.get_slice(name)
                            yield kept, torch.empty(part.get_shape(), dtype=_DTYPES[part.get_dtype()], device="meta")
            except (SafetensorError, KeyError, OSError) as error:
                raise CheckpointError(f"{file}: not a whole safetensors file ({error}): copy it again") from error
        else:
            for name, value in _unpickle(file, values=values).items():
                kept = _rename(role, name)
                if kept is not None:
                    yield kept, value


_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "BOOL": torch.bool,
}


def _unpickle(file: Path, *, values: bool) -> dict[str, Tensor]:
    """Read a pickle of weights without running any code in it."""
    try:
        state = torch.load(file, map_location="cpu" if values else "meta", weights_only=True, mmap=values or None)
    except Exception as first:
        if "weights_only" in str(first) or "Unsupported" in str(first):
            raise CheckpointError(f"{file}: holds more than weights and could run code: refused") from None
        try:  # written before torch 1.6: no mapping into memory
            state = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            if "weights_only" in str(error) or "Unsupported" in str(error):
                raise CheckpointError(f"{file}: holds more than weights and could run code: refused") from None
            raise CheckpointError(f"{file}: cannot be read ({_first_line(error)}): copy it again") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{file}: expected weights by name: copy it again")
    return state


def _rename(role: str, name: str) -> str | None:
    """Return the name a weight has today, ``None`` for what is no weight."""
    if name.endswith("position_ids"):  # a count from 0 to 76, saved until transformers 4.31
        return None
    name = _without_prefix(role, name)
    if role == "vae" and ".attentions." in name:  # before diffusers 0.15
        head, _, leaf = name.rpartition(".")
        stem, _, kind = head.rpartition(".")
        today = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}.get(kind)
        return name if today is None else f"{stem}.{today}.{leaf}"
    return name


def _without_prefix(role: str, name: str) -> str:
    """Take off the prefix that transformers 4 gives and transformers 5 does not."""
    return name.removeprefix("text_model.") if role == "text_encoder" else name


def _make(role: str, config: Mapping[str, Any], folder: Path) -> nn.Module:
    """Build a network without memory for its weights. Raises :class:`CheckpointError` where its config is not known."""
    try:
        with quiet(), torch.device("meta"):
            if role == "text_encoder":
                return CLIPTextModel(CLIPTextConfig(**{**config, "dtype": "float32"}))
            kind = UNet2DConditionModel if role == "unet" else AutoencoderKL
            network, unused = kind.from_config(dict(config), return_unused_kwargs=True)
    except Exception as error:  # whatever the library raises, the file is at fault
        raise CheckpointError(f"{folder / 'config.json'}: builds no {CLASSES[role]} ({_first_line(error)})") from error
    unknown = sorted(name for name, value in unused.items() if not name.startswith("_") and value not in (None, False))
    if unknown:
        said = ", ".join(unknown)
        raise CheckpointError(f"{folder / 'config.json'}: diffusers {diffusers.__version__} does not know {said}")
    assert isinstance(network, nn.Module)
    return network


def _check_weights(role: str, folder: Path, config: Mapping[str, Any]) -> dict[str, Spec]:
    """Compare the weights on disk with those that the network needs, by name and shape."""
    found = {name: (tuple(value.shape), value.dtype) for name, value in _read_weights(role, folder, values=False)}
    network = _make(role, config, folder)
    wanted = {_without_prefix(role, name): tuple(value.shape) for name, value in network.state_dict().items()}
    file = _weight_files(role, folder)[0]
    shapes = [
        f"{name} {list(found[name][0])} instead of {list(wanted[name])}"
        for name in sorted(wanted.keys() & found.keys())
        if found[name][0] != wanted[name]
    ]
    problems = (
        ("missing", sorted(wanted.keys() - found.keys())),
        ("unexpected", sorted(found.keys() - wanted.keys())),
        ("of the wrong shape", shapes),
    )
    said = [f"{len(names)} {what} ({_some(names)})" for what, names in problems if names]
    if said:
        raise CheckpointError(f"{file}: weights do not fit {folder / 'config.json'}: {'; '.join(said)}")
    return found


def _some(names: list[str]) -> str:
    return ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


# --- third parties ---------------------------------------------------------------------------------------------------


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the chatter of torch, diffusers and transformers off the user's terminal: what matters is checked here."""
    levels: list[tuple[Callable[[int], None], int]] = [
        (diffusers.logging.set_verbosity, diffusers.logging.get_verbosity()),
        (transformers.logging.set_verbosity, transformers.logging.get_verbosity()),
        (logging.getLogger("torch.onnx").setLevel, logging.getLogger("torch.onnx").level),
    ]
    try:
        for set_level, _ in levels:
            set_level(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for set_level, level in levels:
            set_level(level)
