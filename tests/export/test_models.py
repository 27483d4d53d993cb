"""Embedders and classifiers from weights of the user: ONNX with a contract, the same as torch, or an error."""

from __future__ import annotations

import os
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from click.testing import CliRunner, Result
from torch import nn

from roentmod_fast.errors import EngineError, OutputError, RoentmodError
from roentmod_fast.study.models.contract import Contract
from roentmod_fast.study.models.network import open_model
from roentmod_fast.study.models.preprocess import preprocess
from roentmod_fast_export import classifiers, embedders, model_file
from roentmod_fast_export.errors import CheckpointError, ExportError, ParityError
from roentmod_fast_export.inception import FidInception
from roentmod_fast_export.model_file import fill, load_weights, write_model
from roentmod_fast_export.resnet import ResNet50

SMALL = Contract(
    name="small",
    kind="embedder",
    size=(12, 10),
    channels=1,
    range=(-1.0, 1.0),
    fit="stretch",
    filter="bilinear-torch",
    values="embedding",
)
IMAGE = np.random.default_rng(0).random((31, 17), dtype=np.float32)


class Small(nn.Module):
    """One convolution, rectified, and its means."""

    def __init__(self, channels: int = 1, outputs: int = 3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.conv = nn.Conv2d(channels, outputs, 3)
        for value in self.conv.parameters():
            value.data = torch.randn(value.shape, generator=generator)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.conv(image)).mean(dim=(2, 3))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "made" / "small.onnx"
    write_model(Small(), SMALL, path)
    return path


def test_the_runtime_opens_what_was_written_and_gives_what_torch_gives(small: Path) -> None:
    model = open_model(small)
    batch = preprocess(IMAGE, SMALL)[None]
    with torch.no_grad():
        wanted = Small()(torch.from_numpy(batch)).numpy()
    assert np.abs(model.run(batch) - wanted).max() < 1e-5
    assert model.contract == replace(SMALL, input_name="image", output_name="features", sha256=model.sha256)
    assert sorted(path.name for path in small.parent.iterdir()) == ["small.json", "small.onnx"]
    assert str(Path.cwd()).encode() not in small.read_bytes()


def test_the_first_dimension_is_free_and_called_batch(small: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(small), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 1, 12, 10]


def test_a_file_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_file, "LIMIT", -1.0)
    with pytest.raises(ParityError, match="not written"):
        write_model(Small(), SMALL, tmp_path / "small.onnx")
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    monkeypatch.setattr(model_file, "_difference", lambda *arguments: float("nan"))
    with pytest.raises(ParityError, match="not written"):
        write_model(Small(), SMALL, tmp_path / "small.onnx")


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    network = Small()
    network.conv.bias.data[:] = float("nan")
    with pytest.raises(CheckpointError, match="no finite numbers"):
        write_model(network, SMALL, tmp_path / "small.onnx")
    assert not list(tmp_path.iterdir())


def test_names_and_files_that_are_there(small: Path) -> None:
    with pytest.raises(ExportError, match=r"ends with \.onnx"):
        write_model(Small(), SMALL, small.with_suffix(".pt"))
    before = small.read_bytes()
    with pytest.raises(OutputError, match="already exists"):
        write_model(Small(), SMALL, small)
    assert small.read_bytes() == before


@pytest.mark.parametrize("shape", [(31, 17), (5, 40), (12, 10), (1, 1), (300, 200)])
def test_bilinear_torch_is_interpolate(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).random(shape, dtype=np.float32)
    wanted = functional.interpolate(torch.from_numpy(image)[None, None], (12, 10), mode="bilinear", align_corners=False)
    assert np.abs(preprocess(image, replace(SMALL, range=(0.0, 1.0)))[0] - wanted[0, 0].numpy()).max() < 1e-5


def parameters(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def test_fids_inception_has_the_published_size_and_features() -> None:
    network = FidInception().eval()
    # torchvision's 27,161,264 without its auxiliary classifier and its 1000 classes, with 1008
    assert parameters(network) == 27_161_264 - 3_326_696 - 2_049_000 + 2049 * 1008
    names = set(network.state_dict())
    assert {"Conv2d_1a_3x3.conv.weight", "Mixed_5b.branch_pool.bn.running_var", "fc.weight"} <= names
    assert {"Mixed_6b.branch7x7dbl_5.conv.weight", "Mixed_7c.branch3x3dbl_3b.conv.weight"} <= names
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 75, 75)).shape == (1, 2048)


def test_its_pooling_leaves_the_padding_out_and_ends_with_the_maximum() -> None:
    network = FidInception()
    ones = torch.ones(1, 4, 5, 5)
    assert torch.equal(network.Mixed_5b._pooled(ones), ones)  # torchvision gives 4/9 in a corner
    assert not network.Mixed_7b.maximum and network.Mixed_7c.maximum
    assert not any(block.maximum for block in (network.Mixed_5d, network.Mixed_6e))


def test_resnet50_has_the_published_size_and_names() -> None:
    network = ResNet50()
    assert parameters(network) == 25_557_032 - 2_049_000
    names = set(network.state_dict())
    assert {"conv1.weight", "layer1.0.downsample.0.weight", "layer4.2.bn3.running_mean"} <= names
    with torch.no_grad():
        assert network.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 2048)
    assert ResNet50(channels=1, classes=18).fc.out_features == 18


def test_weights_are_read_however_they_are_wrapped(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    weights = Small().state_dict()
    torch.save(weights, tmp_path / "plain.pth")
    torch.save({"state_dict": {f"module.{name}": value for name, value in weights.items()}}, tmp_path / "wrapped.pth")
    torch.save({"model": weights, "epoch": 3}, tmp_path / "trained.pth")
    torch.save({name: value.half() for name, value in weights.items()}, tmp_path / "half.pth")
    save_file(weights, tmp_path / "safe.safetensors")
    for path in tmp_path.iterdir():
        network = Small(outputs=3)
        fill(network, load_weights(path), path)
        assert torch.allclose(network.conv.weight, weights["conv.weight"], atol=0.01), path


class Harmful:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch harmed",)


@pytest.mark.parametrize("kind", ["code", "module", "list", "text", "empty", "folder", "missing"])
def test_files_that_hold_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pth"
    if kind == "folder":
        path.mkdir()
    elif kind in ("text", "empty"):
        path.write_bytes(b"text" if kind == "text" else b"")
    elif kind != "missing":
        torch.save({"code": {"a": Harmful()}, "module": Small(), "list": [torch.zeros(1)]}[kind], path)
    with pytest.raises(CheckpointError) as raised:
        load_weights(path)
    assert str(raised.value).startswith(f"{path}: ") and "\n" not in str(raised.value)
    assert not (tmp_path / "harmed").exists()


def test_weights_of_another_network() -> None:
    weights, path = Small().state_dict(), Path("w.pth")
    with pytest.raises(CheckpointError, match=r"weight conv\.bias is missing"):
        fill(Small(), {"conv.weight": weights["conv.weight"]}, path)
    with pytest.raises(CheckpointError, match=r"weight head\.0 is unknown"):
        fill(Small(), {**weights, "head.0": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"conv\.weight is \(3, 1, 3, 3\): expected \(4, 1, 3, 3\)"):
        fill(Small(outputs=4), weights, path)
    fill(Small(), {**weights, "head.0": torch.zeros(1)}, path, unused=("head.",))


def export(module: Any, *arguments: object) -> Result:
    return CliRunner().invoke(module.command, [*map(str, arguments)], catch_exceptions=False)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    folder = tmp_path_factory.mktemp("clip")
    config = CLIPVisionConfig(
        image_size=224, patch_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        projection_dim=8,
    )  # fmt: skip
    torch.manual_seed(0)
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return folder


def test_clips_image_encoder(clip_folder: Path, tmp_path: Path) -> None:
    from transformers import CLIPVisionModelWithProjection

    path = tmp_path / "clip.onnx"
    result = export(embedders, "clip-vit-b-32", clip_folder, "-o", path, "--name", "clip-tiny")
    assert result.exit_code == 0 and result.stdout == f"{path}\n" and "differs from torch" in result.stderr
    model = open_model(path)
    assert model.name == "clip-tiny" and model.contract.unit_norm and model.contract.quantize
    network = CLIPVisionModelWithProjection.from_pretrained(clip_folder).eval()
    with torch.no_grad():
        batch = torch.from_numpy(preprocess(IMAGE, model.contract)[None])
        wanted = functional.normalize(network(pixel_values=batch).image_embeds)[0].double().numpy()
    assert np.abs(model.look(IMAGE) - wanted).max() < 1e-5


@pytest.mark.parametrize("config", [None, "{", "[]", '{"image_size": 336, "patch_size": 14}'])
def test_folders_that_hold_no_clip(tmp_path: Path, config: str | None) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        embedders.clip(tmp_path)


def test_a_clip_without_weights(clip_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((clip_folder / "config.json").read_bytes())
    with pytest.raises(CheckpointError, match="no weights of CLIP"):
        embedders.clip(tmp_path)


@pytest.mark.parametrize("name", classifiers.FILES)
def test_every_classifier_has_a_contract(name: str) -> None:
    assert classifiers.contract_of(name).name == name
    assert classifiers.FILES[name] in classifiers.contract_of(name).source


def test_weights_that_are_not_there_are_not_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    with pytest.raises(CheckpointError, match=r"no such file: download https://github\.com/mlmed/.*kaggle-densenet"):
        export(classifiers, "densenet121-res224-rsna", "-o", tmp_path / "rsna.onnx")
    assert not list(tmp_path.iterdir())


def test_densenets_need_torchxrayvision(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(classifiers.importlib, "import_module", absent)
    with pytest.raises(EngineError, match="type pip install torchxrayvision"):
        classifiers.network_of("densenet121-res224-all", Path("w.pt"))


class DenseNet(nn.Module):
    """A stub of torchxrayvision's: the names of its parts, and its operating points."""

    def __init__(self, num_classes: int = 18, in_channels: int = 1) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(in_channels, 4, 5, 40), nn.BatchNorm2d(4))
        self.classifier = nn.Linear(4, num_classes)
        self.register_buffer("op_threshs", None)


STUB = types.SimpleNamespace(DenseNet=DenseNet, _DenseBlock=nn.Tanh, _DenseLayer=nn.Tanh, _Transition=nn.Tanh)


@pytest.mark.parametrize("kind", ["module", "state"])
def test_a_densenet_gives_logits_without_operating_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(classifiers, "torchxrayvision_models", lambda: STUB)
    network = DenseNet().eval()
    network.op_threshs = torch.full((18,), 0.1)
    torch.save(network if kind == "module" else network.state_dict(), tmp_path / "w.pt")
    path = tmp_path / "all.onnx"
    assert export(classifiers, "densenet121-res224-all", "--weights", tmp_path / "w.pt", "-o", path).exit_code == 0
    model = open_model(path)
    batch = preprocess(IMAGE, model.contract)[None]
    with torch.no_grad():
        found = functional.relu(network.features(torch.from_numpy(batch))).mean(dim=(2, 3))
        wanted = torch.sigmoid(network.classifier(found)).numpy()
    assert np.abs(model.run(batch) - wanted).max() < 1e-5


def test_a_densenets_file_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(classifiers, "torchxrayvision_models", lambda: STUB)
    network = DenseNet()
    network.harm = Harmful()
    torch.save(network, tmp_path / "w.pt")
    with pytest.raises(RoentmodError):
        classifiers.network_of("densenet121-res224-all", tmp_path / "w.pt")
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("module", [embedders, classifiers])
def test_help_shows_examples(module: Any) -> None:
    text = " ".join(export(module, "--help").stdout.split())
    assert f"python -m {module.__name__} " in text and "downloaded" in text
