"""What a training is made with. What the paper says is marked so; every other default is ours.

Source: Cooke et al., "RoentMod", 2025, Model Training: DenseNet121, multi-task, learning rate 1e-4, batch 32, 100
epochs, early stopping after 50 epochs without improvement. Optimiser, loss, image size, augmentation, initialisation
and the composition of batches are not stated.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from roentmod_fast.atomic import write_atomically
from roentmod_fast.errors import SettingError

NETWORKS = ("densenet121", "small")
BATCHES = ("free", "pairs")
"""How batches are made: real images and edits drawn freely, or each source with edits of its own ("real scans with
their counterfactuals in a mini-batch", the paper's main text)."""

NATURAL = "natural"
FILE = "settings.json"


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a training.

    ``network``: ``densenet121`` of torchvision (the paper's), or ``small``, of this package. ``size``: side of the
    input in pixels. ``mix``: ``natural``, every image once an epoch; or real and synthetic images in a batch, such as
    (10, 22); (1, 0) is real images alone. ``batches``: one of :data:`BATCHES`. ``learning_rate``, ``batch``,
    ``epochs`` and ``patience`` are the paper's. ``augment``: turn, zoom, shift, brightness and contrast, never
    mirrored: a mirrored chest has its heart on the wrong side. ``pretrained``: a state dict to start from, by path.
    """

    network: str = "densenet121"
    size: int = 224
    mix: str | tuple[int, int] = NATURAL
    batches: str = "free"
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    batch: int = 32
    epochs: int = 100
    patience: int = 50
    augment: bool = True
    seed: int = 0
    mixed_precision: bool = False
    pretrained: str | None = None

    def check(self) -> None:
        """Raise SettingError for a value that cannot be used."""
        for name, value, known in (("network", self.network, NETWORKS), ("batches", self.batches, BATCHES)):
            if value not in known:
                raise SettingError(f"{name} {value!r}: expected one of {', '.join(known)}")
        for name, number, least in (
            ("size", self.size, 32),
            ("batch", self.batch, 2),
            ("epochs", self.epochs, 1),
            ("patience", self.patience, 1),
            ("seed", self.seed, 0),
        ):
            if number < least:
                raise SettingError(f"{name} {number}: expected {least} or more")
        if not self.learning_rate > 0:
            raise SettingError(f"learning rate {self.learning_rate:g}: expected above 0, the paper's is 1e-4")
        if isinstance(self.mix, tuple) and (min(self.mix) < 0 or sum(self.mix) == 0):
            raise SettingError(f"mix {self.mix[0]}:{self.mix[1]}: expected shares of real and synthetic images")
        if self.batches == "pairs" and isinstance(self.mix, tuple) and 0 in self.mix:
            raise SettingError("batches of pairs hold real images and edits: give both a share with --mix")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON knows them."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]


def parse_mix(text: str) -> str | tuple[int, int]:
    """Return ``natural``, or ``R:S`` as two numbers. Raises SettingError."""
    if text == NATURAL:
        return text
    try:
        real, synthetic = (int(part) for part in text.split(":"))
    except ValueError:
        raise SettingError(f"mix {text!r}: expected natural, or real:synthetic such as 10:22") from None
    return real, synthetic


def bind_run(folder: Path, facts: dict[str, Any]) -> bool:
    """Keep in a run's folder what it was begun with; return whether it was there already.

    Raises SettingError where the folder holds a run of other settings or data.
    """
    path = folder / FILE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (json.dumps(facts, indent=1) + "\n").encode())
        return False
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise SettingError(f"{path}: damaged: choose another folder with -o") from None
    if there != facts:
        differing = sorted(name for name in {*there, *facts} if there.get(name) != facts.get(name))
        raise SettingError(f"{folder}: a run of other {', '.join(differing)}: choose another folder with -o")
    return True
