"""A contract says everything, and nothing of it is guessed."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from roentmod_fast.errors import OutputError, SettingError
from roentmod_fast.findings import BY_KEY
from roentmod_fast.study.models.contract import Contract
from tests.study.models.tiny_network import classifier_contract, contract

SHIPPED = sorted(
    Path(str(path)) for path in resources.files("roentmod_fast.study.models").joinpath("contracts").iterdir()
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input__range": ...}, "input.range is missing"),
        ({"input__size": ...}, "input.size is missing"),
        ({"input__channels": ...}, "input.channels is missing"),
        ({"input__fit": ...}, "input.fit is missing"),
        ({"input__filter": ...}, "input.filter is missing"),
        ({"output__values": ...}, "output.values is missing"),
        ({"kind": ...}, "kind is missing"),
        ({"name": ...}, "name is missing"),
        ({"format": ...}, "format is missing"),
        ({"input": ...}, "input is missing"),
        ({"input__range": None}, "input.range is missing"),
        ({"format": 2}, "format is not 1"),
        ({"format": True}, "format is True: expected a whole number"),
        ({"colour": "grey"}, "colour is no key"),
        ({"input__resize": "box"}, "input.resize is no key"),
        ({"output__sigmoid": True}, "output.sigmoid is no key"),
        ({"output__findings": ["edema"]}, "output.findings is no key"),
        ({"kind": "detector"}, "kind is 'detector': expected one of classifier, embedder"),
        ({"input__size": [4]}, "expected 2 whole numbers"),
        ({"input__size": [4.0, 4.0]}, "expected 2 whole numbers"),
        ({"input__size": [0, 4]}, "expected sides from 1 to 4096"),
        ({"input__size": [5000, 4]}, "expected sides from 1 to 4096"),
        ({"input__channels": 0}, "input.channels is 0"),
        ({"input__channels": "1"}, "input.channels is '1': expected a whole number"),
        ({"input__range": [1, 1]}, "input.range is [1, 1]"),
        ({"input__range": [0, True]}, "expected 2 numbers"),
        ({"input__range": [0, float("nan")]}, "expected 2 numbers"),
        ({"input__range": "0..1"}, "expected a list"),
        ({"input__fit": "letterbox"}, "input.fit is 'letterbox': expected one of crop"),
        ({"input__filter": "area"}, "input.filter is 'area'"),
        ({"input__quantize": 1}, "input.quantize is 1: expected true or false"),
        ({"input__mean": [0.5, 0.5, 0.5]}, "expected 1 numbers"),
        ({"input__std": [0]}, "input.std holds 0"),
        ({"input": []}, "input is []: expected an object"),
        ({"output__values": "logits"}, "output.values is 'logits': expected one of embedding"),
    ],
)
def test_what_is_no_contract(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError) as raised:
        Contract.parse(contract(**change), "model.json")
    message = str(raised.value)
    assert message.startswith("model.json: ") and words in message and "\n" not in message


@pytest.mark.parametrize(
    ("findings", "words"),
    [
        ([], "names none"),
        ([None, None], "names none"),
        (["edema", "edema"], "names edema twice"),
        (["edema", ""], "holds ''"),
        ([" edema"], "holds ' edema'"),
        ([1], "holds 1"),
    ],
)
def test_what_findings_are_none(findings: list[Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        Contract.parse(classifier_contract(findings), "model.json")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"[]", "no JSON object"),
        (b"\xff\xfe{}", "no JSON"),
        (b"3", "no JSON object"),
    ],
)
def test_a_file_that_holds_none(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "model.json").write_bytes(data)
    with pytest.raises(SettingError, match=words):
        Contract.read(tmp_path / "model.json")


def test_a_file_that_is_not_there_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no such file: a model needs its contract"):
        Contract.read(tmp_path / "model.json")
    with pytest.raises(SettingError, match="cannot be read"):
        Contract.read(tmp_path)


@pytest.mark.parametrize(
    "facts",
    [
        contract(output__unit_norm=True, sha256="0" * 64),
        contract(input__mean=[0.5], input__std=[-2.0], input__quantize=True, input__name="image"),
        classifier_contract(["edema", None, "Mass (any)"], "logits", output__name="head"),
    ],
)
def test_it_is_read_as_it_was_written(tmp_path: Path, facts: dict[str, Any]) -> None:
    known = Contract.parse(facts, "model.json")
    known.write(tmp_path / "copy.json")
    assert Contract.read(tmp_path / "copy.json") == known
    with pytest.raises(OutputError, match="already exists"):
        known.write(tmp_path / "copy.json")


def test_the_contracts_of_torchxrayvision_ship() -> None:
    assert [path.stem for path in SHIPPED] == [
        *(f"densenet121-res224-{name}" for name in ("all", "chex", "mimic_ch", "mimic_nb", "nih", "pc", "rsna")),
        "resnet50-res512-all",
    ]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_contract(path: Path) -> None:
    known = Contract.read(path)
    assert known.name == path.stem and known.kind == "classifier" and known.values == "logits"
    side = 512 if "512" in path.stem else 224
    assert (known.size, known.channels, known.range) == ((side, side), 1, (-1024.0, 1024.0))
    assert (known.fit, known.filter, known.mean, known.std) == ("crop", "bilinear-skimage", None, None)
    assert len(known.findings) == 18 and "Apache-2.0" in known.source
    assert "pneumonia" in known.findings
    assert json.loads(path.read_text(encoding="utf-8")) == known.to_json()


def test_the_papers_two_have_its_findings() -> None:
    for name in ("all", "nih"):
        path = next(path for path in SHIPPED if path.stem == f"densenet121-res224-{name}")
        assert set(BY_KEY) <= set(Contract.read(path).findings)
