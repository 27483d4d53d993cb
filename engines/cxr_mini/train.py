"""The recipe of cxr-mini: from a folder of films to a Stable Diffusion folder.

    python -m roentmod_fast_engines.cxr_mini.train WORK --films FILMS                  # hours on two cores
    python -m roentmod_fast_engines.cxr_mini.train WORK --films FILMS --device cuda    # the same on a GPU
    python -m roentmod_fast_engines.cxr_mini.train WORK --films FILMS --quick          # a few steps of everything
    python -m roentmod_fast_engines.cxr_mini.train WORK --films FILMS --start start.pt # with lungs, autoencoder, words

Needs the ``export`` extra. FILMS holds ``index.csv`` and what it names (see ``films.py``). Each stage writes into WORK
and a stage that is done is not done again; trainings continue from their last checkpoint, so the same command resumes a
run that was killed. Every random draw comes from a seed and the step's number.

Stages: ``films`` (squares of 256 pixels), ``lungs`` (lung fields of every film), ``autoencoder``, ``pairs`` (films and
phantoms without and with drawn findings, as latents), ``words`` (the text encoder reads captions), ``unet`` (whole
pictures with their text), ``edits`` (from a film without to one with a finding), ``checkpoint`` (a diffusers folder,
which ``release.py`` turns into the bundle).

The weights are rounded to half precision in the checkpoint, so that a bundle that stores halves loses nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from .autoencoder import carried, encode, make_autoencoder, train_autoencoder
from .drawing.asked import NORMAL_WORDINGS
from .films import hand_masks, load_squares, read_index
from .learning import half_rounded
from .lungs import lung_figures, train_lungs
from .pairs import Patient, film_patients, phantom_patients
from .segment import LungNet, faults, find_lungs, largest_part
from .unet import BETAS, Course, Pairs, make_text_encoder, make_unet, train_edits, train_unet
from .vocabulary import make_tokenizer
from .wording import teach_words

FIRST_TRAINING_SEED = 100_000
"""Phantoms below this seed are never trained on: measurements use them."""


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    phantoms: int = 300
    lung_steps: tuple[int, int] = (500, 320)
    autoencoder_steps: int = 1050
    rounds: int = 1
    edits: int = 5
    phantom_patients: int = 160
    phantom_edits: int = 3
    word_steps: int = 400
    unet_steps: int = 1900
    edit_steps: int = 4000
    unet_batch: int = 16
    most_films: int | None = None


QUICK = Plan(
    phantoms=4,
    lung_steps=(2, 2),
    autoencoder_steps=2,
    rounds=1,
    edits=1,
    phantom_patients=3,
    phantom_edits=1,
    word_steps=2,
    unet_steps=2,
    edit_steps=2,
    unet_batch=4,
    most_films=24,
)


def stages(
    plan: Plan, folder: Path, work: Path, device: torch.device
) -> Iterator[tuple[str, Path, Callable[[], None]]]:
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
                films, squares(), hand, work, device, steps=plan.lung_steps, first_seed=FIRST_TRAINING_SEED + 300
            )
            torch.save(network.state_dict(), work / "lungs.pt")
        found = find_lungs(network, squares(), device)
        np.save(work / "lungs.npy", found)
        refused = {films[i].file: faults(found[i].astype(np.float32)) for i in range(len(films))}
        figures["films refused"] = {name: why for name, why in refused.items() if why}
        (work / "lungs.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")

    def autoencoder() -> None:
        phantoms = np.stack(
            [
                edit
                for patient in phantom_patients((plan.phantoms + 1) // 2, 1, FIRST_TRAINING_SEED)
                for edit in (patient.plain, *patient.edits)
            ]
        )
        network = train_autoencoder(squares()[of_part("train")], phantoms, work, device, steps=plan.autoencoder_steps)
        figures = {"validation": carried(network, squares()[of_part("validation")], device).round(2).tolist()}
        (work / "autoencoder.json").write_text(json.dumps(figures) + "\n", encoding="utf-8")
        network.save_pretrained(checkpoint / "vae")

    def pairs() -> None:
        network = AutoencoderKL.from_pretrained(checkpoint / "vae").to(device)
        found = np.load(work / "lungs.npy", mmap_mode="r")
        usable = usable_films(films, found)[: plan.most_films]
        masks = np.stack([np.stack([largest_part(one > 0.5) for one in found[i]]) for i in usable])
        patients = chain(
            zip_flag(film_patients(squares()[usable], masks, plan.rounds, plan.edits, 0), False),
            zip_flag(phantom_patients(plan.phantom_patients, plan.phantom_edits, FIRST_TRAINING_SEED + 1000), True),
        )
        save_pairs(work, network, patients, device)
        make_tokenizer(checkpoint / "tokenizer")

    def course() -> Course:
        tokenizer = CLIPTokenizer.from_pretrained(checkpoint / "tokenizer")
        scaling = json.loads((work / "pairs.json").read_text(encoding="utf-8"))["scaling_factor"]
        return Course(load_pairs(work), tokenizer, scaling, NORMAL_WORDINGS, device)

    def words() -> None:
        tokenizer = CLIPTokenizer.from_pretrained(checkpoint / "tokenizer")
        torch.manual_seed(0)
        encoder = make_text_encoder(len(tokenizer)).to(device)
        teach_words(encoder, tokenizer, work, device, steps=plan.word_steps)
        encoder.save_pretrained(work / "words")

    def unet() -> None:
        torch.manual_seed(0)
        networks = nn.ModuleList([CLIPTextModel.from_pretrained(work / "words"), make_unet()]).to(device)
        train_unet(course(), networks, work, steps=plan.unet_steps, batch=plan.unet_batch)
        save(networks, work / "before-edits")

    def edits() -> None:
        before = work / "before-edits"
        parts = [CLIPTextModel.from_pretrained(before / "text_encoder")]
        networks = nn.ModuleList([*parts, UNet2DConditionModel.from_pretrained(before / "unet")]).to(device)
        train_edits(course(), networks, work, steps=plan.edit_steps, batch=plan.unet_batch)
        save(networks, checkpoint)

    def save(networks: nn.ModuleList, folder: Path) -> None:
        for network, name in zip(networks, ("text_encoder", "unet"), strict=True):
            half_rounded(network).save_pretrained(folder / name)

    yield "films", work / "films.npy", load_films
    yield "lungs", work / "lungs.json", lungs
    yield "autoencoder", checkpoint / "vae" / "config.json", autoencoder
    yield "pairs", work / "pairs.json", pairs
    yield "words", work / "words" / "config.json", words
    yield "unet", work / "before-edits" / "unet" / "config.json", unet
    yield "edits", checkpoint / "unet" / "config.json", edits
    yield "checkpoint", checkpoint / "model_index.json", lambda: write_pipeline(work, checkpoint)


def usable_films(films: list, found: np.ndarray) -> list[int]:
    """Films of the training part whose lung fields no rule refuses: the ones without finding twice, then the others."""
    good = [i for i, film in enumerate(films) if film.part == "train" and not faults(found[i].astype(np.float32))]
    normal = [i for i in good if films[i].without_finding]
    return normal + normal + [i for i in good if not films[i].without_finding]


def zip_flag(patients: Iterator[Patient], phantom: bool) -> Iterator[tuple[Patient, bool]]:
    return ((patient, phantom) for patient in patients)


def save_pairs(
    work: Path, network: AutoencoderKL, patients: Iterator[tuple[Patient, bool]], device: torch.device
) -> None:
    """Encode patients to latents, a few hundred pictures at a time; write ``pairs.npz`` and ``pairs.json``."""
    plain, edited, origin, phantoms, captions = [], [], [], [], []
    count = 0
    while some := list(islice(patients, 64)):
        plain.append(encode(network, np.stack([patient.plain for patient, _ in some]), device))
        edited.append(encode(network, np.stack([edit for patient, _ in some for edit in patient.edits]), device))
        for patient, is_phantom in some:
            origin += [count] * len(patient.edits)
            phantoms += [is_phantom] * len(patient.edits)
            captions += patient.captions
            count += 1
        print(f"pairs: {count} patients, {len(origin)} edits", flush=True)
    every = np.concatenate(plain)
    scaling = round(float(1 / every[:, :4].astype(np.float32).std()), 5)
    network.register_to_config(scaling_factor=scaling)
    network.save_pretrained(work / "checkpoint" / "vae")
    np.savez(
        work / "pairs.npz",
        plain=every,
        edited=np.concatenate(edited),
        origin=np.array(origin),
        phantom=np.array(phantoms),
    )
    facts = {"scaling_factor": scaling, "captions": captions}
    (work / "pairs.json").write_text(json.dumps(facts), encoding="utf-8")


def load_pairs(work: Path) -> Pairs:
    with np.load(work / "pairs.npz") as stored:
        arrays = {name: stored[name] for name in ("plain", "edited", "origin", "phantom")}
    captions = json.loads((work / "pairs.json").read_text(encoding="utf-8"))["captions"]
    return Pairs(captions=captions, **arrays)


def write_pipeline(work: Path, checkpoint: Path) -> None:
    """Write the scheduler and the index of a diffusers folder."""
    scheduler = DDIMScheduler(
        **BETAS, clip_sample=False, set_alpha_to_one=False, steps_offset=1, timestep_spacing="leading"
    )
    scheduler.save_pretrained(checkpoint / "scheduler")
    parts = {
        "_class_name": "StableDiffusionImg2ImgPipeline",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (checkpoint / "model_index.json").write_text(json.dumps(parts, indent=2) + "\n", encoding="utf-8")


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder for squares, checkpoints and the result")
    parser.add_argument("--films", type=Path, required=True, help="folder of films with its index.csv")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--quick", action="store_true", help="a few steps of everything, to see that it runs")
    parser.add_argument("--edit-steps", type=int, help=f"steps of the training of edits (default {Plan.edit_steps})")
    parser.add_argument("--start", type=Path, help="weights to begin with (start.pt beside this file)")
    options = parser.parse_args(arguments)
    plan = QUICK if options.quick else Plan()
    if options.edit_steps is not None:
        plan = replace(plan, edit_steps=options.edit_steps)
    options.work.mkdir(parents=True, exist_ok=True)
    if options.start is not None and not (options.work / "words").exists():
        unpack_start(options.start, options.work)
    for name, done, run in stages(plan, options.films, options.work, torch.device(options.device)):
        if done.exists():
            print(f"{name}: done before", flush=True)
            continue
        started = time.monotonic()
        run()
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    print(options.work / "checkpoint")


if __name__ == "__main__":
    main()
