"""Write a bundle: tokenizer, model card, licence and manifest, all in a folder that gets its name last."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from roentmod_fast._version import __version__
from roentmod_fast.errors import OutputError
from roentmod_fast.runtime.host import version_of

from .checkpoint import Checkpoint

LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "license.txt")
TOOLS = ("torch", "diffusers", "transformers", "onnx", "onnxscript", "onnxruntime", "nncf", "openvino")


@contextmanager
def staging(out: Path, *, overwrite: bool, needed: int) -> Iterator[Path]:
    """Yield a folder beside ``out`` that becomes ``out`` when the block ends well, and is removed when it does not.

    Raises :class:`OutputError`, before any work, where ``out`` exists and ``overwrite`` is not given, or where the disk
    has fewer than ``needed`` bytes free.
    """
    if out.exists() and not overwrite:
        raise OutputError(f"{out}: exists: give --overwrite to replace it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(out.parent).free
        if free < needed:
            raise OutputError(
                f"{out}: the export needs {needed / 1e9:.2f} GB and {free / 1e9:.2f} are free: free some or choose "
                "another disk"
            )
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
            staged = Path(folder) / out.name
            staged.mkdir()
            yield staged
            if out.exists():
                out.rename(Path(folder) / "old")
            staged.rename(out)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from error


def write_tokenizer(checkpoint: Checkpoint, path: Path) -> None:
    """Write the checkpoint's tokenizer as ``tokenizer.json``, with its padding and without truncation.

    Truncation is the runtime's, which keeps the end token and tells the user what was left out. Merges are written as
    strings, which every version of ``tokenizers`` reads.
    """
    tokenizer = checkpoint.tokenizer
    values = json.loads(tokenizer.backend_tokenizer.to_str())
    values["truncation"] = None
    values["padding"] = {
        "strategy": {"Fixed": checkpoint.model.max_tokens},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": tokenizer.pad_token_id,
        "pad_type_id": 0,
        "pad_token": tokenizer.pad_token,
    }
    merges = values["model"]["merges"]
    values["model"]["merges"] = [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]
    path.write_text(json.dumps(values, ensure_ascii=False) + "\n", encoding="utf-8")


def copy_licence(checkpoint: Checkpoint, folder: Path) -> str | None:
    """Copy the checkpoint's licence; return its file name, or None where it has none."""
    for name in LICENCES:
        if (checkpoint.folder / name).is_file():
            shutil.copyfile(checkpoint.folder / name, folder / "LICENSE")
            return "LICENSE"
    return None


def made_facts(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what the manifest says of its own making: tools, checkpoint, date (of ``SOURCE_DATE_EPOCH`` if set)."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    zone = datetime.timezone.utc
    now = datetime.datetime.now(zone) if epoch is None else datetime.datetime.fromtimestamp(int(epoch), zone)
    return {
        "roentmod_fast": __version__,
        "tools": {name: version for name in TOOLS if (version := version_of(name)) is not None},
        "checkpoint": checkpoint.folder.name,
        "checkpoint_sha256": checkpoint.sha256(),
        "checkpoint_precision": checkpoint.precisions(),
        "date": now.date().isoformat(),
    }


def model_card(name: str, notice: str, parity: Mapping[str, Mapping[str, Any]], made: Mapping[str, Any]) -> str:
    """Return CARD.md of an exported bundle: what it is, from what it was made, how well."""
    lines = [
        f"# {name}",
        "",
        notice,
        "",
        "An engine for roentmod-fast. Every image it makes is synthetic and not for diagnosis.",
        "",
        f"Exported on {made['date']} from the checkpoint `{made['checkpoint']}` (SHA-256 of its parts "
        f"`{made['checkpoint_sha256']}`) with "
        + ", ".join(f"{tool} {version}" for tool, version in made["tools"].items())
        + ".",
        "",
        "## Parity",
        "",
        "The checkpoint in torch and float32 against this engine in ONNX Runtime on the CPU, fixed inputs.",
        "",
        "| precision | network | largest difference | relative to the range | PSNR |",
        "|---|---|---|---|---|",
    ]
    for precision, networks in parity.items():
        lines += [
            f"| {precision} | {network} | {values['max_abs']:.2g} | {values['relative']:.2g} "
            f"| {values['psnr_db']:.1f} dB |"
            for network, values in networks.items()
        ]
    return "\n".join(lines) + "\n"
