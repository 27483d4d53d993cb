"""A checkpoint becomes a bundle: open, export network by network, validate, build engines, write."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from roentmod_fast.bundle.manifest import (
    FILE_NAME,
    GRAPHS,
    NETWORKS,
    STORED_PRECISIONS,
    TOKENIZER_NAME,
    FileFact,
    Manifest,
    fact_of,
    render_manifest,
    with_weights,
)
from roentmod_fast.errors import SettingError

from . import int8
from .apart import apart
from .bundle_writer import copy_licence, made_facts, model_card, staging, write_tokenizer
from .checkpoint import ROLES, Checkpoint, open_checkpoint
from .cuda_graph import cuda_file, fuse_for_cuda
from .errors import ExportError, ParityError
from .files import network_file
from .fused import fuse_attention, fused_file
from .onnx_export import FUSED, WRAPPERS, export_network, free_bytes_needed
from .parity import WHOLE_EDIT, Parity, failures, fits_half, validate_edits, validate_networks
from .tensorrt import build_engines, find_compiler

NOTICE = (
    "cardiomegaly appears unasked in 35 to 50 % of RoentMod's edits, in 92 % of those towards edema "
    "(Cooke et al., 2025): check what an edit changed"
)

Files = dict[str, dict[str, str]]
logger = logging.getLogger("roentmod_fast.export")


def export_checkpoint(
    checkpoint: Path,
    out: Path,
    *,
    precisions: Sequence[str] = ("fp32",),
    vae: Path | None = None,
    name: str | None = None,
    notice: str = NOTICE,
    store_halves: bool = False,
    overwrite: bool = False,
    keep_anyway: bool = False,
    tensorrt: Sequence[str] = (),
    calibrate: Path | None = None,
) -> Path:
    """Export a diffusers folder as the bundle ``out``; return ``out``.

    ``precisions``: some of :data:`STORED_PRECISIONS`. ``vae``: a folder whose autoencoder is taken instead. ``name`` of
    the engine, by default that of ``out``; ``notice`` is logged at each use. ``store_halves`` stores float32
    weights that fp16 holds exactly in two bytes. ``tensorrt``: architectures, such as ``sm89``, to build
    engines for from the fp16 networks. ``calibrate``: a folder of radiographs on whose edits int8 is
    calibrated, by default phantoms. Each step is logged.

    Raises :class:`CheckpointError` for what cannot be read, :class:`OutputError` for what cannot be written, and
    :class:`ParityError`, with nothing left behind, for an engine that misses its limits, unless ``keep_anyway``.
    """
    precisions, tensorrt = _in_order(precisions), tuple(dict.fromkeys(tensorrt))
    if tensorrt and "fp16" not in precisions:
        raise SettingError("--tensorrt builds from fp16: add fp16 to --precision, such as fp32,fp16")
    if "int8" in precisions:
        int8.require_int8_extra()
        if "fp32" not in precisions:
            raise SettingError("int8 is made from float32: add fp32 to --precision, such as fp32,int8")
    elif calibrate is not None:
        raise SettingError("--calibrate belongs to int8: add it to --precision, such as fp32,int8")
    compiler = find_compiler(tensorrt) if tensorrt else None
    opened = open_checkpoint(checkpoint, vae)
    weights = sum(opened.weight_bytes(role) for role in ROLES)
    with staging(out, overwrite=overwrite, needed=free_bytes_needed(weights, precisions, tensorrt)) as folder:
        exported = tuple(precision for precision in precisions if precision != "int8")
        networks = _export_networks(opened, folder, exported, store_halves)
        graphs = _fuse(folder, networks)
        parity = validate_networks(opened, folder, networks, graphs)
        if "fp16" in networks:
            _fall_back_to_fp32(opened, folder, networks, parity)
        write_tokenizer(opened, folder / TOKENIZER_NAME)
        manifest = Manifest(
            name=name or out.name,
            model=opened.model,
            networks=networks,
            files=_facts(folder),
            notice=notice,
            made=made_facts(opened),
            **graphs,
        )
        _write(folder, manifest, parity)
        if "int8" in precisions:
            networks["int8"] = int8.quantize_engine(folder, networks["fp32"], calibrate)
            parts = {network: networks["int8"][network] for network in int8.QUANTIZED}
            parity["int8"] = validate_networks(opened, folder, {"int8": parts}, {})["int8"]
            manifest = replace(manifest, networks=networks, files=_facts(folder, manifest.files))
            _write(folder, manifest, parity)
        for precision, edit in validate_edits(opened, folder, precisions).items():
            parity[precision][WHOLE_EDIT] = edit
        missed = failures(parity)
        if missed and not keep_anyway:
            raise ParityError(f"{out}: the engine does not compute what the checkpoint computes: {'; '.join(missed)}")
        if missed:
            manifest = replace(manifest, made={**manifest.made, "kept_although": missed})
        if compiler is not None:
            records = build_engines(folder, networks["fp16"], manifest.files, tensorrt, compiler)
            manifest = replace(manifest, tensorrt=tuple(records), files=_facts(folder, manifest.files))
        _write(folder, manifest, parity)
        copy_licence(opened, folder)
        text = model_card(manifest.name, notice, parity, manifest.made)
        (folder / "CARD.md").write_text(text, encoding="utf-8")
    return out


def _in_order(precisions: Sequence[str]) -> tuple[str, ...]:
    unknown = sorted(set(precisions) - set(STORED_PRECISIONS))
    if unknown or not precisions:
        raise SettingError(f"precision {', '.join(unknown) or 'none'}: expected some of {', '.join(STORED_PRECISIONS)}")
    return tuple(precision for precision in STORED_PRECISIONS if precision in precisions)


def _export_networks(opened: Checkpoint, folder: Path, precisions: Sequence[str], store_halves: bool) -> Files:
    """Export each network; one part of the checkpoint is in memory at a time. Returns the files as in the manifest."""
    networks: Files = {precision: {} for precision in precisions}
    for role in ROLES:
        mine = [network for network in NETWORKS if WRAPPERS[network][0] == role]
        for precision in precisions:
            logger.info(f"exporting {' and '.join(mine)}, {precision}")
            apart(opened.weight_bytes(role), _export_role, opened, role, mine, precision, folder, store_halves)
            networks[precision] |= {network: network_file(network, precision) for network in mine}
    return {precision: {network: files[network] for network in NETWORKS} for precision, files in networks.items()}


def _export_role(
    opened: Checkpoint, role: str, networks: Sequence[str], precision: str, folder: Path, store_halves: bool
) -> None:
    """Export those ``networks`` that are made of one part of the checkpoint."""
    module = opened.load(role)
    if precision == "fp16":
        module = module.half()
    for network in networks:
        path = folder / network_file(network, precision)
        export_network(network, module, opened.model, _width(opened), path, store_halves=store_halves)


def _fuse(folder: Path, networks: Files) -> Files:
    """Write the other graphs of the networks that get some; return them by kind and the file of the first."""
    graphs: Files = {kind: {} for kind in GRAPHS}
    for precision, parts in networks.items():
        for network in FUSED:
            file = parts[network]
            graphs["fused"][file] = fused = fused_file(file)
            logger.info(f"fusing the attention of {file}")
            fuse_attention(folder / file, folder / fused)
            if precision == "fp16":
                logger.info(f"fusing {file} for CUDA")
                try:
                    fuse_for_cuda(folder / fused, folder / cuda_file(file))
                except ExportError as error:  # a UNet of another make: all else runs without this graph
                    logger.warning(f"no graph for CUDA, which then runs {fused}: {error}")
                else:
                    graphs["cuda"][file] = cuda_file(file)
    return graphs


def _fall_back_to_fp32(opened: Checkpoint, folder: Path, networks: Files, parity: Parity) -> None:
    """Put the autoencoder's networks back to float32 in the fp16 engine where fp16 is too small for them."""
    for network in NETWORKS:
        if WRAPPERS[network][0] != "vae" or fits_half(parity["fp16"][network]):
            continue
        logger.warning(f"{network} stays in float32: fp16 is too small for it")
        for name in with_weights(networks["fp16"][network], [path.name for path in folder.iterdir()]):
            (folder / name).unlink()
        networks["fp16"][network] = file = network_file(network, "fp32")
        if not (folder / file).exists():
            export_network(network, opened.load("vae"), opened.model, _width(opened), folder / file)
            full = validate_networks(opened, folder, {"fp16": {network: file}}, {})
            parity["fp16"][network] = full["fp16"][network]
        else:
            parity["fp16"][network] = parity["fp32"][network]


def _width(opened: Checkpoint) -> int:
    return int(opened.configs["unet"]["cross_attention_dim"])


def _facts(folder: Path, known: Mapping[str, FileFact] | None = None) -> dict[str, FileFact]:
    """Return the facts of all files that the manifest lists; what is ``known`` is not read again."""
    names = sorted(path.name for path in folder.iterdir() if path.name != FILE_NAME)
    return {name: (known or {}).get(name) or fact_of(folder / name) for name in names}


def _write(folder: Path, manifest: Manifest, parity: Parity) -> None:
    validated = replace(manifest, parity=_rounded(parity))
    (folder / FILE_NAME).write_text(render_manifest(validated), encoding="utf-8")


def _rounded(parity: Parity) -> Parity:
    return {
        precision: {
            network: {name: float(f"{value:.4g}") for name, value in values.items()} for network, values in part.items()
        }
        for precision, part in parity.items()
    }
