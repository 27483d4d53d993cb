"""The manifest: read back what was written, refuse what is wrong, and say what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from roentmod_fast.bundle.manifest import FILE_NAME, parse_manifest, render_manifest
from roentmod_fast.errors import EngineError


def test_reads_back_what_it_writes(bundle_folder: Path) -> None:
    text = (bundle_folder / FILE_NAME).read_text()
    manifest = parse_manifest(text, "here")
    assert manifest.model.latent_size == 8
    assert manifest.edit.guidance == 3.0
    assert manifest.notice == "a mock"
    assert render_manifest(manifest) == text


def change(path: str, value: Any) -> Any:
    """Return a function that sets the entry at a dotted path, or removes it where ``value`` is None."""

    def apply(raw: dict[str, Any]) -> None:
        *parents, last = path.split("/")
        for key in parents:
            raw = raw[key]
        if value is None:
            del raw[last]
        else:
            raw[last] = value

    return apply


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (change("format", 2), "format 2 is not the 1"),
        (change("model", None), "missing model"),
        (change("model/image_size", None), "model: missing image_size"),
        (change("model/extra", 1), "model: unknown extra"),
        (change("model/image_size", "64"), "model.image_size: expected int, found '64'"),
        (change("model/set_alpha_to_one", 1), "model.set_alpha_to_one: expected bool"),
        (change("model/prediction", "sample"), "expected one of epsilon, v_prediction"),
        (change("model/vae_scale", 7), "image_size is no multiple of vae_scale"),
        (change("networks/fp64", {}), "unknown precision 'fp64'"),
        (change("networks/fp32/unet", None), "networks.fp32 must name a file for each of"),
        (change("networks/fp32/unet", "other.onnx"), "which files does not list"),
        (change("files/..\\evil", {"bytes": 1, "sha256": "0"}), "leaves the bundle's folder"),
        (change("files/..%2f", {"bytes": 1}), "missing sha256"),
        (change("files/a", {"bytes": 1, "sha256": "0"}), None),
        (change("files/..", {"bytes": 1, "sha256": "0"}), "leaves the bundle's folder"),
        (change("files/tokenizer.json", None), "does not list tokenizer.json"),
        (change("fused", {"unet.onnx": "unet.fused.onnx"}), "fused must map files that are listed"),
        (change("fused", ["unet.onnx"]), "fused must map files that are listed"),
        (change("cuda", {"unet.onnx": "unet.cuda.onnx"}), "cuda must map files that are listed"),
        (change("fused", {"unet.onnx": "unet.onnx.data"}), None),
    ],
)
def test_names_what_is_wrong(bundle_folder: Path, changed: Any, says: str | None) -> None:
    raw = json.loads((bundle_folder / FILE_NAME).read_text())
    changed(raw)
    if says is None:
        parse_manifest(json.dumps(raw), "here")
        return
    with pytest.raises(EngineError, match="here: ") as error:
        parse_manifest(json.dumps(raw), "here")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"format"'])
def test_what_is_no_manifest_is_an_error(text: str) -> None:
    with pytest.raises(EngineError, match=r"here: .*export the engine again"):
        parse_manifest(text, "here")
