"""``identity`` gives what plain torch and scikit-learn give for the same cohort."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from click.testing import CliRunner
from PIL import Image
from sklearn.metrics import pairwise_distances, roc_auc_score
from torch import nn

from roentmod_fast.cli import cli
from roentmod_fast.study.models.contract import Contract
from roentmod_fast_export.model_file import write_model
from tests.study.drawn_cohort import drawn_cohort
from tests.study.identity.conftest import near_edit

CONTRACT = Contract(
    name="torch",
    kind="embedder",
    size=(20, 20),
    channels=3,
    range=(0.0, 1.0),
    fit="stretch",
    filter="bilinear-torch",
    values="embedding",
    mean=(0.4, 0.5, 0.6),
    std=(0.2, 0.3, 0.4),
)


def test_it_equals_torch_and_scikit_learn(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 5, 3), nn.ReLU(), nn.Flatten()).eval()
    write_model(network, CONTRACT, tmp_path / "torch.onnx")
    cohort = drawn_cohort(tmp_path / "cohort", ["edema"], patients=9, size=32, edit=near_edit)
    arguments = ["identity", str(cohort.folder), "--embed", str(tmp_path / "torch.onnx"), "-o", str(tmp_path / "out")]
    assert CliRunner().invoke(cli, [*arguments, "--resamples", "50"], catch_exceptions=False).exit_code == 0

    def embed(path: Path) -> np.ndarray:
        image = torch.from_numpy(np.asarray(Image.open(path), dtype=np.float32) / 255)
        small = functional.interpolate(image[None, None], (20, 20), mode="bilinear", align_corners=False)
        mean, std = (torch.tensor(values)[None, :, None, None] for values in (CONTRACT.mean, CONTRACT.std))
        with torch.no_grad():
            return network((small.expand(1, 3, 20, 20) - mean) / std)[0].double().numpy()

    rows = cohort.sources()
    sources = np.stack([embed(Path(cohort.plan.origin.root) / row.path) for row in rows])
    edits = np.stack([embed(cohort.folder / cohort.paths(cohort.edits_of(row)[0].id)["png"]) for row in rows])
    distance = pairwise_distances(edits, sources, metric="sqeuclidean")
    cosine = 1 - pairwise_distances(edits, sources, metric="cosine")
    numbers = {row.key: number for number, row in enumerate(rows)}
    ids = {cohort.edits_of(row)[0].id: number for number, row in enumerate(rows)}
    with (tmp_path / "out" / "pairs.csv").open(encoding="utf-8") as file:
        pairs = list(csv.DictReader(file))
    assert len(pairs) == 18
    for pair in pairs:
        edit, source = ids[pair["edit_id"]], numbers[pair["source_key"]]
        np.testing.assert_allclose(float(pair["torch.d2"]), distance[edit, source], rtol=1e-4)
        np.testing.assert_allclose(float(pair["torch.cosine"]), cosine[edit, source], atol=1e-5)
        assert (edit == source) == (pair["score"] == "model")
        if edit == source:
            assert float(pair["torch.rank"]) == 1 + (distance[edit] < distance[edit, edit]).sum()
    with (tmp_path / "out" / "summary.csv").open(encoding="utf-8") as file:
        summary = {(row["measure"], row["prompt"], row["score"]): row for row in csv.DictReader(file)}
    model, control = (summary["torch", "edema", score] for score in ("model", "control"))
    own = distance.diagonal()
    other = [
        distance[ids[pair["edit_id"]], numbers[pair["source_key"]]] for pair in pairs if pair["score"] == "control"
    ]
    ranks = 1 + (distance < own[:, None]).sum(axis=1)
    auc = roc_auc_score(np.repeat([1, 0], 9), -np.concatenate([own, other]))
    np.testing.assert_allclose(float(model["median"]), np.median(own), rtol=1e-4)
    np.testing.assert_allclose(float(model["iqr"]), np.subtract(*np.quantile(own, [0.75, 0.25])), rtol=1e-3)
    np.testing.assert_allclose(float(control["median"]), np.median(other), rtol=1e-4)
    np.testing.assert_allclose(float(model["rank1"]), (ranks == 1).mean())
    np.testing.assert_allclose(float(model["mrr"]), (1 / ranks).mean())
    np.testing.assert_allclose(float(model["auc"]), auc)
