"""A stress test of an ONNX classifier equals the same computed by plain PyTorch."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from roentmod_fast.study.models.contract import Contract
from roentmod_fast.study.stress.run import StressTest
from roentmod_fast.study.stress.scorers import open_scorer
from roentmod_fast.study.stress.shifts import Options
from tests.study.drawn_cohort import drawn_cohort

FINDINGS = ("edema", None, "hernia")
MEAN, STD = (0.5,) * 3, (0.25,) * 3


def test_shifts_equal_those_of_plain_torch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)).eval()
    with torch.no_grad():
        network(torch.zeros(1, 3, 24, 24))
    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch to its own exporter
        torch.onnx.export(network, (torch.zeros(1, 3, 24, 24),), path, dynamo=True, external_data=False, verbose=False)
    contract = Contract(
        name="plain",
        kind="classifier",
        size=(24, 24),
        channels=3,
        range=(0.0, 1.0),
        fit="pad",
        filter="bilinear-torch",
        values="logits",
        findings=FINDINGS,
        mean=MEAN,
        std=STD,
    )
    contract.write(path.with_suffix(".json"))
    cohort = drawn_cohort(tmp_path / "cohort", ("edema", "hernia"), patients=5, size=40)
    test = StressTest(cohort, [open_scorer(str(path), "cpu")], tmp_path / "out", Options(count=100), round_trip=False)
    list(test.score())
    cells = {(cell.prompt, cell.finding): cell for cell in test.analyse().cells}

    def probabilities(file: Path) -> torch.Tensor:
        pixels = torch.from_numpy(np.asarray(Image.open(file), dtype=np.float32) / np.float32(255))[None, None]
        small = nn.functional.interpolate(pixels, (24, 24), mode="bilinear", align_corners=False)
        with torch.no_grad():
            return torch.sigmoid(network((small.expand(1, 3, -1, -1) - 0.5) / 0.25))[0].double()

    rows = cohort.sources()
    sources = torch.stack([probabilities(Path(cohort.plan.origin.root) / row.path) for row in rows])
    for at, prompt in enumerate(("edema", "hernia")):
        edits = torch.stack(
            [probabilities(cohort.folder / cohort.paths(cohort.edits_of(row)[at].id)["png"]) for row in rows]
        )
        for column, finding in ((0, "edema"), (2, "hernia")):
            before, after = sources[:, column], edits[:, column]

            def percentile(values: torch.Tensor, among: torch.Tensor = before) -> torch.Tensor:
                less = (among[None] < values[:, None] - 1e-7).double().sum(1)
                equal = ((among[None] - values[:, None]).abs() <= 1e-7).double().sum(1)
                return 100 * (less + equal / 2) / len(among)

            expected = float((percentile(after) - percentile(before)).median())
            cell = cells[prompt, finding]
            assert abs(cell.shift.estimate - expected) < 1e-9
            assert abs(cell.after - float(after.median())) < 1e-6
