"""Does an engine do what it is asked, on real films of patients it never saw? Writes a report, a sheet, a table.

    python benchmarks/film_fidelity.py WORK --films FILMS                 # all test films without finding
    python benchmarks/film_fidelity.py WORK --films FILMS --most 12 --out build/try.json

WORK is the folder of ``python -m roentmod_fast_engines.cxr_mini``: it holds squares and lung fields. Films of the
``test`` part without finding are edited towards every prompt, as DICOM files are, with the engine's defaults. Each edit
is read by rules on the geometry (``film_reader.py``) and by a classifier, which has no part in the engine's training.
It is trained on films of the training part without and with drawn findings; its limits are set at 95 % specificity on
unedited films of the classifier and validation parts, which it never saw. PA and AP films are reported apart, rates
with Wilson intervals of 95 %.

``--model-card`` writes the tables into the engine's CARD.md. The contact sheet is made of films: keep it out of the
project.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from fidelity import psnr, write_model_card
from film_classifier import BATCH, FindingNet, scores, shrink, train_classifier
from film_reader import read
from roentmod_fast.editor import Editor
from roentmod_fast.findings import PROMPTS
from roentmod_fast.machine import installed_versions
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.settings import EditConfig
from roentmod_fast_engines.cxr_mini.drawing.asked import TABLE_4, Asked, choose, parse
from roentmod_fast_engines.cxr_mini.drawing.draw import draw
from roentmod_fast_engines.cxr_mini.drawing.geometry import Scene
from roentmod_fast_engines.cxr_mini.films import NIH, SIZE, Film, read_index
from roentmod_fast_engines.cxr_mini.masks import faults, largest_part
from roentmod_fast_engines.cxr_mini.pairs import to_bytes
from roentmod_fast_engines.cxr_mini.processes import spread

RESULTS = Path(__file__).parent / "results"
CLASSES = ("cardiomegaly", "edema", "pneumonia", "effusion", "hernia", "mass")
NORMAL = PROMPTS[0]
UNKNOWN = ("rib fracture",)
"""Prompts that name nothing the engine was taught: their edits are measured for what they change."""

Array = NDArray[np.float32]


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share."""
    if count == 0:
        return (0.0, 1.0)
    z, p = 1.96, hits / count
    middle, half = p + z * z / (2 * count), z * np.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    return float((middle - half) / (1 + z * z / count)), float((middle + half) / (1 + z * z / count))


def asked_by(prompt: str) -> Asked | None:
    """Return what a prompt asks for; nothing for the normal one and for one that the engine was not taught."""
    return None if prompt in (NORMAL, *UNKNOWN) else parse(prompt)


# --- the classifier ---------------------------------------------------------------------------------------------------


def draw_for_classifier(job: tuple[int, NDArray[np.uint8], Array, int]) -> list[NDArray[np.uint8]]:
    """Draw each finding ``rounds`` times into a film, given with its number and its lung fields; [] if it cannot be."""
    index, square, fields, rounds = job
    try:
        scene = Scene.of(square.astype(np.float32) / 255, np.stack([largest_part(one > 0.5) for one in fields]))
    except ValueError:
        return []
    drawn = []
    for turn in range(rounds):
        for k, key in enumerate(CLASSES):
            rng = np.random.default_rng([index, turn, k, 5])
            drawn.append(to_bytes(draw(scene, [choose(key, rng)], int(rng.integers(2**31)))[0]))
    return drawn


def known_labels(film: Film) -> Array:
    """Return which classes a film shows, (6,): 1, 0, or NaN where its labels do not say so reliably."""
    if film.without_finding:
        return np.zeros(len(CLASSES), np.float32)
    absent = ["hernia", "mass"] if film.findings.isdisjoint({"Hernia", "Mass", "Nodule"}) else []
    if film.source == NIH and "Cardiomegaly" not in film.findings:
        absent.append("cardiomegaly")
    return np.array([0 if key in absent else np.nan for key in CLASSES], np.float32)


def classifier_set(films: list[Film], squares: Array, found: Array, rounds: int) -> tuple[NDArray[np.uint8], Array]:
    """Draw findings into films of the training part: images, labels (n, 6) as ``known_labels`` and what is drawn."""
    usable = [i for i, film in enumerate(films) if film.part == "train" and not faults(found[i].astype(np.float32))]
    images, labels = [], []
    jobs = ((i, squares[i], found[i].astype(np.float32), rounds) for i in usable)
    for index, drawn in zip(usable, spread(draw_for_classifier, jobs), strict=True):
        own = known_labels(films[index])
        images += [squares[index]] * 2
        labels += [own] * 2
        for k, image in enumerate(drawn):
            label = own.copy()
            label[k % len(CLASSES)] = 1
            images.append(image)
            labels.append(label)
    return np.stack(images), np.stack(labels)


def classifier(
    films: list[Film], squares: Array, found: Array, work: Path, device: torch.device, steps: int
) -> tuple[FindingNet, Array]:
    """Train the classifier; return it and its limits, each at 95 % specificity on unedited films that it never saw."""
    images, labels = classifier_set(films, squares, found, 3)
    grids, y = shrink(images, device), torch.from_numpy(labels).to(device)
    weight = np.where(np.nansum(labels, 1) == 0, 2.0 / max(1, (np.nansum(labels, 1) == 0).sum()), 0.0)
    for column in range(len(CLASSES)):
        weight = weight + np.nan_to_num(labels[:, column]) / np.nansum(labels[:, column])
    share = weight / weight.sum()

    def draw_batch(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = rng.choice(len(grids), BATCH, p=share)
        return grids[chosen], y[chosen]

    network = train_classifier("classifier", draw_batch, len(CLASSES), work, device, steps=steps)
    calm = [i for i, film in enumerate(films) if film.part in ("classifier", "validation") and film.without_finding]
    return network, np.quantile(scores(network, squares[calm], device), 0.95, axis=0).astype(np.float32)


# --- edits ------------------------------------------------------------------------------------------------------------


def edit_film(
    editor: Editor, file: Path, number: int, prompts: tuple[str, ...], work: Path
) -> tuple[Array, list[Array]]:
    """Return a film at the engine's size and its edit towards each prompt; edits made before are read from ``work``."""
    image = read_radiograph(file, force=True).image
    prepared = editor.prepare(image, EditConfig(seed=number))
    key = hashlib.sha256("|".join(prompts).encode()).hexdigest()[:8]
    stored = work / "edits-of-films" / editor.bundle.manifest_hash[:12] / f"{number}.{key}.npy"
    if stored.is_file():
        return prepared.letterbox.apply(image), list(np.load(stored))
    results = editor.apply_batch([(prepared, prompt) for prompt in prompts])
    edited = [prepared.letterbox.apply(result.image) for result in results]
    stored.parent.mkdir(parents=True, exist_ok=True)
    np.save(stored, np.stack(edited))
    return prepared.letterbox.apply(image), edited


def measure(
    editor: Editor, folder: Path, films: list[Film], chosen: list[int], found: Array, prompts: tuple[str, ...],
    network: FindingNet, limits: Array, device: torch.device, work: Path,
) -> tuple[list[dict[str, Any]], list[Array]]:  # fmt: skip
    """Edit each film towards each prompt; return one record an edit, and rows for the sheet."""
    records, sheet = [], []
    for index in chosen:
        film = films[index]
        source, edits = edit_film(editor, folder / film.file, index, prompts, work)
        masks = np.stack([largest_part(one > 0.5) for one in found[index]])
        scene = Scene.of(source, masks)
        row = [source]
        before = scores(network, source[None], device)[0] > limits
        for prompt, edited in zip(prompts, edits, strict=True):
            asked = asked_by(prompt)
            truth, where = (source, {}) if asked is None else draw(scene, [asked], index)
            key = "" if asked is None else asked.key
            reading = read(scene, masks, edited)
            drawn = read(scene, masks, truth)
            seen, ideal = scores(network, np.stack([edited, truth]), device)
            region = np.zeros(source.shape, bool)
            for mask in where.values():
                region |= _wider(mask)
            wanted = truth - source
            record = {
                "film": index,
                "view": film.view,
                "prompt": prompt,
                "rules": key in reading.keys,
                "drawn": key in drawn.keys,
                "place": asked is not None and (key, asked.side, asked.lobe) in reading.found,
                "side": asked is not None and any(one[0] == key and one[1] == asked.side for one in reading.found),
                "others": sorted(reading.keys - {key}),
                "classifier drawn": bool(ideal[CLASSES.index(key)] > limits[CLASSES.index(key)])
                if key in CLASSES
                else None,
                "classifier": bool(seen[CLASSES.index(key)] > limits[CLASSES.index(key)]) if key in CLASSES else None,
                "classifier others": [
                    name for k, name in enumerate(CLASSES) if name != key and seen[k] > limits[k] and not before[k]
                ],
                "change": float(np.abs(edited - source).mean()),
                "outside": psnr(edited, source, ~region) if asked is not None else psnr(edited, source),
                "truth": psnr(edited, truth),
                "amount": None if asked is None else float((wanted * (edited - source)).sum() / (wanted**2).sum()),
            }
            records.append(record)
            row.append(edited)
        if len(sheet) < 40:
            sheet.append(np.concatenate(row, 1))
        seen_ = sum(r["rules"] for r in records if r["film"] == index)
        print(f"film {index} ({film.view}): {seen_} of {len(prompts)} findings by rules", flush=True)
    return records, sheet


def _wider(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A region and 6 pixels around it: findings have soft edges."""
    wide = mask.copy()
    for _ in range(6):
        more = wide.copy()
        more[1:] |= wide[:-1]
        more[:-1] |= wide[1:]
        more[:, 1:] |= wide[:, :-1]
        more[:, :-1] |= wide[:, 1:]
        wide = more
    return wide


def doses(
    editor: Editor, folder: Path, films: list[Film], chosen: list[int], found: Array
) -> dict[str, list[dict[str, Any]]]:
    """Vary guidance, strength and the word for the size; return means over films and the paper's six prompts."""
    curves: dict[str, list[dict[str, Any]]] = defaultdict(list)
    settings: list[tuple[str, Any]] = [("guidance", value) for value in (1.0, 2.0, 4.0, 7.5)]
    settings += [("strength", value) for value in (0.2, 0.4, 0.6)] + [("word", word) for word in ("small", "", "large")]
    for name, value in settings:
        amounts = []
        for index in chosen:
            image = read_radiograph(folder / films[index].file, force=True).image
            config = EditConfig(seed=index) if name == "word" else EditConfig(seed=index, **{name: value})
            prepared = editor.prepare(image, config)
            source = prepared.letterbox.apply(image)
            scene = Scene.of(source, np.stack([largest_part(one > 0.5) for one in found[index]]))
            for prompt in PROMPTS[1:]:
                word = value if name == "word" else ""
                if word and prompt in ("cardiomegaly", "edema", "middle lobe pneumonia"):
                    word = {"small": "mild", "large": "severe"}[word]
                truth, _ = draw(scene, [parse(prompt)], index)
                edited = prepared.letterbox.apply(editor.apply(prepared, f"{word} {prompt}".strip()).image)
                wanted = truth - source
                amounts.append(float((wanted * (edited - source)).sum() / (wanted**2).sum()))
        curves[name].append({name: value, "amount": float(np.mean(amounts))})
        print(f"{name} {value}: amount {np.mean(amounts):.2f}", flush=True)
    return dict(curves)


# --- the report -------------------------------------------------------------------------------------------------------


def summarise(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a prompt and view: rates with intervals, medians."""
    rows = []
    groups = defaultdict(list)
    for record in records:
        groups[record["prompt"], record["view"]].append(record)
    normal = {
        view: float(np.mean([r["change"] for r in group]))
        for (prompt, view), group in groups.items()
        if prompt == NORMAL
    }
    for (prompt, view), group in groups.items():
        asked = asked_by(prompt)
        count = len(group)
        others: dict[str, int] = defaultdict(int)
        for record in group:
            for name in record["others"]:
                others[name] += 1
        row: dict[str, Any] = {
            "prompt": prompt,
            "view": view,
            "films": count,
            "outside_median": float(np.median([r["outside"] for r in group])),
            "outside_min": float(np.min([r["outside"] for r in group])),
            "truth_median": float(np.median([r["truth"] for r in group])),
            "change": float(np.mean([r["change"] for r in group])),
            "any_other_rules": float(np.mean([bool(r["others"]) for r in group])),
            "any_other_classifier": float(np.mean([bool(r["classifier others"]) for r in group])),
            "others": {name: round(hits / count, 3) for name, hits in sorted(others.items())},
        }
        if asked is not None:
            for name in ("rules", "drawn", "classifier", "classifier drawn", "side", "place"):
                values = [r[name] for r in group if r[name] is not None]
                if not values or (name in ("side", "place") and not asked.side):
                    continue
                among = [r for r in group if r["rules"]] if name in ("side", "place") else group
                hits = sum(bool(r[name]) for r in among)
                row[name] = hits / max(1, len(among))
                row[f"{name}_interval"] = [round(value, 3) for value in wilson(hits, len(among))]
            row["amount_median"] = float(np.median([r["amount"] for r in group]))
            row["normal_share"] = normal.get(view, 0.0) / max(row["change"], 1e-9)
        rows.append(row)
    return rows


def table(report: dict[str, Any]) -> str:
    """Return the report as Markdown."""

    def share(row: dict[str, Any], name: str) -> str:
        if name not in row:
            return ""
        low, high = row[f"{name}_interval"]
        return f"{row[name]:.0%} ({low:.0%} to {high:.0%})"

    lines = [
        f"{report['films']} films without finding of {report['patients']} patients that no training saw, "
        "engine defaults, seed = number of the film. "
        f"Measured {report['date']} with manifest `{report['engine_hash'][:12]}`. "
        f"{report['left_out']} more were left out: their lung fields were not found. *Of the drawing*: how often "
        "they see the finding where it is drawn into these films, which is what they can do. In "
        "brackets: 95 % intervals; right side and place among the edits in which the rules see the finding.",
        "",
        "| prompt | view | films | present: rules | of the drawing | present: classifier | of the drawing | right side "
        "| unasked: rules, classifier | kept outside, median (worst) | against the drawn finding | amount |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        amount = f"{row['amount_median']:.2f}" if "amount_median" in row else ""
        drawn, ideal = (f"{row[name]:.0%}" if name in row else "" for name in ("drawn", "classifier drawn"))
        lines.append(
            f"| {row['prompt']} | {row['view']} | {row['films']} | {share(row, 'rules')} | {drawn} "
            f"| {share(row, 'classifier')} | {ideal} | {share(row, 'side')} "
            f"| {row['any_other_rules']:.0%}, {row['any_other_classifier']:.0%} "
            f"| {row['outside_median']:.1f} ({row['outside_min']:.1f}) dB | {row['truth_median']:.1f} dB | {amount} |"
        )
    ratios = [row["normal_share"] for row in report["rows"] if "normal_share" in row]
    if ratios:
        lines += [
            "",
            f'"{NORMAL}" changes {min(ratios):.0%} to {max(ratios):.0%} of what a finding changes (mean).',
        ]
    if report.get("doses"):
        lines += [
            "",
            f"Doses ({report['dose_films']} films, the paper's six prompts, mean amount; 1 is the drawn finding):",
            "",
        ]
        lines += ["| setting | amount |", "|---|---|"]
        for name, curve in report["doses"].items():
            lines += [f"| {name} {point[name] or 'none'} | {point['amount']:.2f} |" for point in curve]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="the recipe's folder")
    parser.add_argument("--films", type=Path, required=True)
    parser.add_argument("--engine", default="cxr-mini", help="name or folder")
    parser.add_argument("--most", type=int, help="at most so many films, PA and AP in turn")
    parser.add_argument("--part", default="test", help="part of the split to edit (default: test)")
    parser.add_argument(
        "--table-4", action="store_true", help="every prompt of Supplemental Table 4, not the final seven"
    )
    parser.add_argument("--dose-films", type=int, default=0)
    parser.add_argument("--classifier-steps", type=int, default=3000)
    parser.add_argument("--classifier-only", action="store_true", help="train the classifier and stop")
    parser.add_argument("--device", default="cpu", help="of the classifier")
    parser.add_argument("--out", type=Path, default=RESULTS / "film_fidelity.json")
    parser.add_argument("--sheet", type=Path, help="PNG of films and edits; keep it out of the project")
    parser.add_argument("--model-card", action="store_true", help="write the tables into the engine's CARD.md")
    options = parser.parse_args()
    started = time.monotonic()
    device = torch.device(options.device)
    films = read_index(options.films)
    squares = np.load(options.work / "films.npy")
    found = np.load(options.work / "lungs.npy", mmap_mode="r")
    network, limits = classifier(films, squares, found, options.work, device, options.classifier_steps)
    if options.classifier_only:
        return
    by_view: dict[str, list[int]] = {"PA": [], "AP": []}
    left_out = 0
    for index, film in enumerate(films):
        if film.source == NIH and film.part == options.part and film.without_finding:
            masks = np.stack([largest_part(one > 0.5) for one in found[index]])
            try:
                Scene.of(squares[index].astype(np.float32) / 255, masks)
                usable = not faults(found[index].astype(np.float32))
            except ValueError:
                usable = False
            if usable:
                by_view[film.view].append(index)
            else:
                left_out += 1
    chosen = [index for pair in zip(*by_view.values(), strict=False) for index in pair]
    chosen += [index for some in by_view.values() for index in some if index not in set(chosen)]
    chosen = chosen[: options.most]
    editor = Editor.load(options.engine)
    if editor.model.image_size != SIZE:
        raise SystemExit(f"{options.engine}: works at {editor.model.image_size} pixels, this benchmark at {SIZE}")
    prompts = (*(TABLE_4 if options.table_4 else PROMPTS), *UNKNOWN)
    records, sheet = measure(
        editor, options.films, films, chosen, found, prompts, network, limits, device, options.work
    )
    curves = doses(editor, options.films, films, chosen[: options.dose_films], found) if options.dose_films else {}
    report = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "packages": installed_versions(),
        "engine": editor.bundle.name,
        "engine_hash": editor.bundle.manifest_hash,
        "part": options.part,
        "films": len(chosen),
        "patients": len({films[index].patient for index in chosen}),
        "left_out": left_out,
        "dose_films": options.dose_films,
        "classifier_limits": dict(zip(CLASSES, limits.round(3).tolist(), strict=True)),
        "minutes": round((time.monotonic() - started) / 60, 1),
        "rows": summarise(records),
        "doses": curves,
        "records": records,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if options.sheet:
        Image.fromarray((np.clip(np.concatenate(sheet), 0, 1) * 255).round().astype(np.uint8)).save(options.sheet)
    text = table(report)
    if options.model_card:
        write_model_card(editor.bundle.path("CARD.md"), text, "film_fidelity.py")
    print(text)


if __name__ == "__main__":
    main()
