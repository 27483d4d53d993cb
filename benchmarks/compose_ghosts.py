"""Does composing an edit leave the old border behind? On radiographs whose perfect edit is known. Writes a report.

    python benchmarks/compose_ghosts.py                                   # 12 phantoms, seven prompts: minutes
    python benchmarks/compose_ghosts.py --phantoms 0 --films FILMS --start engines/cxr_mini/start.pt \\
        --out benchmarks/results/compose_ghosts-films.json                # drawn films

Phantoms are edited by an engine. Films need the ``export`` extra: findings are drawn into films of the ``test`` part,
and the engine's images are stood in for by cxr-mini's autoencoder (``start.pt``): the reference is the source's latents
decoded, the edit is 0.9 of the way from there to the drawn film's, both with an error of low frequency.

Three ways to compose are compared: ``plain`` adds the change and drops no detail, ``first try`` weighs all of
``source - reference`` by the smoothed product of the gradients over the smoothed square of the reference's, and
``compose`` is what the editor does. Each is measured by the PSNR to the perfect edit, over the image, inside what the
finding changes and outside, and by the ghost: the projection of the error on the fine detail of the source where the
perfect edit has lost its border, 1 for ``plain`` and 0 for a perfect edit. It is only given for findings that remove a
border; below 0 means that detail is missing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from phantom_reader import smooth
from roentmod_fast.editor import Editor
from roentmod_fast.findings import FINDINGS, PROMPTS
from roentmod_fast.machine import machine_facts
from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.compose import compose
from roentmod_fast.radiograph.letterbox import Letterbox
from roentmod_fast.settings import EditConfig

RESULTS = Path(__file__).parent / "results"
KEY_OF = {finding.prompt: finding.key for finding in FINDINGS}
REPORT_SEED = 400
"""First phantom that is measured; those of 300 to 325 chose the way to compose."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """An edit before it is composed, and the perfect one. ``references``: by compose mode, (S, S)."""

    kind: str
    prompt: str
    source: Array
    perfect: Array
    decoded: Array
    references: dict[str, Array]
    letterbox: Letterbox


def phantom_cases(editor: Editor, count: int, size: int) -> Iterator[Case]:
    """Edit phantoms of ``size`` pixels a side towards each prompt."""
    for seed in range(REPORT_SEED, REPORT_SEED + count):
        source = draw(size, seed).image
        prepared = editor.prepare(source, EditConfig(seed=seed, compose="contrast"), protect_markers=False)
        reconstruction = editor.reconstruct(prepared)
        for prompt in PROMPTS:
            decoded = editor.apply(prepared, prompt).decoded
            perfect = draw(size, seed, (KEY_OF[prompt],)).image if prompt in KEY_OF else source
            assert prepared.reference is not None
            references = {"contrast": prepared.reference, "delta": reconstruction}
            yield Case("phantoms", prompt, source, perfect, decoded, references, prepared.letterbox)
        print(f"phantom {seed}", flush=True)


def film_cases(folder: Path, start: Path, count: int, size: int) -> Iterator[Case]:
    """Draw findings into films without finding and bring both through the autoencoder."""
    import torch

    from roentmod_fast.radiograph.letterbox import resample
    from roentmod_fast.radiograph.read import read_radiograph
    from roentmod_fast_engines.cxr_mini.autoencoder import make_autoencoder, to_network
    from roentmod_fast_engines.cxr_mini.drawing.asked import Asked
    from roentmod_fast_engines.cxr_mini.drawing.draw import draw as draw_findings
    from roentmod_fast_engines.cxr_mini.drawing.geometry import Scene
    from roentmod_fast_engines.cxr_mini.films import SIZE, read_index
    from roentmod_fast_engines.cxr_mini.masks import faults, largest_part
    from roentmod_fast_engines.cxr_mini.segment import LungNet, find_lungs

    place = {"pneumonia": ("right", "middle"), "effusion": ("right", ""), "mass": ("left", "upper")}
    device = torch.device("cpu")
    state = torch.load(start, map_location="cpu", weights_only=True)
    networks = {"lungs": LungNet(), "vae": make_autoencoder()}
    for name, network in networks.items():
        network.load_state_dict({key: value.float() for key, value in state[name].items()})
        network.eval()

    @torch.no_grad()
    def encode(image: Array) -> Any:
        return networks["vae"].encode(to_network(image[None], device)).latent_dist.mode()

    @torch.no_grad()
    def decode(latents: Any) -> Array:
        image: Array = ((networks["vae"].decode(latents).sample.mean(1).clamp(-1, 1) + 1) / 2)[0].numpy()
        return image

    done = 0
    for index, film in enumerate(film for film in read_index(folder) if film.part == "test" and film.without_finding):
        if done == count:
            return
        image = read_radiograph(folder / film.file, force=True).image
        source = Letterbox.fit(image.shape, size).apply(image)
        letterbox = Letterbox.fit(source.shape, SIZE)
        small = letterbox.apply(source)
        found = find_lungs(networks["lungs"], np.round(small * 255).astype(np.uint8)[None], device)[0].astype(
            np.float32
        )
        if faults(found):
            continue
        lungs = [
            resample(largest_part(one > 0.5).astype(np.float32), source.shape, Image.Resampling.BILINEAR)
            for one in found
        ]
        try:
            scene = Scene.of(source, np.stack(lungs) > 0.5)
        except ValueError:
            continue
        rng = np.random.default_rng([index, 5])
        latents = encode(small)

        def error(share: float, rng: np.random.Generator = rng, latents: Any = latents) -> Any:
            coarse = rng.standard_normal((latents.shape[1], 8, 8)).astype(np.float32)
            fine = [resample(one, tuple(latents.shape[2:]), Image.Resampling.BICUBIC) for one in coarse]
            return share * float(latents.std()) * torch.from_numpy(np.stack(fine))[None]

        drift = error(0.1)
        references = {"contrast": decode(latents + drift), "delta": decode(latents)}
        for prompt in PROMPTS:
            key = KEY_OF.get(prompt)
            perfect = source if key is None else draw_findings(scene, [Asked(key, *place.get(key, ()))], index)[0]
            target = encode(letterbox.apply(perfect))
            decoded = decode(latents + 0.9 * (target - latents) + drift + error(0.04))
            yield Case("drawn films", prompt, source, perfect, decoded, references, letterbox)
        done += 1
        print(f"film {done} of {count}", flush=True)


def plain(case: Case, mode: str) -> Array:
    """Add the change to the source: what the editor did before it dropped detail."""
    change = case.letterbox.invert_smooth(case.decoded - case.references[mode])
    return np.asarray(np.clip(case.source + np.where(np.abs(change) < 0.5 / 255, 0, change), 0, 1), dtype=np.float32)


def first_try(case: Case, mode: str) -> Array:
    """Weigh all of ``source - reference`` by the gradient that survives."""
    reference = case.references[mode]
    before, after = (np.stack(np.gradient(image)) for image in (reference, case.decoded))
    product, square = smooth((before * after).sum(0), 2), smooth((before * before).sum(0), 2)
    weight = np.clip(product / (square + 1e-12), 0, 1).astype(np.float32)
    up = case.letterbox.invert_smooth
    return np.asarray(np.clip(up(case.decoded) + up(weight) * (case.source - up(reference)), 0, 1), dtype=np.float32)


def composed(case: Case, mode: str) -> Array:
    return compose(case.source, case.decoded, case.references[mode], case.letterbox, mode)


WAYS: dict[str, Callable[[Case, str], Array]] = {"plain": plain, "first try": first_try, "compose": composed}


def psnr(a: Array, b: Array, where: NDArray[np.bool_] | None = None) -> float | None:
    """Peak signal-to-noise ratio in dB of two images in [0, 1], over ``where``; None where that is empty."""
    error = np.square(a - b) if where is None else np.square(a - b)[where]
    return float(-10 * np.log10(max(float(error.mean()), 1e-12))) if error.size else None


def fine(image: Array, pixel: float) -> Array:
    return image - smooth(image, 2.5 * pixel)


def lost_border(source: Array, perfect: Array, pixel: float) -> Array:
    """Return the source's fine detail where the perfect edit has lost a border, 0 elsewhere.

    A border is a gradient of at least 0.012 a pixel of 256; it is lost where less than 0.4 of it is left. ``pixel``:
    the side of such a pixel in those of the images.
    """
    before, after = (np.hypot(*np.gradient(smooth(image, pixel))) for image in (source, perfect))
    lost = ((before > 0.012 / pixel) & (after < 0.4 * before)).astype(np.float32)
    return np.asarray(fine(source, pixel) * np.minimum(1, 2 * smooth(lost, pixel)), dtype=np.float32)


def measure(case: Case) -> list[dict[str, Any]]:
    """Return one record a compose mode and way."""
    pixel = case.source.shape[0] / 256
    changed = np.abs(smooth(case.perfect - case.source, pixel)) > 0.01
    inside = smooth(changed.astype(np.float32), 2 * pixel) > 0.05
    border = lost_border(case.source, case.perfect, pixel)
    # The filter is symmetric: the error's fine detail on the border is the error on the border's.
    template = fine(border, pixel)
    records = []
    for mode in case.references:
        change = np.abs(case.letterbox.invert_smooth(case.decoded - case.references[mode]))
        for way, function in WAYS.items():
            image = function(case, mode)
            records.append(
                {
                    "kind": case.kind,
                    "prompt": case.prompt,
                    "compose": mode,
                    "way": way,
                    "psnr": psnr(image, case.perfect),
                    "inside": psnr(image, case.perfect, inside),
                    "outside": psnr(image, case.perfect, ~inside),
                    "ghost": float(((image - case.perfect) * template).sum()),
                    "border": float((border * border).sum()),
                    "left_alone_changed": int((image != case.source)[change < 0.5 / 255].sum()),
                }
            )
    return records


def summarise(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a kind, compose mode, prompt and way: means of PSNR, and the ghost over all borders."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        groups[record["kind"], record["compose"], record["prompt"], record["way"]].append(record)
    rows = []
    for (kind, mode, prompt, way), group in groups.items():
        row: dict[str, Any] = {"kind": kind, "compose": mode, "prompt": prompt, "way": way, "count": len(group)}
        for name in ("psnr", "inside", "outside"):
            values = [record[name] for record in group if record[name] is not None]
            row[name] = float(np.mean(values)) if values else None
        usual = sum(record["ghost"] for record in groups[kind, mode, prompt, "plain"])
        border = sum(record["border"] for record in group)
        # A ghost of less than a tenth of the border's own detail is none that could be divided by.
        row["ghost"] = sum(record["ghost"] for record in group) / usual if usual > 0.1 * border > 0 else None
        row["left_alone_changed"] = sum(record["left_alone_changed"] for record in group)
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""

    def cell(value: float | None, digits: int) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    lines = [
        "| radiographs | compose | prompt | way | to the perfect edit, dB | inside the finding | outside | ghost |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        values = [cell(row[name], 2) for name in ("psnr", "inside", "outside", "ghost")]
        names = [f"{row['count']} {row['kind']}", row["compose"], row["prompt"], row["way"]]
        lines.append(f"| {' | '.join([*names, *values])} |")
    return "\n".join(lines) + "\n"


def strip(case: Case) -> NDArray[np.uint8]:
    """Return source, each way and the perfect edit side by side, uint8."""
    images = [case.source, *(function(case, "contrast") for function in WAYS.values()), case.perfect]
    return np.round(np.concatenate(images, axis=1) * 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="phantom", help="name or folder (default: phantom)")
    parser.add_argument("--phantoms", type=int, default=12)
    parser.add_argument("--films", type=Path, help="folder of films with index.csv; needs --start")
    parser.add_argument("--start", type=Path, help="weights of cxr-mini's autoencoder and lung network")
    parser.add_argument("--film-count", type=int, default=12)
    parser.add_argument("--size", type=int, default=512, help="side of phantoms and films in pixels (default: 512)")
    parser.add_argument("--out", type=Path, default=RESULTS / "compose_ghosts.json")
    parser.add_argument(
        "--sheets", type=Path, help="folder for images to look at; those of films stay out of the project"
    )
    args = parser.parse_args()
    if (args.films is None) != (args.start is None):
        parser.error("--films and --start go together")
    records, kept = [], defaultdict(list)

    def take(cases: Iterator[Case]) -> None:
        for case in cases:
            records.extend(measure(case))
            if args.sheets is not None and len(kept[case.kind, case.prompt]) < 3:
                kept[case.kind, case.prompt].append(strip(case))

    if args.phantoms:
        take(phantom_cases(Editor.load(args.engine), args.phantoms, args.size))
    if args.films is not None:
        take(film_cases(args.films, args.start, args.film_count, args.size))
    rows = summarise(records)
    report = {
        "date": time.strftime("%Y-%m-%d"),
        **machine_facts(),
        "engine": args.engine if args.phantoms else "the autoencoder of cxr-mini (start.pt)",
        "size": args.size,
        **({"first_seed": REPORT_SEED} if args.phantoms else {}),
        "rows": rows,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for (kind, prompt), strips in kept.items():
        args.sheets.mkdir(parents=True, exist_ok=True)
        path = args.sheets / f"{kind} {prompt}.png".replace(" ", "_")
        Image.fromarray(np.concatenate(strips)).save(path)
    print(table(rows))


if __name__ == "__main__":
    main()
