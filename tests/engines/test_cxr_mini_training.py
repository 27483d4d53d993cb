"""What the trainings of cxr-mini draw and aim at: captions that mean what they say, where a prompt leads."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the recipe needs the export extra")
pytest.importorskip("diffusers", reason="the recipe needs the export extra")

from roentmod_fast_engines.cxr_mini.drawing.asked import KEYS, Asked  # noqa: E402
from roentmod_fast_engines.cxr_mini.learning import Length, rate_at, train  # noqa: E402
from roentmod_fast_engines.cxr_mini.pairs import choose_findings  # noqa: E402
from roentmod_fast_engines.cxr_mini.unet import Cases, Course, Pairs, Shares, train_guidance  # noqa: E402
from roentmod_fast_engines.cxr_mini.vocabulary import UNKNOWN  # noqa: E402
from roentmod_fast_engines.cxr_mini.wording import PLACES, meaning  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def make_course(kind: type[Course] = Course) -> tuple[Course, Pairs]:
    """Four pairs whose latents say which they are: plain k, edited 10 + k; the last is a phantom's."""

    def stored(value: float) -> np.ndarray:
        means = np.full((4, 32, 32), value, np.float16)
        return np.concatenate([means, np.zeros_like(means)])

    pairs = Pairs(
        plain=np.stack([stored(k) for k in range(2)]),
        edited=np.stack([stored(10 + k) for k in range(4)]),
        origin=np.array([0, 0, 1, 1]),
        captions=[[f"edema {k}", f"mild edema {k}"] for k in range(4)],
        phantom=np.array([False, False, False, True]),
    )
    return kind(pairs, FakeTokenizer(), 1.0, ("clear lungs",), torch.device("cpu")), pairs


class FakeTokenizer:
    """Gives each text a number of its own, 77 times."""

    def __call__(self, texts: list[str], **_: object) -> dict[str, np.ndarray]:
        return {"input_ids": np.arange(len(texts))[:, None].repeat(77, 1)}


def test_a_caption_leads_to_the_finding_and_any_other_text_to_what_is_there() -> None:
    course, pairs = make_course()
    torch.manual_seed(0)
    cases = course.draw(600, (0.2, 0.6, 0.1, 0.1))
    texts = sorted({text for some in pairs.captions for text in some} | {"", "clear lungs", *UNKNOWN})
    assert int(cases.t.min()) >= 0
    assert int(cases.t.max()) < 1000
    assert float((cases.t < 420).float().mean()) > 0.7
    seen = set()
    for ids, wanted in zip(cases.ids[:, 0].tolist(), cases.wanted[:, 0, 0, 0].tolist(), strict=True):
        text = texts[ids]
        seen.add(text)
        if "edema" in text:
            assert wanted == 10 + int(text[-1])
        else:
            assert -0.01 <= wanted <= 14.3
    assert {"", "clear lungs", "edema 3", "mild edema 0"} < seen
    # What the noise leads to is what is wanted.
    made = (cases.x_t - (1 - cases.alpha_bar).sqrt() * cases.noise()) / cases.alpha_bar.sqrt()
    assert torch.allclose(made, cases.wanted, atol=2e-3)
    assert float(cases.loss(cases.noise(), cases.noise())) == 0


def test_guidance_makes_of_what_a_prompt_changes_a_part_of_the_way(tmp_path: Path) -> None:
    drawn: list[Cases] = []

    class Remembering(Course):
        def draw(self, size: int, shares: Shares, *, times: Shares = (0.25, 0.25, 0.25, 0.25)) -> Cases:
            drawn[:] = [super().draw(size, shares, times=times)]
            return drawn[0]

    course, _ = make_course(Remembering)
    empty = int(course.ids[course.empty][0, 0])

    class Text(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.share = torch.nn.Parameter(torch.tensor(1.0))

        def forward(self, ids: torch.Tensor) -> SimpleNamespace:
            return SimpleNamespace(last_hidden_state=self.share * (ids[:, 0] != empty))

    class Noise(torch.nn.Module):
        """Goes the share of the way that the text gives."""

        def forward(self, x_t: torch.Tensor, t: torch.Tensor, shares: torch.Tensor) -> SimpleNamespace:
            [cases] = drawn
            way = (cases.alpha_bar / (1 - cases.alpha_bar)).sqrt() * (cases.wanted - cases.state)
            # With captions and without in one batch, or the first few without.
            way = torch.cat([way, way])[: len(shares)]
            return SimpleNamespace(sample=0.5 - shares.view(-1, 1, 1, 1) * way)

    networks = torch.nn.ModuleList([Text(), Noise()])
    train_guidance(course, networks, tmp_path, Length(300, 16), rate=0.02, pull=0.25)
    assert float(networks[0].share.detach()) == pytest.approx(0.25, abs=0.03)


def test_a_training_ends_by_the_clock(tmp_path: Path) -> None:
    network = torch.nn.Linear(3, 1)
    steps = []

    def loss_of(step: int) -> torch.Tensor:
        steps.append(step)
        return (network(torch.randn(8, 3)) - 1).square().mean()

    train("toy", network, loss_of, tmp_path, Length(10**9, 8, seconds=0.3), peak=0.1, decay=0.9)
    assert 10 < len(steps) < 10**6
    assert rate_at(0.0, 1.0) < 0.1
    assert rate_at(0.04, 1.0) == pytest.approx(1.0)
    assert rate_at(1.0, 1.0) == pytest.approx(0.02)


def test_a_meaning_names_finding_place_and_severity() -> None:
    both = meaning((Asked("effusion", "left", word="large"), Asked("mass", "right", "upper", word="small")), False)
    names = {KEYS[k] for k in np.flatnonzero(both[: len(KEYS)])}
    assert names == {"effusion", "mass"}
    places = {PLACES[k] for k in np.flatnonzero(both[len(KEYS) : len(KEYS) + len(PLACES)])}
    assert places == {("effusion", "left", ""), ("mass", "right", "upper")}
    assert both[-3] == pytest.approx(0.5)
    assert meaning((), False)[-2] == 1
    assert meaning((), True)[-1] == 1


def test_every_finding_is_chosen_and_two_never_the_same() -> None:
    rng = np.random.default_rng(0)
    some = [choose_findings(rng) for _ in range(600)]
    assert {one.key for asked in some for one in asked} == set(KEYS)
    assert all(len({one.key for one in asked}) == len(asked) for asked in some)
    assert 0.08 < np.mean([len(asked) == 2 for asked in some]) < 0.25
