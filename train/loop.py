"""Training: epochs of batches, a check on real images after each, the best kept, and an exact resume.

Every random draw is a function of the seed, the epoch and the step. What is kept in between is the network, the
optimiser, the best network and where the run is, so a run that was killed goes on with the weights that an unbroken one
would have had: on a CPU bit for bit, with the same number of threads.
"""

from __future__ import annotations

import csv
import io
import logging
import pickle
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from roentmod_fast.atomic import write_atomically
from roentmod_fast.errors import EngineError, SettingError
from roentmod_fast.study.samples import REAL, VALIDATE, SampleSet
from roentmod_fast.study.statistics import auc
from roentmod_fast_train.augment import augment
from roentmod_fast_train.batches import Batches, without_last_of_one
from roentmod_fast_train.network import make_network, masked_loss
from roentmod_fast_train.settings import TrainSettings

logger = logging.getLogger(__name__)

CHECKPOINT, LOG, BEST = "checkpoint.pt", "log.csv", "best.pt"
SAVE_SECONDS = 120.0
"""Between two checkpoints within an epoch."""


@dataclass(frozen=True)
class Progress:
    """Where a training is. ``auc``: mean over findings of the last check, NaN before it; ``left``: seconds."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    auc: float
    best: float
    left: float


@dataclass
class Times:
    """Seconds that training took, and of them those spent waiting for data."""

    total: float = 0.0
    waiting: float = 0.0


@dataclass
class _State:
    network: nn.Module
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    best: float = -1.0
    best_epoch: int = -1
    seconds: float = 0.0
    log: list[list[str]] = field(default_factory=list)


def check_device(settings: TrainSettings, device: str) -> None:
    """Raise EngineError or SettingError where a device cannot train with these settings."""
    if device == "cuda" and not torch.cuda.is_available():
        raise EngineError("device cuda: PyTorch finds no GPU here: leave --device out to train on the CPU")
    if settings.mixed_precision and device == "cpu":
        raise SettingError("mixed precision is for a GPU: leave --mixed-precision out on the CPU")


class Training:
    """A training in a run's folder. ``images``: uint8 (N, S, S) in the order of the samples."""

    def __init__(
        self,
        data: SampleSet,
        images: NDArray[np.uint8],
        settings: TrainSettings,
        folder: Path,
        device: str = "cpu",
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        check_device(settings, device)
        self._data, self._images, self._settings, self._folder = data, images, settings, folder
        self._device = torch.device(device)
        self._stop = stop
        self._labels = torch.from_numpy(data.labels())
        self._batches = Batches(data, settings)
        self.times = Times()
        network = make_network(settings, len(data.findings)).to(self._device)
        optimizer = torch.optim.Adam(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._state = _State(network, optimizer)
        self._resume()

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the last ones brought nothing."""
        state = self._state
        return state.epoch >= self._settings.epochs or state.epoch - 1 - state.best_epoch >= self._settings.patience

    def run(self) -> Iterator[Progress]:
        """Train to the end; yield where it is after each step. A run that is stopped has kept where it was."""
        state = self._state
        started, saved = time.monotonic() - state.seconds, time.monotonic()
        while not self.finished:
            batches = without_last_of_one(self._batches.of_epoch(state.epoch))
            state.network.train()
            for number, (x, y) in enumerate(self._loaded(batches, state.step), state.step):
                begun = time.monotonic()
                state.loss += self._step(x, y, number)
                state.step = number + 1
                state.seconds = time.monotonic() - started
                self.times.total += time.monotonic() - begun
                yield self._progress(len(batches))
                if self._stop():
                    self._save()
                    return
                if time.monotonic() - saved > SAVE_SECONDS:
                    self._save()
                    saved = time.monotonic()
            self._end_epoch(len(batches))
            saved = time.monotonic()
            yield self._progress(len(batches))

    def best_network(self) -> nn.Module:
        """Return the network that was best on the real images of the split ``validate``, on the CPU."""
        network = make_network(self._settings, len(self._data.findings))
        state = torch.load(self._folder / BEST, map_location="cpu", weights_only=True)
        network.load_state_dict(state["network"])
        return network.eval()

    def predict(self, network: nn.Module, places: list[int]) -> NDArray[np.float64]:
        """Return the probabilities of samples by their places: float64 (n, K)."""
        network.eval()
        found = []
        with torch.no_grad():
            for start in range(0, len(places), 64):
                logits = network(self._pixels(np.array(places[start : start + 64])))
                found.append(torch.sigmoid(logits.float()).cpu().double().numpy())
        return np.concatenate(found)

    def _loaded(self, batches: list[NDArray[np.int64]], first: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches from ``first`` on; the next one is read while one is trained on."""

        def load(places: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
            return self._pixels(places), self._labels[torch.from_numpy(places)].to(self._device)

        with ThreadPoolExecutor(1, "read") as reader:
            waiting = [reader.submit(load, places) for places in batches[first : first + 2]]
            for number in range(first, len(batches)):
                begun = time.monotonic()
                found = waiting.pop(0).result()
                waited = time.monotonic() - begun
                self.times.waiting += waited
                self.times.total += waited
                if number + 2 < len(batches):
                    waiting.append(reader.submit(load, batches[number + 2]))
                yield found

    def _pixels(self, places: NDArray[np.int64]) -> Tensor:
        order = np.argsort(places)  # a mapped file is read from front to back
        pixels = np.empty((len(places), *self._images.shape[1:]), np.uint8)
        pixels[order] = self._images[places[order]]
        return (torch.from_numpy(pixels)[:, None].float() / 255).to(self._device)

    def _step(self, x: Tensor, y: Tensor, number: int) -> float:
        state, settings = self._state, self._settings
        rng = np.random.default_rng([settings.seed, 3, state.epoch, number])
        torch.manual_seed(int(rng.integers(2**31)))  # of dropout, where a network has it
        if settings.augment:
            x = augment(x, rng)
        state.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=settings.mixed_precision):
            logits = state.network(x)
        loss = masked_loss(logits.float(), y)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise EngineError(
                f"the loss is {value} in epoch {state.epoch + 1}, step {number + 1}: lower --learning-rate"
            )
        loss.backward()
        state.optimizer.step()
        return value

    def _end_epoch(self, steps: int) -> None:
        state = self._state
        scores = self._check()
        mean = float(np.mean(list(scores.values())))
        state.epoch, state.step = state.epoch + 1, 0
        row = [str(state.epoch), f"{state.loss / max(1, steps):.6g}", f"{mean:.6f}"]
        state.log.append([*row, *(f"{value:.6f}" for value in scores.values()), f"{state.seconds:.1f}"])
        state.loss = 0.0
        if mean > state.best:
            state.best, state.best_epoch = mean, state.epoch - 1
            # A copy on the disk: state_dict() refers to weights that go on changing.
            _store(self._folder / BEST, {"network": state.network.state_dict(), "epoch": state.epoch, "auc": mean})
        self._save()

    def _check(self) -> dict[str, float]:
        places = self._data.of(VALIDATE, REAL)
        found = self.predict(self._state.network, places)
        labels = self._labels.numpy()[places]
        scores = {}
        for at, name in enumerate(self._data.findings):
            known = ~np.isnan(labels[:, at])
            scores[name] = float(auc(found[known, at], labels[known, at] > 0.5))
        return scores

    def _progress(self, steps: int) -> Progress:
        state, settings = self._state, self._settings
        done = state.epoch * steps + state.step
        last = (
            min(settings.epochs, state.best_epoch + 1 + settings.patience) if state.best_epoch >= 0 else settings.epochs
        )
        left = state.seconds / max(1, done) * (max(last, state.epoch) * steps - done)
        current = float(state.log[-1][2]) if state.log else float("nan")
        loss = state.loss / max(1, state.step) if state.step else float("nan")
        return Progress(state.epoch, settings.epochs, state.step, steps, loss, current, state.best, left)

    def _save(self) -> None:
        state = self._state
        kept: dict[str, Any] = {
            name: getattr(state, name) for name in ("epoch", "step", "loss", "best", "best_epoch", "seconds", "log")
        }
        kept |= {"network": state.network.state_dict(), "optimizer": state.optimizer.state_dict()}
        _store(self._folder / CHECKPOINT, kept)
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        columns = ["epoch", "loss", "auc", *(f"auc_{name}" for name in self._data.findings), "seconds"]
        writer.writerows([columns, *state.log])
        write_atomically(self._folder / LOG, buffer.getvalue().encode(), overwrite=True)

    def _resume(self) -> None:
        path, state = self._folder / CHECKPOINT, self._state
        if not path.exists():
            return
        try:
            kept = torch.load(path, map_location=self._device, weights_only=True)
            state.network.load_state_dict(kept.pop("network"))
            state.optimizer.load_state_dict(kept.pop("optimizer"))
        except (RuntimeError, KeyError, ValueError, EOFError, OSError, pickle.UnpicklingError) as error:
            raise SettingError(f"{path}: damaged: remove it to train from the start: {error}".splitlines()[0]) from None
        for name, value in kept.items():
            setattr(state, name, value)
        logger.info(f"goes on at epoch {state.epoch + 1}, step {state.step + 1}")


def _store(path: Path, value: dict[str, Any]) -> None:
    """Write with torch, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    write_atomically(path, buffer.getvalue(), overwrite=True)
