"""The text encoder and the UNet of cxr-mini: their shapes and how they learn edits.

A network that is trained on whole images alone sees, through the little noise of an edit at strength 0.4, that a
finding is *not* there, and keeps to what it sees. So the noised images of :func:`train_edits` lie between a film
without a finding and the same film with it, and the prompt says where to go. Guidance multiplies what the prompt
changes: :func:`train_guidance` makes that change so small that guidance 4 leads to the finding and not beyond.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from roentmod_fast_engines import small_diffusion
from roentmod_fast_engines.small_diffusion import BETAS, FACTOR, MAX_TOKENS

from .films import SIZE
from .learning import Length, train
from .vocabulary import UNKNOWN

PULL = 0.3
"""How far towards the finding one prediction under a prompt points in the end: guidance 4 makes 1.2 of it, which the
caution of a mean over all ways in which a finding could look turns into about the whole way."""


def make_text_encoder(vocabulary: int) -> CLIPTextModel:
    return small_diffusion.make_text_encoder(vocabulary, layers=2)


def make_unet() -> UNet2DConditionModel:
    return small_diffusion.make_unet((64, 128, 192))


def on_device(encoder: CLIPTextModel, unet: UNet2DConditionModel, device: torch.device) -> nn.ModuleList:
    """Return both networks on the device, where they are to be trained.

    On a CPU attention is two products of matrices: PyTorch's fused attention makes a step a tenth slower there
    (1.40 in place of 1.24 s for 16 cases, PyTorch 2.13, two cores of an AMD EPYC with AVX-512 BF16).
    """
    if device.type == "cpu":
        unet.set_attn_processor(AttnProcessor())
    return nn.ModuleList([encoder, unet]).to(device)


Shares = tuple[float, float, float, float]


@dataclass(frozen=True)
class Pairs:
    """Latents of the pairs, float16 (n, 8, 32, 32) of means and deviations, and what the edits show.

    ``plain``: without finding. ``edited``: with. ``origin``: for each edit, the row of ``plain``. ``captions``: for
    each edit a few wordings. ``phantom``: bool, for each edit whether it is of a phantom.
    """

    plain: NDArray[np.float16]
    edited: NDArray[np.float16]
    origin: NDArray[np.int64]
    captions: list[list[str]]
    phantom: NDArray[np.bool_]


class Course:
    """What both trainings share: the pairs as latents, the captions as tokens, the schedule; all on the device."""

    def __init__(
        self, pairs: Pairs, tokenizer: CLIPTokenizer, scaling: float, normal: tuple[str, ...], device: torch.device
    ):
        self.scaling, self.device = scaling, device
        self.plain, self.edited = (torch.from_numpy(part).to(device) for part in (pairs.plain, pairs.edited))
        self.origin = torch.from_numpy(pairs.origin).to(device)
        self.films, self.phantoms = (
            torch.from_numpy(np.flatnonzero(kind)).to(device) for kind in (~pairs.phantom, pairs.phantom)
        )
        texts = sorted({text for some in pairs.captions for text in some} | set(normal) | set(UNKNOWN) | {""})
        tokens = tokenizer(texts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="np")
        self.ids = torch.from_numpy(np.asarray(tokens["input_ids"], dtype=np.int64)).to(device)
        row = {text: number for number, text in enumerate(texts)}

        def rows(some: Iterable[str]) -> Tensor:
            return torch.tensor([row[text] for text in some], device=device)

        self.captions = torch.stack([rows(some) for some in pairs.captions])
        self.normal, self.unknown, self.empty = rows(normal), rows(UNKNOWN), rows([""])
        means = (part[:, :4].astype(np.float32) for part in (pairs.edited, pairs.plain[pairs.origin]))
        energy = np.square(np.subtract(*means)).mean((1, 2, 3))
        # A small finding changes little and would teach little: its error counts more.
        small = np.clip(np.sqrt(energy.mean() / np.maximum(energy, 1e-9)), 0.5, 3.0)
        self.weight = torch.from_numpy(small.astype(np.float32)).to(device)
        self.alpha_bar = DDIMScheduler(**BETAS).alphas_cumprod.to(device)

    def any_of(self, values: Tensor, size: int) -> Tensor:
        """Draw ``size`` of the values, with repetition."""
        return values[torch.randint(len(values), (size,), device=self.device)]

    def latents(self, stored: Tensor, draw: Tensor) -> Tensor:
        """Sample stored latents, scaled: float32 (n, 4, 32, 32)."""
        mean, std = stored.float().chunk(2, dim=1)
        return (mean + std * draw) * self.scaling

    def draw(self, size: int, shares: Shares, *, times: Shares = (0.14, 0.62, 0.14, 0.10)) -> Cases:
        """Draw cases: a fifth of them phantoms; ``shares`` have the empty prompt, the caption, a normal, an unknown.

        ``times``: shares of timesteps below 120, 420, 700 and 1000; edits at strength 0.4 live below 420.
        """
        chance = torch.rand(5, size, device=self.device)
        chosen = torch.where(chance[0] < 0.2, self.any_of(self.phantoms, size), self.any_of(self.films, size))
        bounds = torch.tensor(shares, device=self.device).cumsum(0)[:3]
        kind = torch.bucketize(chance[1], bounds, right=True)
        wording = torch.randint(self.captions.shape[1], (size,), device=self.device)
        texts = torch.stack(
            [
                self.empty.expand(size),
                self.captions[chosen, wording],
                self.any_of(self.normal, size),
                self.any_of(self.unknown, size),
            ]
        )
        shape = (size, 4, SIZE // FACTOR, SIZE // FACTOR)
        noise = torch.randn(shape, device=self.device)
        draw = torch.randn(shape, device=self.device)
        without = self.latents(self.plain[self.origin[chosen]], draw)
        with_finding = self.latents(self.edited[chosen], draw)
        # Four in ten start at the film itself; the others lie on the way to the finding or a little beyond it.
        done = torch.where(chance[2] < 0.4, torch.zeros_like(chance[2]), 1.1 * chance[3])
        state = without + done.view(-1, 1, 1, 1) * (with_finding - without)
        spans = torch.tensor([(0, 120), (120, 420), (420, 700), (700, 1000)], device=self.device)
        span = spans[torch.bucketize(chance[4], torch.tensor(times, device=self.device).cumsum(0)[:3], right=True)]
        t = (span[:, 0] + torch.rand(size, device=self.device) * (span[:, 1] - span[:, 0])).long()
        a = self.alpha_bar[t].view(-1, 1, 1, 1)
        asked = (kind == 1).view(-1, 1, 1, 1)
        return Cases(
            x_t=a.sqrt() * state + (1 - a).sqrt() * noise,
            t=t,
            alpha_bar=a,
            state=state,
            ids=self.ids[texts[kind, torch.arange(size, device=self.device)]],
            wanted=torch.where(asked, with_finding, state),
            weight=self.weight[chosen].view(-1, 1, 1, 1),
        )

    def predict(self, networks: nn.ModuleList, cases: Cases, ids: Tensor) -> Tensor:
        """Return the noise that the networks predict, float32."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            return networks[1](cases.x_t, cases.t, networks[0](ids).last_hidden_state).sample.float()

    def predict_both(self, networks: nn.ModuleList, cases: Cases) -> tuple[Tensor, Tensor]:
        """Return the noise that the networks predict with the captions and with the empty prompt, float32."""
        size = len(cases.t)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            read = networks[0](torch.cat([cases.ids, self.ids[self.empty]])).last_hidden_state
            states = torch.cat([read[:size], read[size:].repeat_interleave(size, 0)])
            predicted = networks[1](cases.x_t.repeat(2, 1, 1, 1), cases.t.repeat(2), states).sample.float()
        return predicted[:size], predicted[size:]


@dataclass(frozen=True)
class Cases:
    """A batch: noised latents, timesteps, alpha_bar (n, 1, 1, 1), what was noised, token ids, what to predict.

    ``weight``, (n, 1, 1, 1): how much more an error counts where the finding is small.
    """

    x_t: Tensor
    t: Tensor
    alpha_bar: Tensor
    state: Tensor
    ids: Tensor
    wanted: Tensor
    weight: Tensor

    def loss(self, predicted: Tensor, noise: Tensor, *, least: float = 0.05, weight: Tensor | float = 1.0) -> Tensor:
        """Squared error of a predicted noise times ``weight``, weighted as an error of the image, ``least`` to 4."""
        of_image = ((1 - self.alpha_bar) / self.alpha_bar).clamp(least, 4.0)
        return (weight * of_image * (predicted - noise).square()).mean()

    def first(self, count: int) -> Cases:
        """The first ``count`` of them."""
        return Cases(**{field.name: getattr(self, field.name)[:count] for field in fields(self)})

    def noise(self) -> Tensor:
        """The noise whose prediction leads to ``wanted``."""
        return (self.x_t - self.alpha_bar.sqrt() * self.wanted) / (1 - self.alpha_bar).sqrt()


def train_edits(course: Course, networks: nn.ModuleList, work: Path, length: Length, *, rate: float = 8e-4) -> None:
    """Train text encoder and UNet on edits: under a caption predict the film with the finding, else what is there.

    The states on the way include the finished edit, so whole images with their text are among the cases.
    """

    def loss_of(step: int) -> Tensor:
        cases = course.draw(length.batch, (0.22, 0.66, 0.08, 0.04))
        return cases.loss(course.predict(networks, cases, cases.ids), cases.noise())

    networks.load_state_dict(train("edits", networks, loss_of, work, length, peak=rate, decay=0.998))


def train_guidance(
    course: Course, networks: nn.ModuleList, work: Path, length: Length, *, rate: float = 2e-4, pull: float = PULL
) -> None:
    """Let what a prompt changes in the prediction become ``pull`` of the way on to the finding.

    What a prompt changes is the difference of two predictions of the same networks for the same noised latents, with
    the caption and with the empty prompt, as guidance takes it. It is 2 % of a prediction: an error that both share
    would drown it, and does not count here. That the prediction under the empty prompt stays what it was counts a
    little.

    Taken against the networks as they were, the same difference was learnt slowly: 50 minutes of two cores at the
    highest rate that did no harm (1.5e-5) took its error from 0.043 to 0.037. Against the networks themselves, 70
    minutes (2,080 steps of 16) took it on 48 films that were not trained on from 0.60 to 0.45 of the finding's own
    energy (cardiomegaly), 0.45 to 0.27 (edema), 0.73 to 0.54 (pneumonia), 0.59 to 0.49 (effusion), 1.09 to 0.79
    (hernia), 0.91 to 0.65 (mass). 76 minutes more (3,284 steps, twice as many drawings) took it to 0.43, 0.26, 0.53,
    0.46, 0.77 and 0.59. 12 minutes towards 0.36 of the way changed little: hernias came out denser (amount 0.5 to 0.6),
    the edits further from the drawings.

    Cases that start where the networks have come to by a step of their own, as an edit does, were tried: the edits came
    up to 3 dB closer to the drawings by showing less of the finding (amounts 0.35 to 1.03 in place of 0.76 to 1.26).
    """
    before = copy.deepcopy(networks).eval().requires_grad_(False)
    anchored = max(1, length.batch // 4)

    def loss_of(step: int) -> Tensor:
        cases = course.draw(length.batch, (0.0, 0.86, 0.09, 0.05), times=(0.12, 0.82, 0.05, 0.01))
        asked, calm = course.predict_both(networks, cases)
        aim = -(cases.alpha_bar / (1 - cases.alpha_bar)).sqrt() * pull * (cases.wanted - cases.state)
        # An error of the image, also where there is little noise: those cases would drown the others.
        changed = cases.loss(asked - calm, aim, least=0.0, weight=cases.weight)
        few = cases.first(anchored)
        with torch.no_grad():
            was = course.predict(before, few, course.ids[course.empty].expand(anchored, -1))
        return 100 * (changed + 0.1 * few.loss(calm[:anchored], was, least=0.0))

    networks.load_state_dict(train("guidance", networks, loss_of, work, length, peak=rate, decay=0.997))
