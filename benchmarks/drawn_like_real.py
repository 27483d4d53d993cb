"""Are the drawn findings like real ones? Writes a report.

    python benchmarks/drawn_like_real.py WORK --films FILMS

A classifier that was trained only on drawn edema and effusion, against the same films without, reads real NIH films of
other patients: AUC on films labelled edema or effusion against films without finding, view-matched. WORK is the
recipe's folder, with the films' squares and lung fields. What the labels' noise allows is estimated by the same
network trained on the real labels, cross-validated by patient.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from film_classifier import auc, scores, shrink, train_classifier
from roentmod_fast_engines.cxr_mini.drawing.asked import Asked
from roentmod_fast_engines.cxr_mini.drawing.draw import draw
from roentmod_fast_engines.cxr_mini.drawing.geometry import Scene
from roentmod_fast_engines.cxr_mini.films import NIH, Film, read_index
from roentmod_fast_engines.cxr_mini.masks import faults, largest_part
from roentmod_fast_engines.cxr_mini.pairs import to_bytes

RESULTS = Path(__file__).parent / "results"
LABELS = ("Edema", "Effusion")


def draw_fluid(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Draw an effusion of a kind and size as they come, in four of ten films on both sides: float32 (size, size)."""
    both = rng.random() < 0.4
    film = scene.image
    for side in rng.permutation(["right", "left"])[: 2 if both else 1]:
        kind = str(rng.choice(["", "", "layered", "subpulmonic"]))
        one = Asked("effusion", str(side), kind=kind, severity=float(rng.uniform(0.05, 1)))
        film = draw(replace(scene, image=film), [one], int(rng.integers(2**31)))[0]
    return film


def draw_training(
    squares: np.ndarray, found: np.ndarray, chosen: list[int], rounds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw each film ``rounds`` times: with nothing, edema, effusion, both. Images and labels (n, 2)."""
    images, labels = [], []
    for index in chosen:
        masks = np.stack([largest_part(one > 0.5) for one in found[index]])
        image = squares[index].astype(np.float32) / 255
        try:
            scene = Scene.of(image, masks)
        except ValueError:
            continue
        images.append(squares[index])
        labels.append((0.0, 0.0))
        for turn in range(rounds):
            rng = np.random.default_rng([index, turn, 3])
            edema = Asked("edema", kind="butterfly" if rng.random() < 0.2 else "", severity=float(rng.uniform(0.1, 1)))
            fluid = draw_fluid(scene, rng)
            images += [to_bytes(draw(scene, [edema], int(rng.integers(2**31)))[0]), to_bytes(fluid)]
            labels += [(1.0, 0.0), (0.0, 1.0)]
            both = draw(replace(scene, image=fluid), [edema], int(rng.integers(2**31)))[0]
            images.append(to_bytes(both))
            labels.append((1.0, 1.0))
    return np.stack(images), np.array(labels, dtype=np.float32)


def batches(images: np.ndarray, labels: np.ndarray, device: torch.device, size: int = 32):
    grids = shrink(images, device)
    y = torch.from_numpy(labels).to(device)
    # Each class as often as the films with neither.
    weight = np.where(labels.sum(1) == 0, 1.0, 0.0) / max(1, (labels.sum(1) == 0).sum())
    for column in range(labels.shape[1]):
        weight = weight + labels[:, column] / max(1.0, labels[:, column].sum())
    share = weight / weight.sum()

    def draw_batch(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        chosen = rng.choice(len(grids), size, p=share)
        return grids[chosen], y[chosen]

    return draw_batch


def real_sets(films: list[Film], parts: set[str], drawn_on: set[str]) -> dict[str, dict[str, list[int]]]:
    """Films of NIH patients that nothing was drawn on: for each view, without finding and with each label."""
    result: dict[str, dict[str, list[int]]] = {}
    for index, film in enumerate(films):
        if film.source != NIH or film.part not in parts or film.patient in drawn_on:
            continue
        view = result.setdefault(film.view, {"without": [], **{label: [] for label in LABELS}})
        if film.without_finding:
            view["without"].append(index)
        for label in LABELS:
            if label in film.findings and film.reader_class != "Normal":
                view[label].append(index)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="the recipe's folder")
    parser.add_argument("--films", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--real", action="store_true", help="also train on the real labels, in five folds by patient")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS / "drawn_like_real.json")
    options = parser.parse_args()
    device = torch.device(options.device)
    films = read_index(options.films)
    squares = np.load(options.work / "films.npy")
    found = np.load(options.work / "lungs.npy", mmap_mode="r")
    chosen = [
        i for i, film in enumerate(films)
        if film.part == "train" and film.without_finding and not faults(found[i].astype(np.float32))
    ]  # fmt: skip
    images, labels = draw_training(squares, found, chosen, options.rounds)
    network = train_classifier(
        "drawn-like-real", batches(images, labels, device), 2, options.work, device, steps=options.steps
    )
    read = scores(network, squares, device)
    drawn_on = {films[i].patient for i in chosen}
    report: dict[str, object] = {
        "date": time.strftime("%Y-%m-%d"),
        "drawn on films": len(chosen),
        "steps": options.steps,
    }
    for name, parts in (
        ("all other patients", {"test", "classifier", "validation", "train"}),
        ("test patients", {"test"}),
    ):
        rows = []
        for view, sets in sorted(real_sets(films, parts, drawn_on).items()):
            for column, label in enumerate(LABELS):
                if sets[label] and sets["without"]:
                    area = auc(read[sets[label], column], read[sets["without"], column])
                    rows.append(
                        {
                            "view": view,
                            "label": label,
                            "with": len(sets[label]),
                            "without": len(sets["without"]),
                            "auc": round(area, 3),
                        }
                    )
        report[name] = rows
    if options.real:
        report["trained on real labels"] = real_labels(films, squares, options.work, device, options.steps)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


def real_labels(
    films: list[Film], squares: np.ndarray, work: Path, device: torch.device, steps: int
) -> list[dict[str, object]]:
    """AUC of the same network trained on the real labels, out of fold, five folds by patient."""
    usable = [
        i for i, film in enumerate(films)
        if film.source == NIH
        and (film.without_finding or (set(LABELS) & film.findings and film.reader_class != "Normal"))
    ]  # fmt: skip
    labels = np.array([[float(label in films[i].findings) for label in LABELS] for i in usable], dtype=np.float32)
    patients = sorted({films[i].patient for i in usable})
    fold_of = {patient: k % 5 for k, patient in enumerate(np.random.default_rng(0).permutation(patients))}
    folds = np.array([fold_of[films[i].patient] for i in usable])
    out = np.zeros_like(labels)
    for fold in range(5):
        inside = np.flatnonzero(folds != fold)
        network = train_classifier(
            f"real-labels-{fold}",
            batches(squares[[usable[k] for k in inside]], labels[inside], device),
            2,
            work,
            device,
            steps=steps,
        )
        outside = np.flatnonzero(folds == fold)
        out[outside] = scores(network, squares[[usable[k] for k in outside]], device)
    rows: list[dict[str, object]] = []
    for view in ("AP", "PA"):
        of_view = np.array([films[i].view == view for i in usable])
        without = of_view & np.array([films[i].without_finding for i in usable])
        for column, label in enumerate(LABELS):
            positive = of_view & (labels[:, column] == 1)
            area = auc(out[positive, column], out[without, column])
            rows.append(
                {
                    "view": view,
                    "label": label,
                    "with": int(positive.sum()),
                    "without": int(without.sum()),
                    "auc": round(area, 3),
                }
            )
    return rows


if __name__ == "__main__":
    main()
