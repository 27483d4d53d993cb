"""Record what torch, diffusers and transformers give, for the runtime's tests, which have none of them.

    pip install -e '.[export]' && pip install --no-deps clip-anytorch ftfy
    python tests/goldens/record.py

clip-anytorch (MIT, as OpenAI's CLIP) carries CLIP's vocabulary; only the part of it that the golden texts need is
stored. Recorded with torch 2.13.0 (a CPU with AVX2 or more), diffusers 0.42.1 and transformers 5.23.0.

    schedule.npz        alpha_bar of three schedules
    timesteps.json      whole and partial runs
    solvers.npz         add_noise and DDIM steps
    dpm.npz             runs of DPM-Solver++(2M) on given timesteps
    noise.npz           torch.randn; of large draws every 7th value, which meets all 16 places of a block
    tokens.json         token ids, padded as SD 1.x and SD 2.x do
    tokenizer_sd1.json, tokenizer_sd2.json   the part of CLIP's tokenizer that gives these ids
    edit_sd1.npz, edit_v.npz   one whole edit each of a tiny checkpoint, with all between input and output
    edit.json           its settings, and hashes of the weights it ran on

The edits belong to the checkpoints of tiny.py. For a test of the whole runtime against ``edit_sd1.npz`` the first one's
bundle has its place in ``tiny_bundle/``:

    python tests/goldens/tiny.py sd1 build/tiny && roentmod-fast export build/tiny -o tests/goldens/tiny_bundle

and for tests of the device cuda the same in fp16 in ``tiny_half/``, with ``--precision fp16``; and beside it
``gate.cuda.onnx``, which ``tests/export/test_cuda_graph.py`` holds against what the exporter makes.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, StableDiffusionImg2ImgPipeline
from tiny import END, IMAGE_SIZE, MAX_TOKENS, START, build_tiny
from tokenizers import Tokenizer
from transformers import CLIPTokenizer

from roentmod_fast.findings import PROMPTS

GOLDENS = Path(__file__).parent

STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}

DPM_TIMESTEPS = [381, 290, 207, 135, 73, 26]

TEXTS = (
    "",
    *PROMPTS,
    "Large RIGHT pleural effusion, with compressive atelectasis; no pneumothorax.",
    "ET tube 4.5 cm above the carina, 12 mm nodule (RLL)",
    "left-sided PICC line - tip in the mid-SVC",
    "cœur élargi, œdème pulmonaire",
    "Herz vergrößert: Stauung ++",
    "it's the patient's 3rd film & doesn't show what they've seen",
    "  tabs\tand\n newlines   ",
    "edema!",
    "a photo of a cat",
    "edema <|endoftext|> effusion",
    "胸部X線 ❤",
    "small left pleural effusion and mild pulmonary edema, " * 12,
    "mass " * 75,
    "mass " * 76,
)


def main() -> None:
    torch.set_num_threads(1)
    record_schedule()
    record_timesteps()
    record_solvers()
    record_dpm()
    record_noise()
    record_tokens()
    settings = {layout: record_edit(layout) for layout in ("sd1", "v")}
    write_json("edit.json", settings)


def write_json(name: str, content: Any) -> None:
    """One line an entry, so that a change shows in a diff."""
    if isinstance(content, list):
        lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in content)
        text = f"[\n{lines}\n]\n"
    else:
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    (GOLDENS / name).write_text(text, encoding="utf-8")


# --- schedule, solvers, noise ---------------------------------------------------------------------------------------


def record_schedule() -> None:
    schedulers = {
        "scaled_linear": DDIMScheduler(**STABLE_DIFFUSION),
        "linear": DDIMScheduler(beta_start=0.0001, beta_end=0.02, beta_schedule="linear"),
        "squaredcos_cap_v2": DDIMScheduler(beta_schedule="squaredcos_cap_v2"),
    }
    arrays = {name: scheduler.alphas_cumprod.numpy() for name, scheduler in schedulers.items()}
    np.savez_compressed(GOLDENS / "schedule.npz", **arrays)


def record_timesteps() -> None:
    """Partial runs are asked of the pipeline's own method, on a stand-in that has only a scheduler."""
    runs = list(itertools.product(("leading",), (0, 1), (20, 50, 75), (0.2, 0.4, 0.75, 1.0)))
    runs += [(spacing, 0, steps, 0.4) for spacing in ("trailing", "linspace") for steps in (20, 75)]
    # Products that floats round down: 28.999999 is 28 steps, 0.7 * 10 is 7.
    runs += [("leading", 1, 50, 0.58), ("leading", 1, 10, 0.7)]
    entries = []
    for spacing, offset, steps, strength in runs:
        scheduler = DDIMScheduler(**STABLE_DIFFUSION, timestep_spacing=spacing, steps_offset=offset)
        scheduler.set_timesteps(steps)
        pipeline: Any = type("Pipeline", (), {"scheduler": scheduler})()
        partial, _ = StableDiffusionImg2ImgPipeline.get_timesteps(pipeline, steps, strength, "cpu")
        entries.append(
            {"spacing": spacing, "offset": offset, "steps": steps, "strength": strength, "timesteps": partial.tolist()}
        )
    write_json("timesteps.json", entries)


def record_solvers() -> None:
    generator = torch.Generator("cpu").manual_seed(7)
    x_0, noise, output = (torch.randn(1, 4, 8, 8, generator=generator) for _ in range(3))
    arrays = {"x_0": x_0, "noise": noise, "output": output}
    for timestep in (981, 381, 1):
        scheduler = DDIMScheduler(**STABLE_DIFFUSION)
        x_t = scheduler.add_noise(x_0, noise, torch.tensor([timestep]))
        arrays[f"x_{timestep}"] = x_t
        for prediction, to_one in itertools.product(("epsilon", "v_prediction"), (False, True)):
            scheduler = DDIMScheduler(
                **STABLE_DIFFUSION,
                prediction_type=prediction,
                set_alpha_to_one=to_one,
                steps_offset=1,
                clip_sample=False,
            )
            scheduler.set_timesteps(50)
            arrays[f"{prediction}_{to_one}_{timestep}"] = scheduler.step(output, timestep, x_t).prev_sample
    np.savez_compressed(GOLDENS / "solvers.npz", **{name: array.numpy() for name, array in arrays.items()})


def record_dpm() -> None:
    """Runs of six calls; the network's outputs are drawn, the latents after each step recorded."""
    generator = torch.Generator("cpu").manual_seed(11)
    x_0, noise = (torch.randn(1, 4, 8, 8, generator=generator) for _ in range(2))
    outputs = torch.randn(6, 1, 4, 8, 8, generator=generator)
    arrays = {"x_0": x_0, "noise": noise, "outputs": outputs}
    for prediction, last in itertools.product(("epsilon", "v_prediction"), ("zero", "sigma_min")):
        scheduler = DPMSolverMultistepScheduler(
            **STABLE_DIFFUSION, prediction_type=prediction, final_sigmas_type=last, steps_offset=1
        )
        scheduler.set_timesteps(timesteps=DPM_TIMESTEPS)
        x_t = DDIMScheduler(**STABLE_DIFFUSION).add_noise(x_0, noise, torch.tensor(DPM_TIMESTEPS[:1]))
        latents = []
        for timestep, output in zip(scheduler.timesteps, outputs, strict=True):
            x_t = scheduler.step(output, timestep, x_t).prev_sample
            latents.append(x_t)
        arrays[f"{prediction}_{last}"] = torch.stack(latents)
    np.savez_compressed(GOLDENS / "dpm.npz", **{name: array.numpy() for name, array in arrays.items()})


def record_noise() -> None:
    arrays = {}
    for seed in (0, 1, 42, 2**32 - 1):
        generator = torch.Generator("cpu").manual_seed(seed)
        for draw in range(2):
            arrays[f"large_{seed}_{draw}"] = torch.randn(1, 4, 64, 64, generator=generator).numpy().reshape(-1)[::7]
        # One generator for all: where a size is no multiple of 16, more is drawn than is given.
        generator = torch.Generator("cpu").manual_seed(seed)
        for size in (17, 16, 30):
            arrays[f"uneven_{seed}_{size}"] = torch.randn(size, generator=generator).numpy()
    np.savez_compressed(GOLDENS / "noise.npz", **arrays)


# --- tokens ---------------------------------------------------------------------------------------------------------


def record_tokens() -> None:
    vocabulary, merges = clip_vocabulary()
    padded = {
        layout: CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad, model_max_length=MAX_TOKENS)
        for layout, pad in (("sd1", END), ("sd2", "!"))
    }

    def ids(tokenizer: Any, text: str) -> list[int]:
        found: list[int] = tokenizer(text, padding="max_length", max_length=MAX_TOKENS, truncation=True).input_ids
        return found

    entries = [{"text": text, **{name: ids(tokenizer, text) for name, tokenizer in padded.items()}} for text in TEXTS]
    write_json("tokens.json", entries)

    for name, tokenizer in padded.items():
        backend = tokenizer.backend_tokenizer
        path = GOLDENS / f"tokenizer_{name}.json"
        path.write_text(json.dumps(prune(backend, tokenizer.pad_token_id), ensure_ascii=False), encoding="utf-8")

        pruned = Tokenizer.from_file(str(path))
        pruned.enable_truncation(MAX_TOKENS)
        for entry in entries:
            if pruned.encode(entry["text"]).ids != entry[name]:
                raise SystemExit(f"{path.name}: pruned and full vocabulary differ on {entry['text']!r}")


def clip_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return CLIP's 49,408 words and its merges, from the file that clip-anytorch carries."""
    package = importlib.util.find_spec("clip")
    if package is None or package.origin is None:
        raise SystemExit("CLIP's vocabulary is not here: pip install --no-deps clip-anytorch ftfy")
    text = gzip.decompress((Path(package.origin).parent / "bpe_simple_vocab_16e6.txt.gz").read_bytes()).decode()
    # The first line is a header, and CLIP uses as many merges as fill 49,408 words with the 512 letters and two marks.
    pairs = [line.split() for line in text.split("\n")[1 : 49408 - 512 - 2 + 1]]
    merges = [(left, right) for left, right in pairs]
    words = [*letters(), *(letter + "</w>" for letter in letters())]
    words += ["".join(pair) for pair in merges] + [START, END]
    return {word: index for index, word in enumerate(words)}, merges


def letters() -> list[str]:
    """Return the 256 characters that stand for bytes, in CLIP's order: printable ones first, as themselves."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = len(set(range(256)) - set(printable))
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(rest)]


def prune(backend: Any, pad_id: int) -> dict[str, Any]:
    """Return the tokenizer as JSON with only those merges that :data:`TEXTS` need; ids stay those of CLIP."""
    whole: dict[str, Any] = json.loads(backend.to_str())
    model = whole["model"]
    ranks = {tuple(pair): rank for rank, pair in enumerate(model["merges"])}
    used: set[tuple[str, str]] = set()
    for text in TEXTS:
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text)):
            used |= merges_of(word, ranks)
    kept = sorted(used, key=lambda pair: ranks[pair])
    words = {letter + end for letter in letters() for end in ("", "</w>")} | {"".join(pair) for pair in kept}
    words |= {START, END}
    model["vocab"] = {word: index for word, index in model["vocab"].items() if word in words}
    model["merges"] = [" ".join(pair) for pair in kept]  # as strings: tokenizers before 0.20 reads no pairs
    whole["truncation"] = None
    whole["padding"] = {
        "strategy": {"Fixed": MAX_TOKENS},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": pad_id,
        "pad_type_id": 0,
        "pad_token": backend.id_to_token(pad_id),
    }
    return whole


def merges_of(word: str, ranks: dict[tuple[str, str], int]) -> set[tuple[str, str]]:
    """Return the merges that byte-pair encoding makes on its way through ``word``."""
    parts = [*word[:-1], word[-1] + "</w>"]
    made: set[tuple[str, str]] = set()
    while True:
        pairs = [pair for pair in itertools.pairwise(parts) if pair in ranks]
        if not pairs:
            return made
        best = min(pairs, key=ranks.__getitem__)
        made.add(best)
        at = list(itertools.pairwise(parts)).index(best)
        parts[at : at + 2] = ["".join(best)]


# --- a whole edit ---------------------------------------------------------------------------------------------------


def record_edit(layout: str) -> dict[str, Any]:
    """Run diffusers' image-to-image pipeline on a tiny checkpoint and write down everything on the way."""
    settings: dict[str, Any] = {
        "prompt": "right pleural effusion",
        "seed": 42,
        "strength": 0.4,
        "guidance": 4.0,
        "steps": 50,
    }
    image = np.random.default_rng(5).random((IMAGE_SIZE, IMAGE_SIZE), dtype=np.float32)
    arrays: dict[str, Any] = {"image": image}

    with tempfile.TemporaryDirectory() as folder:
        build_tiny(layout, Path(folder))
        pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(folder, safety_checker=None)
        settings["sha256"] = {
            part: hashlib.sha256(next((Path(folder) / part).glob("*.safetensors")).read_bytes()).hexdigest()
            for part in ("text_encoder", "unet", "vae")
        }
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    pipeline.set_progress_bar_config(disable=True)

    input_image = torch.from_numpy(image).expand(1, 3, -1, -1)
    with torch.no_grad():
        moments = pipeline.vae.encode(2 * input_image - 1).latent_dist
    arrays["mean"], arrays["logvar"] = moments.mean.numpy(), moments.logvar.numpy()

    noised, outputs, latents = [], [], []
    unet_forward = pipeline.unet.forward

    def watched(sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        result = unet_forward(sample, *args, **kwargs)
        noised.append(sample[:1].numpy().copy())
        outputs.append(result[0].numpy().copy())
        return result

    def keep(_pipeline: Any, _index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        latents.append(tensors["latents"].numpy().copy())
        return tensors

    def edit(**changes: Any) -> Any:
        wanted = {**settings, **changes}
        return pipeline(
            wanted["prompt"],
            image=input_image,
            strength=wanted["strength"],
            guidance_scale=wanted["guidance"],
            num_inference_steps=wanted["steps"],
            generator=torch.Generator("cpu").manual_seed(wanted["seed"]),
            output_type="np",
            callback_on_step_end=keep,
        ).images[0]

    pipeline.unet.forward = watched
    output = edit()
    arrays["output"] = output
    arrays["x_start"] = noised[0]
    arrays["outputs"] = np.concatenate([pair[None] for pair in outputs])  # (step, [unconditional, conditional], ...)
    arrays["latents"] = np.concatenate(latents)

    # A golden that anything would meet is none: prompt, guidance and seed must show in the image.
    for change in ({"prompt": "edema"}, {"guidance": 3.0}, {"seed": 43}):
        difference = float(np.abs(edit(**change) - output).max())
        print(f"{layout}: {change} changes the image by up to {difference:.3f}; its spread is {output.std():.3f}")
        if difference < 0.01:
            raise SystemExit(f"{layout}: the tiny checkpoint does not feel {change}")
    np.savez_compressed(GOLDENS / f"edit_{layout}.npz", **arrays)
    return settings


if __name__ == "__main__":
    main()
