"""The pairs that the UNet learns from: films and phantoms, each without and with findings, and what the latter show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from roentmod_fast import phantom
from roentmod_fast.findings import BY_KEY

from .drawing.asked import KEYS, Asked, caption, choose
from .drawing.draw import draw
from .drawing.geometry import Scene
from .films import SIZE
from .processes import spread

CAPTIONS = 4
"""Wordings kept for each drawing."""

SHARES = {
    "cardiomegaly": 0.12,
    "edema": 0.09,
    "effusion": 0.19,
    "pneumonia": 0.18,
    "mass": 0.22,
    "hernia": 0.16,
    "emphysema": 0.02,
    "nodules": 0.02,
}
"""How often each finding is drawn: more often what is small, and learnt slowly."""


@dataclass
class Patient:
    """A film or phantom without drawn findings, and the same with: uint8 (SIZE, SIZE) each, captions for each edit."""

    plain: NDArray[np.uint8]
    edits: list[NDArray[np.uint8]] = field(default_factory=list)
    captions: list[list[str]] = field(default_factory=list)


def to_bytes(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def fields_of(drawn: phantom.Phantom) -> NDArray[np.bool_]:
    """Return a phantom's lung fields, the part behind the heart included: bool (2, size, size), the right one first."""
    size = drawn.image.shape[0]
    u, _ = phantom.positions(size, drawn.anatomy)
    side = u - drawn.anatomy.midline
    result = np.zeros((2, size, size), dtype=bool)
    for index, sign in enumerate((-1, 1)):
        out = sign * side
        own = drawn.lungs & (out > 0)
        reach = np.where(own, out, 0).max(1, keepdims=True)
        result[index] = (out > drawn.anatomy.mediastinum + 0.015) & (out <= reach) & own.any(1)[:, None]
    return result


def vary(
    film: NDArray[np.uint8], masks: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Turn, zoom and shift a film and its lung fields a little; vary gamma and contrast."""
    turn, zoom = rng.uniform(-0.08, 0.08), rng.uniform(0.9, 1.12)
    shift = rng.uniform(-0.04, 0.04, 2) * SIZE
    c, s = np.cos(turn) / zoom, np.sin(turn) / zoom
    centre = (SIZE - 1) / 2
    matrix = (
        c, s, centre - c * (centre + shift[0]) - s * (centre + shift[1]),
        -s, c, centre + s * (centre + shift[0]) - c * (centre + shift[1]),
    )  # fmt: skip

    def apply(values: NDArray[np.floating]) -> NDArray[np.float32]:
        moved = Image.fromarray(np.asarray(values, dtype=np.float32)).transform(
            (SIZE, SIZE), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC
        )
        return np.asarray(moved, dtype=np.float32)

    image = np.clip(apply(film.astype(np.float32) / 255), 0, 1) ** np.float32(np.exp(rng.uniform(-0.3, 0.3)))
    image = image * rng.uniform(0.88, 1.0)
    return image.astype(np.float32), np.stack([apply(mask) > 0.5 for mask in masks])


def choose_findings(rng: np.random.Generator) -> tuple[Asked, ...]:
    """Choose one (85 %) or two findings; never two of emphysema, edema and pneumonia."""
    shares = np.array([SHARES[key] for key in KEYS])
    count = 1 if rng.random() < 0.85 else 2
    keys = rng.choice(len(KEYS), count, replace=False, p=shares / shares.sum())
    return tuple(choose(KEYS[int(index)], rng) for index in keys)


@dataclass(frozen=True)
class FilmJob:
    """A film whose findings are to be drawn: uint8 (SIZE, SIZE), its lung fields, the draw's seed, how many edits."""

    film: NDArray[np.uint8]
    fields: NDArray[np.bool_]
    seed: tuple[int, ...]
    edits: int


def film_patient(job: FilmJob) -> Patient | None:
    """Vary a film and draw findings into it; nothing where its geometry is not usable."""
    rng = np.random.default_rng(job.seed)
    image, fields = vary(job.film, job.fields, rng)
    try:
        scene = Scene.of(image, fields)
    except ValueError:
        return None
    patient = Patient(to_bytes(image))
    for _ in range(job.edits):
        asked = choose_findings(rng)
        changed, _ = draw(scene, asked, int(rng.integers(2**31)))
        patient.edits.append(to_bytes(changed))
        patient.captions.append([caption(asked, rng) for _ in range(CAPTIONS)])
    return patient


def film_patients(
    films: NDArray[np.uint8], masks: NDArray[np.bool_], rounds: int, edits: int, seed: int
) -> Iterator[Patient]:
    """Vary each film ``rounds`` times and draw ``edits`` findings into each, but where its geometry is not usable."""
    jobs = (
        FilmJob(films[index], masks[index], (seed, 41, turn, index), edits)
        for turn in range(rounds)
        for index in range(len(films))
    )
    return (patient for patient in spread(film_patient, jobs) if patient is not None)


def phantom_patient(job: tuple[int, int]) -> Patient:
    """Draw the phantom of a seed without and with findings, so many edits of it."""
    seed, edits = job
    keys = list(BY_KEY)
    rng = np.random.default_rng([seed, 43])
    patient = Patient(to_bytes(phantom.draw(SIZE, seed).image))
    for _ in range(edits):
        some = tuple(str(key) for key in rng.choice(keys, 1 if rng.random() < 0.85 else 2, replace=False))
        patient.edits.append(to_bytes(phantom.draw(SIZE, seed, some).image))
        asked = tuple(_phantom_asked(key) for key in some)
        patient.captions.append([caption(asked, rng) for _ in range(CAPTIONS)])
    return patient


def phantom_patients(count: int, edits: int, first_seed: int) -> Iterator[Patient]:
    """Draw ``count`` phantoms without and with findings, from ``first_seed`` on."""
    return spread(phantom_patient, ((seed, edits) for seed in range(first_seed, first_seed + count)))


def _phantom_asked(key: str) -> Asked:
    place = {"pneumonia": ("right", "middle"), "effusion": ("right", ""), "mass": ("left", "upper")}.get(key, ("", ""))
    return Asked(key, *place)
