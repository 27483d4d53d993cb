"""The manifest of an engine bundle: what ``manifest.json`` says, as frozen dataclasses.

The manifest is the only contract between the export stage and the runtime. It keeps facts of the model apart from
what its makers recommend (``edit``) and from how well it was exported (``parity``). Names, types and ranks of the
networks' inputs and outputs are part of the format.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np

from roentmod_fast.diffusion.schedule import BETA_SCHEDULES, PREDICTIONS, TIMESTEP_SPACINGS
from roentmod_fast.errors import EngineError

FORMAT = 1
"""The manifest format that this version reads and writes."""

FILE_NAME = "manifest.json"
TOKENIZER_NAME = "tokenizer.json"
NETWORKS = ("text_encoder", "unet", "vae_encoder", "vae_decoder")
STORED_PRECISIONS = ("fp32", "fp16", "int8")
"""Those in which a bundle holds networks."""

BFLOAT16: Mapping[str, str] = {"bf16": "fp32", "int8-bf16": "int8"}
"""What OpenVINO computes in bfloat16, by the networks that a bundle holds: all of the float32 ones, or of the int8 ones
what is not in integers. Nothing more is stored, and nothing calibrated."""

PRECISIONS_ON_GPU = ("fp32", "fp16")
"""What a GPU runs; int8 networks are made for CPUs."""

PRECISIONS = (*STORED_PRECISIONS, *BFLOAT16)
"""Those that can be asked for."""

GRAPHS = ("fused", "cuda")
"""Fields of the manifest that map a network's file to another graph over its weights."""


@dataclass(frozen=True)
class Model:
    """Model facts; not user-configurable.

    ``image_size`` pixels a side; ``latent_channels``; ``vae_scale`` pixels to one latent; ``latent_scaling`` the
    factor from the VAE's latents to the UNet's; ``prediction`` what the UNet predicts. The rest is the noise
    schedule under its diffusers names, and ``max_tokens`` the length of a tokenised prompt.
    """

    image_size: int
    latent_channels: int
    vae_scale: int
    latent_scaling: float
    prediction: str
    train_timesteps: int
    beta_start: float
    beta_end: float
    beta_schedule: str
    set_alpha_to_one: bool
    steps_offset: int
    timestep_spacing: str
    max_tokens: int

    @property
    def latent_size(self) -> int:
        """Latents a side."""
        return self.image_size // self.vae_scale

    @property
    def schedule(self) -> dict[str, Any]:
        """The facts of the noise schedule, by their diffusers names."""
        names = ("train_timesteps", "beta_start", "beta_end", "beta_schedule", "set_alpha_to_one", "steps_offset")
        return {name: getattr(self, name) for name in (*names, "timestep_spacing", "prediction")}


# --- inputs and outputs of the four networks --------------------------------------------------------------------------


@dataclass(frozen=True)
class Port:
    """An input or output: ONNX Runtime's type name and the number of dimensions."""

    type: str
    rank: int


_FLOAT4, _FLOAT3 = Port("tensor(float)", 4), Port("tensor(float)", 3)
_INT2, _INT1 = Port("tensor(int64)", 2), Port("tensor(int64)", 1)

TYPES = {"tensor(float)": np.dtype(np.float32), "tensor(int64)": np.dtype(np.int64)}
"""numpy's type for each type that a port may have."""

INPUTS: Mapping[str, Mapping[str, Port]] = {
    "text_encoder": {"tokens": _INT2},
    "unet": {"latents": _FLOAT4, "timestep": _INT1, "text_states": _FLOAT3},
    "vae_encoder": {"image": _FLOAT4},
    "vae_decoder": {"latents": _FLOAT4},
}
"""Inputs of each network: tokens (batch, max_tokens); latents (batch, channels, s, s); timestep (batch,); text_states
(batch, max_tokens, width); image (batch, 3, S, S) in [-1, 1]."""

OUTPUTS: Mapping[str, Mapping[str, Port]] = {
    "text_encoder": {"text_states": _FLOAT3},
    "unet": {"prediction": _FLOAT4},
    "vae_encoder": {"mean": _FLOAT4, "log_variance": _FLOAT4},
    "vae_decoder": {"image": _FLOAT4},
}
"""Outputs of each network; ``mean`` and ``log_variance`` are of the unscaled latents, ``image`` is in about [-1, 1]."""


def item_shapes(role: str, model: Model, width: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of one item of each input of ``role``; ``width`` is that of the text states."""
    shapes = {
        "tokens": (model.max_tokens,),
        "latents": (model.latent_channels, model.latent_size, model.latent_size),
        "timestep": (),
        "text_states": (model.max_tokens, width),
        "image": (3, model.image_size, model.image_size),
    }
    return {name: shapes[name] for name in INPUTS[role]}


# --- the file ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EditDefaults:
    """What the makers recommend: ``strength`` in [0, 1], ``guidance`` scale, ``steps`` of the full schedule."""

    strength: float = 0.4
    guidance: float = 4.0
    steps: int = 50


@dataclass(frozen=True)
class FileFact:
    """Size in bytes and SHA-256 (hex) of one file of the bundle."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """All of ``manifest.json``.

    ``networks`` maps a precision to the file of each of the four networks; ``files`` maps every file, external data
    included, to its size and hash; ``notice``, where not empty, must be shown to the user at each use. ``fused`` and
    ``cuda`` map a network's file to another graph over the same weights, in operators that only ONNX Runtime's own
    providers know, or of these only CUDA's. ``parity`` and ``made`` are stored as they stand.
    """

    name: str
    model: Model
    networks: Mapping[str, Mapping[str, str]]
    files: Mapping[str, FileFact]
    edit: EditDefaults = field(default_factory=EditDefaults)
    notice: str = ""
    parity: Mapping[str, Any] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)
    tensorrt: tuple[Mapping[str, Any], ...] = ()
    fused: Mapping[str, str] = field(default_factory=dict)
    cuda: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def graphs(self) -> dict[str, Mapping[str, str]]:
        """The fields of :data:`GRAPHS` by name."""
        return {kind: getattr(self, kind) for kind in GRAPHS}


Record = TypeVar("Record", Model, EditDefaults, FileFact)


def _record(kind: type[Record], values: object, where: str) -> Record:
    """Build ``kind`` from a JSON object, naming what is missing, unknown or of the wrong type."""
    if not isinstance(values, dict):
        raise EngineError(f"{where}: expected an object, found {type(values).__name__}")
    wanted = {item.name: str(item.type) for item in fields(kind)}
    missing, unknown = sorted(wanted.keys() - values.keys()), sorted(values.keys() - wanted.keys())
    if missing or unknown:
        problems = [
            f"{label} {', '.join(names)}" for label, names in (("missing", missing), ("unknown", unknown)) if names
        ]
        raise EngineError(f"{where}: {'; '.join(problems)}")
    accepts: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}
    for name, expected in wanted.items():
        value = values[name]
        if not isinstance(value, accepts[expected]) or (expected != "bool" and isinstance(value, bool)):
            raise EngineError(f"{where}.{name}: expected {expected}, found {value!r}")
    return kind(**values)


def parse_manifest(text: str, where: str) -> Manifest:
    """Read the text of a manifest; ``where`` names it in errors. Raises :class:`EngineError`."""
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as error:
        raise EngineError(f"{where}: not JSON ({error}): export the engine again") from None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        found = raw.get("format") if isinstance(raw, dict) else type(raw).__name__
        raise EngineError(
            f"{where}: format {found!r} is not the {FORMAT} that this version reads: export the engine again"
        )
    absent = sorted({"name", "model", "networks", "files"} - raw.keys())
    if absent:
        raise EngineError(f"{where}: missing {', '.join(absent)}: export the engine again")
    networks, files = raw["networks"], raw["files"]
    if not isinstance(networks, dict) or not networks or not isinstance(files, dict):
        raise EngineError(f"{where}: networks and files must be objects, networks not empty")
    facts = {name: _record(FileFact, fact, f"{where}: files.{name}") for name, fact in files.items()}
    for precision, parts in networks.items():
        if precision not in STORED_PRECISIONS:
            raise EngineError(
                f"{where}: unknown precision {precision!r}: expected some of {', '.join(STORED_PRECISIONS)}"
            )
        if not isinstance(parts, dict) or sorted(parts) != sorted(NETWORKS):
            raise EngineError(f"{where}: networks.{precision} must name a file for each of {', '.join(NETWORKS)}")
        for network, name in parts.items():
            if name not in facts:
                raise EngineError(f"{where}: networks.{precision}.{network} is {name!r}, which files does not list")
    for name in facts:
        if not _stays_inside(name):
            raise EngineError(f"{where}: files.{name} leaves the bundle's folder: refused")
    if TOKENIZER_NAME not in facts:
        raise EngineError(f"{where}: files does not list {TOKENIZER_NAME}")
    for kind in GRAPHS:
        graphs = raw.get(kind, {})
        if not isinstance(graphs, dict) or not all(name in facts for pair in graphs.items() for name in pair):
            raise EngineError(
                f"{where}: {kind} must map files that are listed to files that are listed, found {graphs!r}"
            )
    for index, record in enumerate(raw.get("tensorrt", ())):
        _check_engine(record, facts, f"{where}: tensorrt[{index}]")
    return Manifest(
        name=str(raw["name"]),
        model=_model(raw["model"], where),
        networks=networks,
        files=facts,
        edit=_record(EditDefaults, raw["edit"], f"{where}: edit") if "edit" in raw else EditDefaults(),
        notice=str(raw.get("notice", "")),
        parity=raw.get("parity", {}),
        made=raw.get("made", {}),
        tensorrt=tuple(raw.get("tensorrt", ())),
        **{kind: raw.get(kind, {}) for kind in GRAPHS},
    )


def _model(values: object, where: str) -> Model:
    model = _record(Model, values, f"{where}: model")
    choices = {
        "prediction": PREDICTIONS,
        "beta_schedule": BETA_SCHEDULES,
        "timestep_spacing": TIMESTEP_SPACINGS,
    }
    for name, accepted in choices.items():
        if getattr(model, name) not in accepted:
            raise EngineError(
                f"{where}: model.{name} is {getattr(model, name)!r}: expected one of {', '.join(accepted)}"
            )
    counts = ("image_size", "latent_channels", "vae_scale", "train_timesteps", "max_tokens")
    if min(getattr(model, name) for name in counts) < 1 or model.image_size % model.vae_scale:
        raise EngineError(f"{where}: model has a count below 1, or image_size is no multiple of vae_scale")
    return model


def _check_engine(record: object, facts: Mapping[str, FileFact], where: str) -> None:
    """Check the record of an engine that was built ahead of time. Raises :class:`EngineError`."""
    if not isinstance(record, dict):
        raise EngineError(f"{where}: expected an object, found {type(record).__name__}")
    for name in ("network", "architecture", "file", "engine", "package", "version"):
        if not isinstance(record.get(name), str):
            raise EngineError(f"{where}.{name}: expected str, found {record.get(name)!r}")
    if record["network"] not in NETWORKS:
        raise EngineError(f"{where}.network is {record['network']!r}: expected one of {', '.join(NETWORKS)}")
    batch = record.get("batch")
    sizes = batch if isinstance(batch, list) and all(type(size) is int and size > 0 for size in batch) else []
    if len(sizes) < 2 or sizes != sorted(sizes):
        raise EngineError(f"{where}.batch: expected [smallest, best, largest], found {batch!r}")
    source = record.get("source")
    if not isinstance(source, dict) or not source:
        raise EngineError(f"{where}.source: expected an object that is not empty, found {source!r}")
    for name in (record["file"], record["engine"], *source):
        if name not in facts:
            raise EngineError(f"{where} names {name!r}, which files does not list")


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and "\\" not in name and ":" not in name


def render_manifest(manifest: Manifest) -> str:
    """Return the text of ``manifest.json``, which :func:`parse_manifest` reads back to an equal manifest."""
    values = asdict(manifest)
    for optional in ("tensorrt", *GRAPHS):
        if not values[optional]:
            del values[optional]
    first = ("format", "name", "notice")
    ordered = {key: values[key] for key in first} | {key: value for key, value in values.items() if key not in first}
    return json.dumps(ordered, indent=2, ensure_ascii=False) + "\n"


def stored_as(precision: str) -> str:
    """Return the precision of the networks in the bundle from which ``precision`` is computed: mostly itself."""
    return BFLOAT16.get(precision, precision)


def with_weights(network: str, files: Iterable[str]) -> tuple[str, ...]:
    """Return those of ``files`` that the ONNX file ``network`` consists of: itself, and its weights where beside it."""
    return tuple(name for name in files if name == network or name.startswith(f"{network}."))


def bytes_of(network: str, files: Mapping[str, FileFact]) -> int:
    """Return the size of the ONNX file ``network``, with its weights where they lie beside it."""
    return sum(files[name].bytes for name in with_weights(network, files))


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fact_of(path: Path) -> FileFact:
    """Return size and hash of a file."""
    return FileFact(path.stat().st_size, sha256_of(path))
