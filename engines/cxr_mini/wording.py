"""The text encoder learns to read first: which findings a caption names, where, and how severe.

A UNet learns what a prompt means from the little that a finding changes in the latents, which is slow. An encoder whose
states say it plainly from the start gives it something to look at.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from roentmod_fast_engines.small_diffusion import MAX_TOKENS

from .drawing.asked import KEYS, LOBES, NORMAL_WORDINGS, Asked, caption
from .learning import Length, train
from .pairs import choose_findings
from .vocabulary import UNKNOWN

PLACES = [("effusion", "right", ""), ("effusion", "left", "")] + [
    (key, side, lobe) for key in ("pneumonia", "mass") for side, lobe in LOBES
]
KINDS = ("butterfly", "many", "one")
SIZE = len(KEYS) + len(PLACES) + len(KINDS) + 3
"""What is read: findings, places, kinds; severity; whether the text is normal or names nothing known."""


def meaning(asked: tuple[Asked, ...], unknown: bool) -> np.ndarray:
    """Return what a caption says, float32 (SIZE,)."""
    result = np.zeros(SIZE, dtype=np.float32)
    for one in asked:
        result[KEYS.index(one.key)] = 1
        if (one.key, one.side, one.lobe) in PLACES:
            result[len(KEYS) + PLACES.index((one.key, one.side, one.lobe))] = 1
        if one.kind in KINDS:
            result[len(KEYS) + len(PLACES) + KINDS.index(one.kind)] = 1
    if asked:
        word = {"mild": 0.0, "small": 0.0, "severe": 1.0, "large": 1.0}
        result[-3] = float(np.mean([word.get(one.word, 0.5) for one in asked]))
    result[-2] = float(not asked and not unknown)
    result[-1] = float(unknown)
    return result


def teach_words(
    encoder: CLIPTextModel, tokenizer: CLIPTokenizer, work: Path, device: torch.device, length: Length
) -> None:
    """Train ``encoder`` so that a linear layer reads the meaning of a caption off the mean of its states."""
    head = nn.Linear(encoder.config.hidden_size, SIZE).to(device)

    def loss_of(step: int) -> Tensor:
        rng = np.random.default_rng([19, step])
        texts, wanted = [], []
        for _ in range(length.batch):
            kind = rng.choice(4, p=[0.84, 0.06, 0.06, 0.04])
            asked = choose_findings(rng) if kind == 0 else ()
            text = caption(asked, rng) if kind == 0 else ("", str(rng.choice(NORMAL_WORDINGS)), "")[kind % 3]
            if kind == 3:
                text = str(rng.choice(UNKNOWN))
            texts.append(text)
            wanted.append(meaning(asked, bool(kind == 3)) if text else np.zeros(SIZE, np.float32))
        tokens = tokenizer(texts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="np")
        ids = torch.from_numpy(np.asarray(tokens["input_ids"], dtype=np.int64)).to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            read = head(encoder(ids).last_hidden_state.mean(1))
        return F.binary_cross_entropy_with_logits(read.float(), torch.from_numpy(np.stack(wanted)).to(device))

    networks = nn.ModuleList([encoder, head])
    networks.load_state_dict(train("words", networks, loss_of, work, length, peak=2e-3, decay=0.98))
