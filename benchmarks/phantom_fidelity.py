"""Does an engine do what it is asked, on radiographs whose truth is known? Writes a report.

    python benchmarks/phantom_fidelity.py                      # 70 phantoms, all seven prompts: minutes on two cores
    python benchmarks/phantom_fidelity.py --phantoms 4 --out build/try.json

The phantoms are those of the seeds from 0 on; the engine phantom is trained on seeds from 100,000 on. Every edit is
put back in each compose mode and read by ``phantom_reader``: is the asked finding there, which others are, how much of
the patient is kept outside the finding's true mask, how near is the whole to the perfect edit. Then two dose curves:
guidance against the amount of the finding, strength against what is kept of the patient.

``--model-card`` writes the tables into the engine's CARD.md, between its marks.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fidelity import psnr, write_model_card
from phantom_reader import read
from roentmod_fast.editor import Editor
from roentmod_fast.findings import FINDINGS, NORMAL_PROMPT, PROMPTS
from roentmod_fast.machine import installed_versions
from roentmod_fast.phantom import Phantom, draw
from roentmod_fast.radiograph.compose import compose
from roentmod_fast.settings import COMPOSE_MODES, EditConfig

RESULTS = Path(__file__).parent / "results"
KEY_OF = {finding.prompt: finding.key for finding in FINDINGS}

Array = NDArray[np.float32]


def amount(source: Phantom, truth: Phantom, edited: Array) -> float:
    """How much of the true change the edit makes: its projection on the truth's change, 1 for a perfect edit."""
    wanted, made = truth.image - source.image, edited - source.image
    return float((wanted * made).sum() / (wanted * wanted).sum())


def measure_edits(editor: Editor, seeds: Iterable[int], size: int) -> tuple[list[dict[str, Any]], list[Array]]:
    """Edit each phantom towards each prompt; return one record an edit and compose mode, and images of a few."""
    records, sheet = [], []
    for seed in seeds:
        source = draw(size, seed)
        prepared = editor.prepare(source.image, EditConfig(seed=seed, compose="contrast"))
        reconstruction = editor.reconstruct(prepared)
        row = [source.image]
        for prompt in PROMPTS:
            result = editor.apply(prepared, prompt)
            key = KEY_OF.get(prompt)
            truth = source if key is None else draw(size, seed, (key,))
            references = {"contrast": prepared.reference, "delta": reconstruction, "replace": None}
            for mode in COMPOSE_MODES:
                image = compose(source.image, result.decoded, references[mode], prepared.letterbox, mode)
                found, numbers = read(source, image)
                records.append(
                    {
                        "seed": seed,
                        "prompt": prompt,
                        "compose": mode,
                        "present": key in found,
                        "found": sorted(found),
                        "psnr_outside_mask": psnr(image, source.image, ~truth.mask),
                        "psnr_source": psnr(image, source.image),
                        "psnr_truth": psnr(image, truth.image),
                        "amount": None if key is None else amount(source, truth, image),
                        "numbers": {name: round(value, 4) for name, value in numbers.items()},
                    }
                )
            row.append(result.image)
        if len(sheet) < 8:
            truths = [draw(size, seed, (KEY_OF[prompt],) if prompt in KEY_OF else ()).image for prompt in PROMPTS]
            sheet += [np.concatenate(row, axis=1), np.concatenate([source.image, *truths], axis=1)]
        print(f"phantom {seed}: {sum(r['present'] for r in records if r['seed'] == seed)} findings present", flush=True)
    return records, sheet


def measure_doses(editor: Editor, seeds: Iterable[int], size: int, mode: str) -> dict[str, list[dict[str, float]]]:
    """Vary guidance and strength apart; return averages over phantoms and findings."""
    curves: dict[str, list[dict[str, float]]] = {"guidance": [], "strength": []}
    settings = [("guidance", value) for value in (1.0, 2.0, 4.0, 7.5)] + [
        ("strength", value) for value in (0.2, 0.4, 0.6, 0.8)
    ]
    for name, value in settings:
        amounts, kept = [], []
        for seed in seeds:
            source = draw(size, seed)
            config = EditConfig(seed=seed, compose=mode, **{name: value})
            prepared = editor.prepare(source.image, config)
            for finding in FINDINGS:
                result = editor.apply(prepared, finding.prompt)
                truth = draw(size, seed, (finding.key,))
                amounts.append(amount(source, truth, result.image))
                outside = compose(source.image, result.decoded, None, prepared.letterbox, "replace")
                kept.append(psnr(outside, source.image, ~truth.mask))
        curves[name].append(
            {name: value, "amount": float(np.mean(amounts)), "psnr_outside_mask_replace": float(np.mean(kept))}
        )
        print(f"{name} {value}: amount {np.mean(amounts):.2f}, kept {np.mean(kept):.1f} dB", flush=True)
    return curves


def summarise(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a prompt and compose mode: rates and medians."""
    groups = defaultdict(list)
    for record in records:
        groups[record["prompt"], record["compose"]].append(record)
    rows = []
    for (prompt, mode), group in groups.items():
        key = KEY_OF.get(prompt)
        found: dict[str, int] = defaultdict(int)
        for record in group:
            for name in record["found"]:
                found[name] += 1
        unasked = {name: round(count / len(group), 3) for name, count in found.items() if name != key}
        rows.append(
            {
                "prompt": prompt,
                "compose": mode,
                "phantoms": len(group),
                "present": None if key is None else float(np.mean([record["present"] for record in group])),
                "psnr_outside_mask_median": float(np.median([record["psnr_outside_mask"] for record in group])),
                "psnr_outside_mask_min": float(np.min([record["psnr_outside_mask"] for record in group])),
                "psnr_truth_median": float(np.median([record["psnr_truth"] for record in group])),
                "amount_median": None if key is None else float(np.median([record["amount"] for record in group])),
                "unasked": unasked,
            }
        )
    return rows


def table(report: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    lines = [
        f"{report['phantoms']} phantoms of {report['size']} pixels a side that training never saw, engine defaults, "
        f"seed of the noise = seed of the phantom. Measured {report['date']} with manifest "
        f"`{report['engine_hash'][:12]}`.",
        "",
        "| prompt | compose | finding present | kept outside the mask, median (worst) | against the perfect edit "
        "| amount of the finding | unasked findings |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        unasked = ", ".join(f"{name} {share:.0%}" for name, share in sorted(row["unasked"].items())) or "none"
        present = "" if row["present"] is None else f"{row['present']:.0%}"
        share = "" if row["amount_median"] is None else f"{row['amount_median']:.2f}"
        lines.append(
            f"| {row['prompt']} | {row['compose']} | {present} | {row['psnr_outside_mask_median']:.1f} "
            f"({row['psnr_outside_mask_min']:.1f}) dB | {row['psnr_truth_median']:.1f} dB | {share} | {unasked} |"
        )
    lines += [
        "",
        f"More guidance gives more of the finding, more strength less of the patient "
        f"({report['dose_phantoms']} phantoms, "
        "six findings, means; kept: the engine's own image outside the mask):",
        "",
        "| setting | amount of the finding | kept outside the mask |",
        "|---|---|---|",
    ]
    for name, curve in report["doses"].items():
        lines += [
            f"| {name} {point[name]:g} | {point['amount']:.2f} | {point['psnr_outside_mask_replace']:.1f} dB |"
            for point in curve
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="phantom", help="name or folder (default: phantom)")
    parser.add_argument("--phantoms", type=int, default=70)
    parser.add_argument("--dose-phantoms", type=int, default=8)
    parser.add_argument("--out", type=Path, default=RESULTS / "phantom_fidelity.json")
    parser.add_argument("--model-card", action="store_true", help="write the tables into the engine's CARD.md")
    args = parser.parse_args()
    editor = Editor.load(args.engine)
    size = editor.model.image_size
    started = time.monotonic()
    records, sheet = measure_edits(editor, range(args.phantoms), size)
    doses = measure_doses(editor, range(args.dose_phantoms), size, "contrast")
    report = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "packages": installed_versions(),
        "engine": editor.bundle.name,
        "engine_hash": editor.bundle.manifest_hash,
        "size": size,
        "phantoms": args.phantoms,
        "dose_phantoms": args.dose_phantoms,
        "normal_prompt": NORMAL_PROMPT,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "rows": summarise(records),
        "doses": doses,
        "records": records,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    sheets = Image.fromarray((np.concatenate(sheet) * 255).round().astype(np.uint8))
    sheets.save(args.out.with_suffix(".png"))
    text = table(report)
    if args.model_card:
        write_model_card(editor.bundle.path("CARD.md"), text, "phantom_fidelity.py")
    print(text)


if __name__ == "__main__":
    main()
