"""A checkpoint becomes a bundle: open, export network by network, judge, write."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from pathlib import Path

from roentmod_fast.engine.manifest import (
    FILE_NAME,
    NETWORKS,
    TOKENIZER_NAME,
    Manifest,
    fact_of,
    render_manifest,
)
from roentmod_fast.errors import SettingError

from . import verdict
from .bundle_writer import card, copy_licence, made_facts, staging, write_tokenizer
from .checkpoint import ROLES, Checkpoint, open_checkpoint
from .errors import VerdictError
from .onnx_export import WRAPPERS, export_network, free_bytes_needed, network_file

PRECISIONS = ("fp32", "fp16")
HALVED = ("text_encoder", "unet")
"""Networks that a half-precision engine runs in half precision; the autoencoder overflows there, so it stays."""

NOTICE = (
    "cardiomegaly appears unasked in 35 to 50 % of RoentMod's edits (Cooke et al., 2025): check what an edit changed"
)

Parity = dict[str, dict[str, dict[str, float]]]
Say = Callable[[str], None]


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
    say: Say = lambda text: None,
) -> Path:
    """Export a diffusers folder as the bundle ``out``; return ``out``.

    ``precisions``: some of :data:`PRECISIONS`. ``vae``: a folder whose autoencoder is taken instead. ``name`` of the
    engine, by default that of ``out``; ``notice`` is told to the user at each use. ``store_halves`` stores float32
    weights that half precision holds exactly in two bytes. ``say`` is told of each step.

    Raises :class:`CheckpointError` for what cannot be read, :class:`OutputError` for what cannot be written, and
    :class:`VerdictError`, with nothing left behind, for an engine that misses its limits, unless ``keep_anyway``.
    """
    unknown = sorted(set(precisions) - set(PRECISIONS))
    if unknown or not precisions:
        raise SettingError(f"precision {', '.join(unknown) or 'none'}: expected some of {', '.join(PRECISIONS)}")
    opened = open_checkpoint(checkpoint, vae)
    weights = sum(opened.weight_bytes(role) for role in ROLES)
    with staging(out, overwrite=overwrite, needed=free_bytes_needed(weights, tuple(precisions))) as folder:
        parity = _export_networks(opened, folder, precisions, store_halves, say)
        write_tokenizer(opened, folder / TOKENIZER_NAME)
        manifest = _manifest(opened, folder, precisions, name or out.name, notice)
        _write(folder, manifest, parity)

        say("verdict of a whole edit: the checkpoint, in torch")
        reference = verdict.reference_edit(opened, verdict.verdict_config())
        gc.collect()
        for precision in precisions:
            say(f"verdict of a whole edit: the engine, {precision}")
            parity[precision][verdict.WHOLE_EDIT] = verdict.judge_edit(folder, precision, reference)
            say(f"  {parity[precision][verdict.WHOLE_EDIT]['psnr_db']:.1f} dB against the checkpoint")
        missed = verdict.failures(parity)
        if missed and not keep_anyway:
            raise VerdictError(f"{out}: the engine does not compute what the checkpoint computes: {'; '.join(missed)}")
        if missed:
            made = {**manifest.made, "kept_although": missed}
            manifest = Manifest(**{**vars(manifest), "made": made})
        _write(folder, manifest, parity)
        copy_licence(opened, folder)
        text = card(manifest.name, notice, parity, manifest.made)
        (folder / "CARD.md").write_text(text, encoding="utf-8")
    return out


def _export_networks(
    opened: Checkpoint, folder: Path, precisions: Sequence[str], store_halves: bool, say: Say
) -> Parity:
    """Export and judge each network; one part of the checkpoint is in memory at a time."""
    parity: Parity = {precision: {} for precision in precisions}
    width = int(opened.configs["unet"]["cross_attention_dim"])
    words = int(opened.configs["text_encoder"].get("vocab_size", 49408))
    for role in ROLES:
        module = opened.load(role)
        networks = [network for network in NETWORKS if WRAPPERS[network][0] == role]
        inputs = {network: verdict.fixed_inputs(network, opened.model, width, words) for network in networks}
        reference = {network: verdict.reference_outputs(network, module, inputs[network]) for network in networks}
        for precision in sorted(precisions, reverse=True):  # fp32 first: halving the module is for good
            if precision == "fp16" and role in HALVED:
                module = module.half()
            for network in networks:
                path = folder / _file(network, precision)
                if not path.exists():
                    say(f"exporting {network}, {precision}")
                    export_network(network, module, opened.model, width, path, store_halves=store_halves)
                parity[precision][network] = verdict.judge_network(network, path, inputs[network], reference[network])
        del module
        gc.collect()
    return parity


def _file(network: str, precision: str) -> str:
    return network_file(network, precision if network in HALVED else "fp32")


def _manifest(opened: Checkpoint, folder: Path, precisions: Sequence[str], name: str, notice: str) -> Manifest:
    files = sorted(path.name for path in folder.iterdir() if path.name != FILE_NAME)
    return Manifest(
        name=name,
        model=opened.model,
        networks={precision: {network: _file(network, precision) for network in NETWORKS} for precision in precisions},
        files={file: fact_of(folder / file) for file in files},
        notice=notice,
        made=made_facts(opened),
    )


def _write(folder: Path, manifest: Manifest, parity: Parity) -> None:
    judged = Manifest(**{**vars(manifest), "parity": _rounded(parity)})
    (folder / FILE_NAME).write_text(render_manifest(judged), encoding="utf-8")


def _rounded(parity: Parity) -> Parity:
    return {
        precision: {
            network: {name: float(f"{value:.4g}") for name, value in values.items()} for network, values in part.items()
        }
        for precision, part in parity.items()
    }
