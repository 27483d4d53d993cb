"""Networks compiled for an NVIDIA card: which of a bundle's engines fits it, and where what is compiled here is kept.

TensorRT for RTX opens an engine that was built for the card's architecture by its own version; anything else is
compiled from the ONNX file at first use. The manifest's ``tensorrt`` records say what each engine was built for, and
from what.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roentmod_fast.bundle.bundle import Bundle
from roentmod_fast.bundle.manifest import bytes_of, with_weights
from roentmod_fast.runtime.cache import can_be_written
from roentmod_fast.runtime.devices import RTX_MODULE, rtx_version
from roentmod_fast.runtime.gpus import Card
from roentmod_fast.runtime.plan import Plan

PACKAGE = "tensorrt_rtx"
KEPT_NAME = "engine.onnx"
"""The file, in a folder of its own, by which a network that was compiled here is opened again."""


def plan_on_rtx(bundle: Bundle, role: str, precision: str, card: Card | None, cache: Path, items: int = 1) -> Plan:
    """Choose what is opened for ``role`` on an RTX card: the bundle's own engine, one kept here, or the ONNX file.

    It takes batches of 1 to ``items``. What is kept lies in ``cache``, a folder of this bundle, by card, driver,
    TensorRT, plugin and ``items``. Of an unknown card nothing is kept: one could not be told from another.
    """
    file = bundle.manifest.networks[precision][role]
    card_folder = cache / ("unknown-card" if card is None else card.key)
    folder = card_folder / _version_folder() / f"batch-{items}" / file
    kept = folder / "compiled" / KEPT_NAME
    source = with_weights(file, bundle.manifest.files)
    kernels = folder / "kernels" if can_be_written(folder, bytes_of(file, bundle.manifest.files)) else None
    unkept = "" if kernels else f"at each start, for {folder} cannot be written or is full"
    kernels_lost = f"kernels of {role} are compiled {unkept}" if unkept else ""
    record, note = choose_engine(bundle, role, precision, card, items)
    if record is not None:
        files, oversized = (record["file"], record["engine"]), items < record["batch"][-1]
        path = bundle.path(record["file"])
        return Plan(path, files, kernels, note=kernels_lost, compiled=True, oversized=oversized)
    if card is not None and kept.is_file():
        said = "; ".join(filter(None, (note, kernels_lost)))
        return Plan(kept, (), kernels, note=said, compiled=True, kept=True)
    if card is None:
        unkept = "at each start, for the card is not known"
    said = "; ".join(filter(None, (note, f"{role} is compiled for this card, {unkept or 'once'}")))
    return Plan(bundle.path(file), source, kernels, None if unkept else kept, said)


def _version_folder() -> str:
    """Name the folder of what these versions of TensorRT and of the plugin compile."""
    return f"tensorrt-{tensorrt_version()}-plugin-{rtx_version()}"


def choose_engine(
    bundle: Bundle, role: str, precision: str, card: Card | None, items: int = 1
) -> tuple[Mapping[str, Any] | None, str]:
    """Return the record of the engine that fits, or None and why none of those that there are for ``role`` does."""
    file = bundle.manifest.networks[precision][role]
    records = [item for item in bundle.manifest.tensorrt if item["network"] == role and file in item["source"]]
    if not records:
        return None, ""
    version, reasons = tensorrt_version(), []
    for record in records:
        unfit = _why_unfit(record, bundle, card, version, items)
        if unfit is None:
            return record, ""
        reasons.append(unfit)
    # Of engines for other cards there are always some; a stale one for this card is worth more words.
    for_this_card = [text for text, item in zip(reasons, records, strict=True) if _built_for(item, card)]
    return None, f"{role}: no engine of the bundle is used: {(for_this_card or reasons)[0]}"


def _built_for(record: Mapping[str, Any], card: Card | None) -> bool:
    return card is not None and record["package"] == PACKAGE and record["architecture"] == card.architecture


def _why_unfit(
    record: Mapping[str, Any], bundle: Bundle, card: Card | None, version: str | None, items: int
) -> str | None:
    name = record["file"]
    if record["package"] != PACKAGE:
        return f"{name} is of {record['package']}, not of {PACKAGE}"
    if card is None:
        return f"{name} is for {record['architecture']}, and the card's architecture is not known"
    if record["architecture"] != card.architecture:
        return f"{name} is for {record['architecture']}, the card is {card.architecture}"
    if version is None or not begins_with(record["version"], version):
        return f"{name} is of TensorRT {record['version']}, the plugin holds {version or 'an unknown one'}"
    smallest, largest = record["batch"][0], record["batch"][-1]
    if not (smallest == 1 and items <= largest):
        return f"{name} takes batches of {smallest} to {largest}, and 1 to {items} are asked for"
    facts = bundle.manifest.files
    stale = [source for source, digest in record["source"].items() if facts[source].sha256 != digest]
    return f"{name} is stale: {stale[0]} has changed since" if stale else None


def begins_with(version: str, start: str) -> bool:
    """Return whether dotted ``version`` begins with the parts of ``start``: 1.7.1.116 with 1.7.1, not with 1.7.11."""
    parts, wanted = version.split("."), start.split(".")
    return parts[: len(wanted)] == wanted


def tensorrt_version() -> str | None:
    """Return the version of TensorRT for RTX inside the plugin, by the name of its library; None where there is none.

    On Windows the name holds no more than major and minor.
    """
    spec = importlib.util.find_spec(RTX_MODULE)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        for path in sorted(Path(folder).glob("*tensorrt_rtx*")):
            found = re.fullmatch(r"libtensorrt_rtx\.so\.(\d+\.\d+\.\d+)|tensorrt_rtx_(\d+_\d+)\.dll", path.name)
            if found:
                return found.group(1) or found.group(2).replace("_", ".")
    return None
