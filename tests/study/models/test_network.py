"""A model is an ONNX file that keeps its contract, or an error that names what it does not keep."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roentmod_fast.errors import EngineError, NotFiniteError, RoentmodError, SettingError
from roentmod_fast.study.models.network import open_model
from tests.study.models.tiny_network import DOUBLE, classifier_contract, contract, write_linear

SHAPE = ("batch", 1, 4, 4)
WEIGHT = np.random.default_rng(3).normal(size=(16, 3)).astype(np.float32)
IMAGE = np.random.default_rng(4).random((4, 4), dtype=np.float32)


def write(folder: Path, facts: dict[str, Any], weight: Any = WEIGHT, shape: Any = SHAPE, **options: Any) -> Path:
    path = write_linear(folder / "model.onnx", shape, weight, **options)
    path.with_suffix(".json").write_text(json.dumps(facts), encoding="utf-8")
    return path


def test_an_embedder_gives_the_plain_product(tmp_path: Path) -> None:
    model = open_model(write(tmp_path, contract()))
    expected = IMAGE.reshape(1, 16).astype(np.float64) @ WEIGHT
    assert model.name == "tiny" and len(model.sha256) == 64
    assert np.abs(model.look(IMAGE) - expected[0]).max() < 1e-5
    batch = np.stack([IMAGE[None], 0 * IMAGE[None]])
    found = model.run(batch)
    assert found.dtype == np.float64 and found.shape == (2, 3) and np.abs(found[1]).max() == 0


def test_the_contract_may_be_named_in_place_of_the_network(tmp_path: Path) -> None:
    path = write(tmp_path, contract())
    assert open_model(path.with_suffix(".json")).path == path


def test_unit_norm(tmp_path: Path) -> None:
    model = open_model(write(tmp_path, contract(output__unit_norm=True)))
    found = model.look(IMAGE)
    assert abs(np.linalg.norm(found) - 1) < 1e-12
    with pytest.raises(NotFiniteError, match="is all 0: it has no direction"):
        model.look(0 * IMAGE)


def test_logits_become_probabilities_without_overflow(tmp_path: Path) -> None:
    facts = classifier_contract(["edema", None, "mass"], "logits")
    model = open_model(write(tmp_path, facts, 0 * WEIGHT, bias=[0.0, -2000.0, np.log(3)]))
    found = model.look(IMAGE)
    assert found[0] == 0.5 and 0 <= found[1] < 1e-300 and abs(found[2] - 0.75) < 1e-6


def test_probabilities_come_as_they_are(tmp_path: Path) -> None:
    facts = classifier_contract(["edema", "mass", "hernia"])
    found = open_model(write(tmp_path, facts, ends_with=["Sigmoid"])).look(IMAGE)
    assert np.abs(found - 1 / (1 + np.exp(-(IMAGE.reshape(16) @ WEIGHT)))).max() < 1e-6


@pytest.mark.parametrize("bias", [[0.2, 1.01, 0], [-0.01, 0, 0]])
def test_probabilities_out_of_range_are_an_error(tmp_path: Path, bias: list[float]) -> None:
    model = open_model(write(tmp_path, classifier_contract(["a", "b", "c"]), 0 * WEIGHT, bias=bias))
    with pytest.raises(SettingError, match=r"from 0 to 1; are they logits\?"):
        model.look(IMAGE)


def test_a_head_that_is_not_used_may_hold_anything_finite(tmp_path: Path) -> None:
    model = open_model(write(tmp_path, classifier_contract(["a", None, "c"]), 0 * WEIGHT, bias=[0, 9, 1]))
    assert model.look(IMAGE).tolist() == [0, 9, 1]


@pytest.mark.parametrize("facts", [contract(), classifier_contract(["a", "b", "c"], "logits")])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_not_finite(tmp_path: Path, facts: dict[str, Any], value: float) -> None:
    model = open_model(write(tmp_path, facts, 0 * WEIGHT, bias=[0, value, 0]))
    with pytest.raises(NotFiniteError, match="holds NaN or infinity"):
        model.look(IMAGE)


@pytest.mark.parametrize("findings", [["a"], ["a", "b", "c", "d"]])
def test_another_number_of_outputs(tmp_path: Path, findings: list[str]) -> None:
    model = open_model(write(tmp_path, classifier_contract(findings, "logits")))
    with pytest.raises(SettingError, match=f"3 outputs, its contract names {len(findings)}"):
        model.look(IMAGE)


@pytest.mark.parametrize(
    ("facts", "options", "words"),
    [
        (contract(), {"inputs": 2}, "inputs image, image1: name one of them in the contract, input.name"),
        (contract(), {"outputs": 2}, "outputs result, result1: name one of them in the contract, output.name"),
        (contract(input__name="x"), {}, "inputs image: name one of them"),
        (contract(output__name="head"), {}, "outputs result: name one of them"),
        (contract(), {"shape": ("N", 3, 4, 4), "weight": np.ones((48, 3))}, "its input is N x 3 x 4 x 4"),
        (contract(), {"shape": ("N", 1, 2, 8)}, "its contract says N x 1 x 4 x 4"),
        (contract(), {"shape": ("N", 16)}, "its contract says N x 1 x 4 x 4"),
        (contract(sha256="0" * 64), {}, "the SHA-256 differs"),
    ],
)
def test_what_does_not_keep_its_contract(
    tmp_path: Path, facts: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(SettingError, match=words):
        open_model(write(tmp_path, facts, **options))


def test_an_output_is_chosen_by_name(tmp_path: Path) -> None:
    model = open_model(write(tmp_path, contract(output__name="result1"), outputs=2))
    assert model.look(IMAGE).shape == (3,)


def test_another_type_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RoentmodError, match=r"model\.onnx"):
        open_model(write(tmp_path, contract(), element=DOUBLE))


def test_a_fixed_batch_of_two_is_an_error(tmp_path: Path) -> None:
    model = open_model(write(tmp_path, contract(), shape=(2, 1, 4, 4)))
    with pytest.raises(RoentmodError, match=r"model\.onnx"):
        model.look(IMAGE)


def test_a_fixed_batch_of_one_runs_any_number(tmp_path: Path) -> None:
    model = open_model(write(tmp_path, contract(), shape=(1, 1, 4, 4)))
    assert model.run(np.stack([IMAGE[None]] * 3)).shape == (3, 3)


def test_files_that_are_no_networks(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps(contract()), encoding="utf-8")
    with pytest.raises(SettingError, match="no such file: expected an ONNX file"):
        open_model(tmp_path / "model.onnx")
    (tmp_path / "model.onnx").write_bytes(b"no network")
    with pytest.raises(EngineError, match=r"model\.onnx"):
        open_model(tmp_path / "model.onnx")


def test_the_right_hash_passes(tmp_path: Path) -> None:
    path = write(tmp_path, contract())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(contract(sha256=digest)), encoding="utf-8")
    assert open_model(path).sha256 == digest


def test_the_hash_covers_the_weights_beside_the_network(tmp_path: Path) -> None:
    path = write(tmp_path, contract())
    weights = tmp_path / f"{path.name}.data"
    weights.write_bytes(b"weights")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(contract(sha256=digest)), encoding="utf-8")
    with pytest.raises(SettingError, match="the SHA-256 differs"):
        open_model(path)
    both = hashlib.sha256(f"{digest} {hashlib.sha256(b'weights').hexdigest()}".encode()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(contract(sha256=both)), encoding="utf-8")
    assert open_model(path).sha256 == both
    weights.write_bytes(b"others")
    with pytest.raises(SettingError, match="the SHA-256 differs"):
        open_model(path)
