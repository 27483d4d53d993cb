"""The text side's words: a small byte-level BPE in CLIP's format, trained on the recipe's own captions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from .drawing.asked import KEYS, TABLE_4, caption, choose

MAX_TOKENS = 77

OTHER_WORDS = (
    "frontal chest radiograph pa ap portable view of the chest supine erect",
    "small moderate large mild severe bilateral left right upper middle lower lobe base apex perihilar",
    "pneumothorax atelectasis opacity interstitial fracture pacemaker catheter tube normal heart size fibrosis",
    "no evidence of acute cardiopulmonary process abnormality the lungs are clear enlarged cardiac silhouette",
    "infiltration pleural thickening consolidation granuloma calcification scoliosis rib clavicle",
)

UNKNOWN = (
    "rib fracture",
    "pneumothorax",
    "pacemaker",
    "atelectasis",
    "scoliosis",
    "clavicle fracture",
    "central venous catheter",
    "endotracheal tube",
    "pleural thickening",
    "calcified granuloma",
)
"""Prompts that the engine was not taught to draw: it is trained to leave the film alone."""


def make_tokenizer(folder: Path) -> CLIPTokenizer:
    """Train the BPE; write and return it in CLIP's format."""
    rng = np.random.default_rng(1)
    texts = list(TABLE_4) * 50 + list(OTHER_WORDS) * 100 + list(UNKNOWN) * 50
    texts += [
        caption(tuple(choose(str(key), rng) for key in rng.choice(KEYS, 2, replace=False)), rng) for _ in range(3000)
    ]
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        special_tokens=[],
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    trained = json.loads(bpe.to_str())["model"]
    # CLIP's order: every byte, every byte that ends a word, the merges' results, start and end of text.
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in trained["merges"]]
    names = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    known = set(names)
    names += [name for name in dict.fromkeys("".join(merge) for merge in merges) if name not in known]
    names += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {name: index for index, name in enumerate(names)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tokenizer
