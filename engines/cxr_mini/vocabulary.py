"""The text side's words: a small byte-level BPE in CLIP's format, trained on the recipe's own captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from transformers import CLIPTokenizer

from roentmod_fast_engines import small_diffusion

from .drawing.asked import KEYS, TABLE_4, caption, choose

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
    return small_diffusion.make_tokenizer(folder, texts, 1000)
