"""The recipe of cxr-mini: from a folder of films to a Stable Diffusion folder.

    python -m roentmod_fast_engines.cxr_mini WORK --films FILMS                  # hours on two cores
    python -m roentmod_fast_engines.cxr_mini WORK --films FILMS --device cuda    # the same on a GPU
    python -m roentmod_fast_engines.cxr_mini WORK --films FILMS --quick          # a few steps of everything
    python -m roentmod_fast_engines.cxr_mini WORK --films FILMS --start start.pt # with lungs, autoencoder, words

Needs the ``export`` extra. FILMS holds ``index.csv`` and what it names (see ``films.py``). Each stage writes into WORK
and a stage that is done is not done again; trainings continue from their last checkpoint, so the same command resumes a
run that was killed. Every random draw comes from a seed and the step's number.

Stages: ``films`` (squares of 256 pixels), ``lungs`` (lung fields of every film), ``drawings`` (films and phantoms
without and with drawn findings), ``autoencoder``, ``words`` (the text encoder reads captions), ``pairs`` (the drawings
as latents), ``edits`` (from a film without to one with a finding), ``guidance`` (guidance 4 leads to the finding, not
beyond), ``checkpoint`` (a diffusers folder, which ``release.py`` turns into the bundle). ``--only`` lets ``drawings``,
``autoencoder`` and ``words`` run side by side.

The weights are rounded to half precision in the checkpoint, so that a bundle that stores halves loses nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from roentmod_fast_engines.small_diffusion import Stage, half_rounded, run_stages, write_pipeline

from .autoencoder import carried, encode, make_autoencoder, train_autoencoder
from .drawing.asked import NORMAL_WORDINGS
from .films import Film, hand_masks, load_squares, read_index
from .learning import Length
from .lungs import lung_figures, train_lungs
from .masks import faults_of, largest_part
from .pairs import Patient, film_patients, phantom_patients
from .segment import LungNet, find_lungs
from .unet import Course, Pairs, make_text_encoder, make_unet, on_device, train_edits, train_guidance
from .vocabulary import make_tokenizer
from .wording import teach_words

FIRST_TRAINING_SEED = 100_000
"""Phantoms below this seed are never trained on: measurements use them."""


@dataclass(frozen=True)
class Plan:
    """How much of everything: drawings, and how long each training is."""

    phantoms: int
    rounds: int
    edits: int
    phantom_patients: int
    phantom_edits: int
    lungs: tuple[Length, Length]
    autoencoder: Length
    words: Length
    unet: Length
    guidance: Length
    most_films: int | None = None


ON_TWO_CORES = Plan(
    phantoms=300,
    rounds=2,
    edits=5,
    phantom_patients=300,
    phantom_edits=3,
    lungs=(Length(900, 8), Length(600, 8)),
    autoencoder=Length(2400, 8),
    words=Length(400, 32),
    unet=Length(9000, 16),
    guidance=Length(5000, 16),
)

ON_A_GPU = Plan(
    phantoms=600,
    rounds=3,
    edits=6,
    phantom_patients=900,
    phantom_edits=3,
    lungs=(Length(2000, 24, 22), Length(2000, 24, 18)),
    autoencoder=Length(12_000, 48, 115),
    words=Length(1200, 64, 60),
    unet=Length(12_000, 256, 135),
    guidance=Length(3000, 256, 100),
)
"""Each training ends by the clock. With 165 and 45 seconds for the last two, all took ten minutes of an H100, beside
other work; two cores then showed that guidance pays more than edits do, and how it shares them now is not measured."""

QUICK = Plan(
    phantoms=4,
    rounds=1,
    edits=1,
    phantom_patients=3,
    phantom_edits=1,
    lungs=(Length(2, 4), Length(2, 4)),
    autoencoder=Length(2, 5),
    words=Length(2, 8),
    unet=Length(2, 4),
    guidance=Length(2, 4),
    most_films=24,
)


def stages(plan: Plan, folder: Path, work: Path, device: torch.device) -> Iterator[Stage]:
    """Yield each stage: its name, the file that says it is done, and what it does."""
    checkpoint = work / "checkpoint"
    films = read_index(folder)

    def squares() -> np.ndarray:
        return np.load(work / "films.npy", mmap_mode="r")

    def of_part(part: str) -> list[int]:
        return [i for i, film in enumerate(films) if film.part == part]

    def load_films() -> None:
        np.save(work / "films.npy", load_squares(folder, films))

    def lungs() -> None:
        hand = hand_masks(folder, films)
        if (work / "lungs.pt").exists():
            network, figures = load_lung_network(work / "lungs.pt", device), {"weights": "given"}
            figures.update(lung_figures(network, films, squares(), hand, device))
        else:
            network, figures = train_lungs(
                films, squares(), hand, work, device, plan.lungs, first_seed=FIRST_TRAINING_SEED + 300
            )
            torch.save(network.state_dict(), work / "lungs.pt")
        found = find_lungs(network, squares(), device)
        np.save(work / "lungs.npy", found)
        figures["films refused"] = {film.file: why for film, why in zip(films, faults_of(found), strict=True) if why}
        (work / "lungs.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")

    def drawings() -> None:
        refused = json.loads((work / "lungs.json").read_text(encoding="utf-8"))["films refused"]
        usable = usable_films(films, set(refused))[: plan.most_films]
        if not usable:
            raise SystemExit("no film to draw on: the lung fields of every film of the training part were refused")
        found = np.load(work / "lungs.npy", mmap_mode="r")
        masks = np.stack([np.stack([largest_part(one > 0.5) for one in found[i]]) for i in usable])
        save_drawings(
            work,
            film_patients(squares()[usable], masks, plan.rounds, plan.edits, 0),
            phantom_patients(plan.phantom_patients, plan.phantom_edits, FIRST_TRAINING_SEED + 1000),
        )

    def autoencoder() -> None:
        phantoms = np.stack(
            [
                edit
                for patient in phantom_patients((plan.phantoms + 1) // 2, 1, FIRST_TRAINING_SEED)
                for edit in (patient.plain, *patient.edits)
            ]
        )
        network = train_autoencoder(squares()[of_part("train")], phantoms, work, device, plan.autoencoder)
        figures = {"validation": carried(network, squares()[of_part("validation")], device).round(2).tolist()}
        (work / "autoencoder.json").write_text(json.dumps(figures) + "\n", encoding="utf-8")
        network.save_pretrained(checkpoint / "vae")

    def pairs() -> None:
        network = AutoencoderKL.from_pretrained(checkpoint / "vae").to(device)
        save_pairs(work, network, device)

    def words() -> None:
        tokenizer = make_tokenizer(checkpoint / "tokenizer")
        torch.manual_seed(0)
        encoder = make_text_encoder(len(tokenizer)).to(device)
        teach_words(encoder, tokenizer, work, device, plan.words)
        encoder.save_pretrained(work / "words")

    def course() -> Course:
        tokenizer = CLIPTokenizer.from_pretrained(checkpoint / "tokenizer")
        scaling = json.loads((work / "pairs.json").read_text(encoding="utf-8"))["scaling_factor"]
        return Course(load_pairs(work), tokenizer, scaling, NORMAL_WORDINGS, device)

    def edits() -> None:
        torch.manual_seed(0)
        networks = on_device(CLIPTextModel.from_pretrained(work / "words"), make_unet(), device)
        train_edits(course(), networks, work, plan.unet)
        save(networks, work / "edits")

    def guidance() -> None:
        before = work / "edits"
        encoder = CLIPTextModel.from_pretrained(before / "text_encoder")
        networks = on_device(encoder, UNet2DConditionModel.from_pretrained(before / "unet"), device)
        train_guidance(course(), networks, work, plan.guidance)
        save(networks, checkpoint)

    def save(networks: nn.ModuleList, folder: Path) -> None:
        for network, name in zip(networks, ("text_encoder", "unet"), strict=True):
            half_rounded(network).save_pretrained(folder / name)

    yield "films", work / "films.npy", load_films
    yield "lungs", work / "lungs.json", lungs
    yield "drawings", work / "drawings.json", drawings
    yield "autoencoder", checkpoint / "vae" / "config.json", autoencoder
    yield "words", work / "words" / "config.json", words
    yield "pairs", work / "pairs.json", pairs
    yield "edits", work / "edits" / "unet" / "config.json", edits
    yield "guidance", checkpoint / "unet" / "config.json", guidance
    yield "checkpoint", checkpoint / "model_index.json", lambda: write_pipeline(checkpoint)


def usable_films(films: list[Film], refused: set[str]) -> list[int]:
    """Films of the training part whose lung fields no rule refuses: the ones without finding twice, then the others."""
    good = [i for i, film in enumerate(films) if film.part == "train" and film.file not in refused]
    normal = [i for i in good if films[i].without_finding]
    return normal + normal + [i for i in good if not films[i].without_finding]


def save_drawings(work: Path, films: Iterable[Patient], phantoms: Iterable[Patient]) -> None:
    """Write ``plain.npy`` and ``edited.npy``, uint8 (n, SIZE, SIZE), and ``drawings.json``, which says what is what."""
    plain, edited, origin, phantom, captions = [], [], [], [], []
    for patients, is_phantom in ((films, False), (phantoms, True)):
        for patient in patients:
            origin += [len(plain)] * len(patient.edits)
            phantom += [is_phantom] * len(patient.edits)
            captions += patient.captions
            plain.append(patient.plain)
            edited += patient.edits
            if len(plain) % 200 == 0:
                print(f"drawings: {len(plain)} patients, {len(edited)} edits", flush=True)
    np.save(work / "plain.npy", np.stack(plain))
    np.save(work / "edited.npy", np.stack(edited))
    facts = {"origin": origin, "phantom": phantom, "captions": captions}
    (work / "drawings.json").write_text(json.dumps(facts), encoding="utf-8")


def save_pairs(work: Path, network: AutoencoderKL, device: torch.device) -> None:
    """Encode the drawings to latents; write ``pairs.npz``, and ``pairs.json`` with their scale."""
    plain, edited = (
        encode(network, np.load(work / f"{name}.npy", mmap_mode="r"), device) for name in ("plain", "edited")
    )
    scaling = round(float(1 / plain[:, :4].astype(np.float32).std()), 5)
    network.register_to_config(scaling_factor=scaling)
    network.save_pretrained(work / "checkpoint" / "vae")
    np.savez(work / "pairs.npz", plain=plain, edited=edited)
    (work / "pairs.json").write_text(json.dumps({"scaling_factor": scaling}), encoding="utf-8")


def load_pairs(work: Path) -> Pairs:
    facts = json.loads((work / "drawings.json").read_text(encoding="utf-8"))
    with np.load(work / "pairs.npz") as stored:
        return Pairs(
            plain=stored["plain"],
            edited=stored["edited"],
            origin=np.array(facts["origin"]),
            captions=facts["captions"],
            phantom=np.array(facts["phantom"]),
        )


def load_lung_network(path: Path, device: torch.device) -> LungNet:
    network = LungNet().to(device)
    network.load_state_dict(torch.load(path, map_location=device, weights_only=True))
    return network.eval()


def pack_start(work: Path, file: Path) -> None:
    """Write the weights of what is slow to train and done, float16: lung fields, autoencoder, the encoder's reading."""
    state = {
        "lungs": torch.load(work / "lungs.pt", map_location="cpu", weights_only=True),
        "vae": AutoencoderKL.from_pretrained(work / "checkpoint" / "vae").state_dict(),
        "words": CLIPTextModel.from_pretrained(work / "words").state_dict(),
    }
    torch.save({part: {name: value.half() for name, value in some.items()} for part, some in state.items()}, file)


def unpack_start(file: Path, work: Path) -> None:
    """Lay given weights into WORK, so that the trainings of the lungs, the autoencoder and the words count as done."""
    state = torch.load(file, map_location="cpu", weights_only=True)
    parts = {part: {name: value.float() for name, value in some.items()} for part, some in state.items()}
    torch.save(parts["lungs"], work / "lungs.pt")
    autoencoder = make_autoencoder()
    autoencoder.load_state_dict(parts["vae"])
    autoencoder.save_pretrained(work / "checkpoint" / "vae")
    encoder = make_text_encoder(len(make_tokenizer(work / "checkpoint" / "tokenizer")))
    encoder.load_state_dict(parts["words"])
    encoder.save_pretrained(work / "words")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m roentmod_fast_engines.cxr_mini",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("work", type=Path, help="folder for squares, checkpoints and the result")
    parser.add_argument("--films", type=Path, required=True, help="folder of films with its index.csv")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--quick", action="store_true", help="a few steps of everything, to see that it runs")
    parser.add_argument("--only", nargs="+", metavar="STAGE", help="carry out these stages alone")
    parser.add_argument("--start", type=Path, help="weights to begin with (start.pt beside this file)")
    options = parser.parse_args(arguments)
    plan = QUICK if options.quick else ON_A_GPU if options.device == "cuda" else ON_TWO_CORES
    options.work.mkdir(parents=True, exist_ok=True)
    if options.start is not None and not (options.work / "words").exists():
        unpack_start(options.start, options.work)
    run_stages(stages(plan, options.films, options.work, torch.device(options.device)), options.only)
    print(options.work / "checkpoint")
