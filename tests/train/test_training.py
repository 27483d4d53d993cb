"""Training is a plain loop, resumes bit for bit, and ends in an ONNX file that computes the same."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from roentmod_fast.cli import cli
from roentmod_fast.errors import EngineError, SettingError
from roentmod_fast.study.models.network import open_model
from roentmod_fast.study.plan import Cohort
from roentmod_fast.study.samples import REAL, SYNTHETIC, TRAIN, SampleSet, read_samples
from roentmod_fast_train.augment import augment
from roentmod_fast_train.batches import Batches, without_last_of_one
from roentmod_fast_train.images import load_images
from roentmod_fast_train.loop import BEST, CHECKPOINT, LOG, Training
from roentmod_fast_train.network import Small, make_network, masked_loss, present_name
from roentmod_fast_train.run import train_classifier
from roentmod_fast_train.settings import TrainSettings, parse_mix

SETTINGS = TrainSettings(network="small", size=32, batch=8, epochs=2, learning_rate=1e-3)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """The sums of several threads may differ in the last bit from run to run."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(cohort: Cohort) -> SampleSet:
    return read_samples([cohort.folder])


@pytest.fixture(scope="module")
def images(data: SampleSet, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    return load_images(data, 32, tmp_path_factory.mktemp("images") / "images.npy")


def test_the_loss_is_that_of_known_labels_alone() -> None:
    logits = torch.tensor([[0.3, -1.0], [2.0, 0.5]], requires_grad=True)
    targets = torch.tensor([[1.0, math.nan], [0.25, math.nan]])
    loss = masked_loss(logits, targets)
    p = torch.sigmoid(logits.detach()[:, 0])
    t = targets[:, 0]
    assert float(loss.detach()) == pytest.approx(float(-(t * p.log() + (1 - t) * (1 - p).log()).mean()))
    loss.backward()
    assert torch.isfinite(logits.grad).all() and (logits.grad[:, 1] == 0).all()  # type: ignore[union-attr, index]
    none = masked_loss(logits, torch.full((2, 2), math.nan))
    assert float(none.detach()) == 0


def test_three_steps_are_those_of_a_plain_loop(data: SampleSet, images: np.ndarray, tmp_path: Path) -> None:
    settings = replace(SETTINGS, augment=False)
    training = Training(data, images, settings, tmp_path)
    running = training.run()
    for _ in range(3):
        next(running)
    torch.manual_seed(settings.seed)
    network = Small(2)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    labels = torch.from_numpy(data.labels())
    network.train()
    for places in Batches(data, settings).of_epoch(0)[:3]:
        x = torch.from_numpy(images[places]).float()[:, None] / 255
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(x), labels[places])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name, value in network.state_dict().items():
        assert torch.equal(value, training._state.network.state_dict()[name]), name


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["network"]  # type: ignore[no-any-return]


def test_a_stopped_run_goes_on_bit_for_bit(data: SampleSet, images: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    list(Training(data, images, SETTINGS, tmp_path / "whole").run())
    (tmp_path / "parts").mkdir()
    for stop_after in (1, 6, 100):  # within the first epoch, within the second, never
        steps: list[int] = []
        training = Training(data, images, SETTINGS, tmp_path / "parts", stop=lambda: len(steps) >= stop_after)  # noqa: B023
        for _ in training.run():
            steps.append(1)
    assert training.finished
    for name in (CHECKPOINT, BEST):
        first, second = weights(tmp_path / "whole" / name), weights(tmp_path / "parts" / name)
        assert all(torch.equal(value, second[key]) for key, value in first.items())
    rows = [list(csv.reader((tmp_path / part / LOG).read_text().splitlines())) for part in ("whole", "parts")]
    assert [row[:-1] for row in rows[0]] == [row[:-1] for row in rows[1]] and len(rows[0]) == 3


def test_batches_without_images_are_refused(data: SampleSet, tmp_path: Path) -> None:
    edits = replace(data, samples=tuple(each for each in data.samples if (each.split, each.kind) != (TRAIN, REAL)))
    for change in ({"mix": (10, 22)}, {"batches": "pairs"}):
        with pytest.raises(SettingError, match="no real image with a label in the split train"):
            Batches(edits, replace(SETTINGS, **change))  # type: ignore[arg-type]
    others = tuple(replace(each, source="film") if each.kind == REAL else each for each in data.samples)
    with pytest.raises(SettingError, match="no labelled source in the split train has an edit"):
        train_classifier(replace(data, samples=others), replace(SETTINGS, batches="pairs"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_real_images_that_pairs_leave_out_are_counted(data: SampleSet) -> None:
    one = data.of(TRAIN, REAL)[0]
    film = replace(data.samples[one], source="film")
    more = replace(data, samples=tuple(film if at == one else each for at, each in enumerate(data.samples)))
    assert Batches(more, replace(SETTINGS, batches="pairs")).unpaired == 1
    assert Batches(more, SETTINGS).unpaired == 0


def test_a_run_in_this_folder_has_a_name(data: SampleSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    monkeypatch.setattr("roentmod_fast_train.run.write_model", lambda network, name, *rest: names.append(name) or 0.0)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert train_classifier(data, replace(SETTINGS, epochs=1), Path()) == Path("model.onnx")
    assert names == ["here"]


def test_a_run_ends_in_onnx_with_a_contract(data: SampleSet, images: np.ndarray, tmp_path: Path) -> None:
    path = train_classifier(data, SETTINGS, tmp_path / "run")
    assert path == tmp_path / "run" / "model.onnx"
    model = open_model(path, device="cpu")
    assert model.contract.findings == data.findings and model.contract.name == "run"
    training = Training(data, images, SETTINGS, tmp_path / "run")
    expected = training.predict(training.best_network(), [0, 1, 2])
    inputs = images[:3, None].astype(np.float32) / np.float32(255)
    assert np.abs(model.run(inputs) - expected).max() < 1e-4
    facts = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert facts["data"] == data.digest and facts["settings"]["learning_rate"] == 1e-3
    with pytest.raises(SettingError, match="a run of other settings"):
        train_classifier(data, replace(SETTINGS, seed=1), tmp_path / "run")


def test_the_best_is_a_copy_and_not_the_last(data: SampleSet, images: np.ndarray, tmp_path: Path) -> None:
    training = Training(data, images, replace(SETTINGS, epochs=3), tmp_path)
    scores = iter([0.9, 0.5, 0.6])
    training._check = lambda: {"cardiomegaly": next(scores), "hernia": 0.5}  # type: ignore[method-assign]
    list(training.run())
    best, last = weights(tmp_path / BEST), weights(tmp_path / CHECKPOINT)
    assert torch.load(tmp_path / BEST, weights_only=True)["epoch"] == 1
    assert not torch.equal(best["head.weight"], last["head.weight"])


def test_training_ends_early_without_improvement(data: SampleSet, images: np.ndarray, tmp_path: Path) -> None:
    training = Training(data, images, replace(SETTINGS, epochs=50, patience=2), tmp_path)
    training._check = lambda: {"cardiomegaly": 0.5, "hernia": 0.5}  # type: ignore[method-assign]
    list(training.run())
    assert len((tmp_path / LOG).read_text().splitlines()) == 1 + 3


def kinds(data: SampleSet, places: np.ndarray) -> Counter[str]:
    return Counter(data.samples[at].kind for at in places.tolist())


def test_batches_hold_what_the_mix_says(data: SampleSet) -> None:
    train = [data.of(TRAIN, kind) for kind in (REAL, SYNTHETIC)]
    assert [len(each) for each in train] == [16, 32]
    natural = np.concatenate(Batches(data, SETTINGS).of_epoch(0))
    assert sorted(natural.tolist()) == sorted(train[0] + train[1])
    real_only = np.concatenate(Batches(data, replace(SETTINGS, mix=(1, 0))).of_epoch(0))
    assert sorted(real_only.tolist()) == train[0]
    mixed = Batches(data, replace(SETTINGS, mix=(1, 3)))
    epochs = [mixed.of_epoch(epoch) for epoch in range(4)]
    assert all(kinds(data, places) == {REAL: 2, SYNTHETIC: 6} for epoch in epochs for places in epoch)
    synthetic = Counter(
        at for epoch in epochs[:2] for places in epoch for at in places.tolist() if data.samples[at].kind == SYNTHETIC
    )
    assert set(synthetic.values()) == {3}, "two epochs of 48 draws: all 32 come equally often"
    assert [p.tolist() for p in mixed.of_epoch(3)] == [p.tolist() for p in epochs[3]]
    assert [p.tolist() for p in epochs[0]] != [p.tolist() for p in epochs[1]]


def test_pairs_share_a_batch(data: SampleSet) -> None:
    for places in Batches(data, replace(SETTINGS, batches="pairs", mix=(1, 2))).of_epoch(0):
        sources = Counter(data.samples[at].source for at in places.tolist())
        assert set(sources.values()) == {3} and len(places) <= 8


def test_a_batch_of_one_joins_the_one_before() -> None:
    parts = [np.arange(4), np.arange(4, 8), np.array([8])]
    assert [len(each) for each in without_last_of_one(parts)] == [4, 5]


def test_augmentation_never_mirrors() -> None:
    ramp = torch.linspace(0, 1, 32).expand(1, 1, 32, 32).repeat(64, 1, 1, 1)
    changed = augment(ramp, np.random.default_rng(0))
    middle = changed[:, 0, 8:24, 8:24].mean(dim=1)
    assert ((middle[:, -1] - middle[:, 0]) > 0).all(), "dark stays on the left"
    assert not torch.equal(changed, ramp) and changed.min() >= 0 and changed.max() <= 1


@pytest.mark.parametrize(
    ("published", "present"),
    [
        ("features.denseblock1.denselayer1.norm.1.weight", "features.denseblock1.denselayer1.norm1.weight"),
        ("features.denseblock4.denselayer16.conv.2.weight", "features.denseblock4.denselayer16.conv2.weight"),
        ("features.norm5.weight", "features.norm5.weight"),
        ("features.denseblock1.denselayer1.norm1.weight", "features.denseblock1.denselayer1.norm1.weight"),
        ("body.0.1.weight", "body.0.1.weight"),
    ],
)
def test_names_of_published_weights(published: str, present: str) -> None:
    assert present_name(published) == present


def test_weights_from_before_batches_were_counted_fit(tmp_path: Path) -> None:
    """torchvision's densenet121-a639ec97.pth has no num_batches_tracked."""
    path = tmp_path / "published.pt"
    state = {name: value for name, value in Small(2).state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save(state, path)
    network = make_network(replace(SETTINGS, pretrained=str(path)), 2)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in state.items())
    assert int(network.state_dict()["body.1.num_batches_tracked"]) == 0
    del state["body.1.running_var"]
    torch.save(state, path)
    with pytest.raises(SettingError, match=r"no weights of body\.1\.running_var"):
        make_network(replace(SETTINGS, pretrained=str(path)), 2)


def test_an_edit_among_real_radiographs_is_refused(tmp_path: Path) -> None:
    from tests.study.test_samples import write_synthetic, write_table

    path = write_table(tmp_path)
    write_synthetic(tmp_path / "1.png")
    with pytest.raises(SettingError, match=r"1\.png: already synthetic: leave it out") as error:
        load_images(read_samples([], [path]), 32, tmp_path / "images.npy")
    assert "--force" not in str(error.value), "train has no such option"


def test_what_cannot_train_is_known_before_an_image_is_read(data: SampleSet, tmp_path: Path) -> None:
    read: list[int] = []
    for settings, device, error in (
        (TrainSettings(size=32, network="small", mixed_precision=True), "cpu", SettingError),
        *(() if torch.cuda.is_available() else ((TrainSettings(size=32, network="small"), "cuda", EngineError),)),
    ):
        with pytest.raises(error):
            train_classifier(
                data, settings, tmp_path / "run", device=device, reading=lambda done, count: read.append(done)
            )
    assert not read and not (tmp_path / "run").exists()


def test_weights_to_start_from_must_fit(tmp_path: Path) -> None:
    path = tmp_path / "small.pt"
    torch.save(Small(5).state_dict(), path)
    network = make_network(replace(SETTINGS, pretrained=str(path)), 2)
    kept = torch.load(path, weights_only=True)
    assert torch.equal(network.state_dict()["body.0.weight"], kept["body.0.weight"])
    torch.save({"other": torch.zeros(1)}, path)
    with pytest.raises(SettingError, match="no weights of body"):
        make_network(replace(SETTINGS, pretrained=str(path)), 2)
    path.write_bytes(b"no state")
    with pytest.raises(SettingError, match="no state dict"):
        make_network(replace(SETTINGS, pretrained=str(path)), 2)


def test_a_loss_that_is_not_finite_stops_the_run(data: SampleSet, images: np.ndarray, tmp_path: Path) -> None:
    training = Training(data, images, SETTINGS, tmp_path)
    with torch.no_grad():
        training._state.network.head.weight.fill_(math.inf)  # type: ignore[union-attr, operator]
    with pytest.raises(EngineError, match="the loss is nan in epoch 1, step 1"):
        list(training.run())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0.0}, "learning rate 0"),
        ({"mix": (0, 0)}, "mix 0:0"),
        ({"batches": "pairs", "mix": (1, 0)}, "batches of pairs"),
        ({"network": "resnet"}, "network 'resnet'"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        replace(SETTINGS, **change).check()  # type: ignore[arg-type]


def test_a_mix_is_natural_or_two_numbers() -> None:
    assert parse_mix("natural") == "natural" and parse_mix("10:22") == (10, 22)
    with pytest.raises(SettingError, match="mix 'half'"):
        parse_mix("half")


def test_the_commands_train_and_evaluate(cohort: Cohort, tmp_path: Path) -> None:
    options = ["--network", "small", "--size", "32", "--epochs", "1", "--batch", "16", "--learning-rate", "1e-3"]
    run = CliRunner().invoke(cli, ["train", str(cohort.folder), "-o", str(tmp_path / "run"), *options])
    assert run.exit_code == 0, run.stderr
    assert run.stdout.strip() == str(tmp_path / "run" / "model.onnx")
    assert "train, synthetic: 32 images of 16 patients; cardiomegaly" in run.stderr
    arguments = ["--table", str(cohort.folder), "-o", str(tmp_path / "auc"), "--resamples", "100"]
    result = CliRunner().invoke(cli, ["train", "evaluate", str(tmp_path / "run"), *arguments])
    assert result.exit_code == 0, result.stderr
    rows = list(csv.DictReader((tmp_path / "auc" / "auc.csv").read_text().splitlines()))
    assert {row["finding"] for row in rows} == {"cardiomegaly", "hernia"} and {row["n_images"] for row in rows} == {"8"}


def test_an_image_that_is_not_what_the_manifest_says_is_refused(
    cohort: Cohort, data: SampleSet, tmp_path: Path
) -> None:
    edit = next(each for each in data.samples if each.kind == SYNTHETIC)
    path = edit.file.path
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-4] + b"\0\0\0\0")
        with pytest.raises(SettingError, match="its content is not what the manifest says"):
            load_images(data, 32, tmp_path / "images.npy")
        path.unlink()
        with pytest.raises(SettingError, match="training needs every image"):
            load_images(data, 32, tmp_path / "images.npy")
    finally:
        path.write_bytes(whole)
    assert load_images(data, 32, tmp_path / "images.npy").shape == (len(data.samples), 32, 32)
