"""The round trip of the autoencoder comes in the geometry of the edits, whatever the shape of the pixels."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from roentmod_fast.radiograph.dicom.read import read_dicom
from roentmod_fast.study.pairs import SourceImage, squared
from roentmod_fast.study.stress import controls
from tests.radiograph.conftest import make_dataset


@pytest.mark.parametrize("format", ["dicom", "png"])
@pytest.mark.parametrize("down", [0.2, 0.4])
def test_the_round_trip_is_not_the_source(monkeypatch: pytest.MonkeyPatch, format: str, down: float) -> None:
    rows = np.linspace(0, 4095, 64 * 96).reshape(64, 96).astype(np.uint16)
    dataset = make_dataset(rows, ImagerPixelSpacing=[down, 0.2])
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    radiograph = read_dicom(buffer.getvalue(), "source", force=True)
    assert radiograph.aspect == pytest.approx(down / 0.2)
    inverted = np.clip(1 - radiograph.image, 0, 1)
    output = SimpleNamespace(format=format, png_bits=8, size=None)
    plan = SimpleNamespace(config=None, protect_markers=False, output=output)
    editor: Any = SimpleNamespace(
        prepare=lambda *a, **k: SimpleNamespace(settings=None),
        reconstruct=lambda prepared: None,
        finish=lambda decoded: SimpleNamespace(image=inverted),
        bundle=None,
        device=SimpleNamespace(name="cpu"),
    )
    monkeypatch.setattr(controls, "load_editor", lambda cohort: editor)
    monkeypatch.setattr(controls, "provenance_of", lambda *arguments: None)
    image = squared(radiograph.image, radiograph.aspect)
    source = SourceImage(None, radiograph, image, "", ())  # type: ignore[arg-type]
    found = controls.RoundTrip(SimpleNamespace(plan=plan)).image(source)  # type: ignore[arg-type]
    assert found.shape == image.shape
    np.testing.assert_allclose(found, squared(inverted, radiograph.aspect), atol=0.01)
