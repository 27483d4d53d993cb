"""Fit the rules of ``film_reader.py`` on drawn findings in films of the training part; check them on other films.

    python benchmarks/film_reader_fit.py WORK --films FILMS --fit      # writes film_reader.json
    python benchmarks/film_reader_fit.py WORK --films FILMS            # what is seen in films of the classifier part

WORK is the folder of ``python -m roentmod_fast_engines.cxr_mini``. No engine's edit is used.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from film_reader import PLACES, RULES, Place, Rules, measure, regions
from roentmod_fast_engines.cxr_mini.drawing.asked import Asked
from roentmod_fast_engines.cxr_mini.drawing.draw import draw
from roentmod_fast_engines.cxr_mini.drawing.geometry import Scene
from roentmod_fast_engines.cxr_mini.drawing.tissue import blur
from roentmod_fast_engines.cxr_mini.films import NIH, Film, read_index
from roentmod_fast_engines.cxr_mini.masks import faults, largest_part
from roentmod_fast_engines.cxr_mini.processes import spread

Array = NDArray[np.float32]
Values = NDArray[np.float64]
Case = tuple[str, float, dict[str, float], frozenset[Place]]
"""The group, the severity, the numbers and what was drawn."""
Job = tuple[int, NDArray[np.uint8], Array, bool]

SEVERITIES = {"mild": 0.15, "default": 0.55, "severe": 0.95}
PAIRS, CALM = 6, 4
PENALTY, FALSE = 3.0, 0.012


def _scene(image: NDArray[np.uint8], fields: Array) -> tuple[Scene, NDArray[np.bool_]]:
    masks = np.stack([largest_part(one > 0.5) for one in fields])
    return Scene.of(image.astype(np.float32) / 255, masks), masks


def _asked(place: Place, severity: float, rng: np.random.Generator) -> Asked:
    kind = "butterfly" if place[0] == "edema" and rng.random() < 0.2 else ""
    return Asked(*place, kind=kind, severity=severity)


def _soften(scene: Scene, drawn: Array, rng: np.random.Generator) -> Array:
    """Make a drawing fainter or softer, as an engine's edit may be, and blur the film a little."""
    change = drawn - scene.image
    if rng.random() < 0.7:
        change = blur(change, rng.uniform(0.3, 3.0))
    change = change * np.float32(rng.uniform(0.6, 1.3))
    film = blur(scene.image, rng.uniform(0.3, 0.9)) if rng.random() < 0.5 else scene.image
    return np.clip(film + change, 0, 1).astype(np.float32)


def train_cases(job: Job) -> list[Case]:
    """Draw each place once, some pairs, nothing and emphysema into a film, each varied."""
    index, image, fields, _ = job
    try:
        scene, masks = _scene(image, fields)
    except ValueError:
        return []
    where, rng = regions(scene), np.random.default_rng([index, 11])
    plans: list[tuple[Place, ...]] = [(place,) for place in PLACES]
    for _ in range(PAIRS):
        first, second = (PLACES[k] for k in rng.choice(len(PLACES), 2, replace=False))
        if first[0] != second[0]:
            plans.append((first, second))
    cases: list[Case] = []
    for plan in plans:
        asked = [_asked(place, float(rng.uniform(0.1, 1)), rng) for place in plan]
        edited = _soften(scene, draw(scene, asked, int(rng.integers(2**31)))[0], rng)
        cases.append(("drawn", asked[0].severity, measure(scene, where, masks, edited), frozenset(plan)))
    for turn in range(CALM):
        edited = blur(scene.image, rng.uniform(0.3, 1.5))
        if turn == 0:
            asked = [Asked("emphysema", severity=float(rng.uniform(0.1, 1)))]
            edited = _soften(scene, draw(scene, asked, int(rng.integers(2**31)))[0], rng)
        cases.append(("calm", 0.0, measure(scene, where, masks, edited), frozenset()))
    return cases


def check_cases(job: Job) -> list[Case]:
    """Draw each place in each severity word into a film, as drawn; and nothing, with and without a slight blur."""
    index, image, fields, soft = job
    try:
        scene, masks = _scene(image, fields)
    except ValueError:
        return []
    where, rng = regions(scene), np.random.default_rng([index, 13])
    cases: list[Case] = []
    for place in PLACES:
        for word, severity in SEVERITIES.items():
            drawn = draw(scene, [Asked(*place, severity=severity)], index)[0]
            if soft:
                drawn = _soften(scene, drawn, rng)
            cases.append((word, severity, measure(scene, where, masks, drawn), frozenset([place])))
    for edited in (scene.image, blur(scene.image, 0.5), blur(scene.image, 1.0)):
        cases.append(("calm", 0.0, measure(scene, where, masks, edited), frozenset()))
    return cases


def jobs(work: Path, lungs: str, films: list[Film], part: str, most: int, soft: bool = False) -> list[Job]:
    """Return ``most`` films of a part without finding whose lung fields are usable, evenly over the index."""
    squares, found = np.load(work / "films.npy", mmap_mode="r"), np.load(work / lungs, mmap_mode="r")
    usable = [
        i
        for i, film in enumerate(films)
        if film.part == part and film.without_finding and film.source == NIH and not faults(found[i].astype(np.float32))
    ]
    if not usable:
        raise SystemExit(f"{part}: no usable film without finding in this part of the split")
    chosen = [usable[k] for k in np.unique(np.linspace(0, len(usable) - 1, min(most, len(usable))).astype(int))]
    return [(i, np.array(squares[i]), found[i].astype(np.float32), soft) for i in chosen]


def regress(x: Values, y: Values, penalty: float) -> tuple[Values, float]:
    """Fit a logistic regression with a quadratic penalty by Newton's method; return its weights and offset."""
    design = np.column_stack([x, np.ones(len(x))])
    ridge = np.diag(np.append(np.full(x.shape[1], penalty), 1e-6))
    # Drawn and not drawn count alike.
    share = np.where(y > 0, 0.5 / y.mean(), 0.5 / (1 - y.mean())) ** 0.5
    beta = np.zeros(design.shape[1])
    for _ in range(40):
        p = 1 / (1 + np.exp(-np.clip(design @ beta, -30, 30)))
        curve = design.T * (share * np.maximum(p * (1 - p), 1e-6)) @ design + ridge
        step = np.linalg.solve(curve, design.T @ (share * (y - p)) - ridge @ beta)
        beta += step * min(1.0, 5 / (np.abs(step).max() + 1e-9))
        if np.abs(step).max() < 1e-4:
            break
    return beta[:-1], float(beta[-1])


def _arrays(drawn: list[tuple[int, list[Case]]], names: tuple[str, ...]) -> tuple[NDArray[np.int64], Values, Values]:
    """Return the film of each case (n,), its numbers (n, k) and what was drawn (n, places)."""
    film = np.array([index for index, cases in drawn for _ in cases])
    values = np.array([[case[2][name] for name in names] for _, cases in drawn for case in cases])
    labels = np.array([[place in case[3] for place in PLACES] for _, cases in drawn for case in cases], float)
    return film, values, labels


def fit(drawn: list[tuple[int, list[Case]]]) -> Rules:
    """Fit a rule for each place; its limit is what :data:`FALSE` of the cases without the finding reach.

    Limits are set on films that the regression did not see: on each quarter of the films with the other three.
    """
    names = tuple(name for name in drawn[0][1][0][2] if name != "largest")
    film, values, labels = _arrays(drawn, names)
    middle, scale = values.mean(0), values.std(0) + 1e-3
    x = np.clip((values - middle) / scale, -4, 4)
    quarter = np.searchsorted(np.unique(film), film) % 4
    weights, offsets, limits = [], [], []
    for k, place in enumerate(PLACES):
        unseen = np.empty(len(x))
        for part in range(4):
            w, b = regress(x[quarter != part], labels[quarter != part, k], PENALTY)
            unseen[quarter == part] = x[quarter == part] @ w + b
        same = [i for i, other in enumerate(PLACES) if other[0] == place[0]]
        limits.append(float(np.quantile(unseen[labels[:, same].sum(1) == 0], 1 - FALSE)))
        w, b = regress(x, labels[:, k], PENALTY)
        weights.append(w)
        offsets.append(b)
    return Rules(names, middle, scale, np.array(weights), np.array(offsets), np.array(limits))


def write(rules: Rules, path: Path, films: int) -> None:
    """Write rules as :meth:`Rules.load` reads them."""
    short = lambda values: [float(f"{value:.5g}") for value in values]  # noqa: E731
    raw = {
        "fitted": f"on drawn findings in {films} films of the training part by film_reader_fit.py",
        "names": list(rules.names),
        "middle": short(rules.middle),
        "scale": short(rules.scale),
        "rules": {
            " ".join(place).strip(): {
                "limit": short([rules.limits[k]])[0],
                "offset": short([rules.offsets[k]])[0],
                "weights": short(rules.weights[k]),
            }
            for k, place in enumerate(PLACES)
        },
    }
    lines = json.dumps(raw, indent=1)
    # One list a line: the numbers are many.
    path.write_text(re.sub(r"\n {3,}|\n {2}(?=[\d\"-][^:]*(,|$))|\n {1,3}(?=\])", " ", lines) + "\n", encoding="utf-8")


def check(drawn: list[tuple[int, list[Case]]], rules: Rules) -> str:
    """Return a Markdown table: seen, seen in its place, and another finding seen, in per cent by severity."""
    rows: dict[tuple[str, str], list[tuple[bool, bool, bool]]] = defaultdict(list)
    seen: list[bool] = []
    _, values, _ = _arrays(drawn, rules.names)
    cases = [case for _, some in drawn for case in some]
    for (word, _, numbers, what), scores in zip(cases, rules.scores(values), strict=True):
        found = rules.decide(scores, numbers["largest"])
        if not what:
            seen.append(bool(found))
        for place in what:
            keys = {one[0] for one in found}
            row = (place[0] in keys, place in found, bool(keys - {place[0]}))
            rows[" ".join(place).strip(), word].append(row)
            rows["all", word].append(row)
    lines = [
        f"{len(drawn)} films. Seen, in its place, another finding: per cent. Anything where nothing was drawn: "
        f"{100 * np.mean(seen):.1f} % of {len(seen)}.",
        "",
        "| drawn | " + " | ".join(SEVERITIES) + " |",
        "|---" * (1 + len(SEVERITIES)) + "|",
    ]
    for name in dict.fromkeys(name for name, _ in rows):
        shares = [100 * np.mean(rows[name, word], 0) for word in SEVERITIES]
        lines.append(
            f"| {name} | " + " | ".join(", ".join(f"{share:.0f}" for share in three) for three in shares) + " |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="the recipe's folder")
    parser.add_argument("--films", type=Path, required=True)
    parser.add_argument("--lungs", default="lungs.npy", help="lung fields in WORK (default: lungs.npy)")
    parser.add_argument("--most", type=int, default=1000, help="at most so many films of a part")
    parser.add_argument("--part", default="classifier", help="part of the split to check on (default: classifier)")
    parser.add_argument("--soft", action="store_true", help="check on drawings made fainter or softer at random")
    parser.add_argument("--fit", action="store_true", help=f"fit and write {RULES.name} first")
    options = parser.parse_args()
    films = read_index(options.films)

    def cases(part: str) -> list[tuple[int, list[Case]]]:
        chosen = jobs(options.work, options.lungs, films, part, options.most, options.soft)
        made = spread(train_cases if part == "train" else check_cases, chosen)
        return [(job[0], some) for job, some in zip(chosen, made, strict=True) if some]

    if options.fit:
        drawn = cases("train")
        write(fit(drawn), RULES, len(drawn))
    print(check(cases(options.part), Rules.load()))


if __name__ == "__main__":
    main()
