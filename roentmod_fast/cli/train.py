"""``roentmod-fast train``: a classifier on real radiographs and their edits; ``train evaluate``: its AUC."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import click

from roentmod_fast.cli.duration import duration
from roentmod_fast.cli.log import logger, shows_progress, verbosity
from roentmod_fast.cli.options import PATH, resamples_option, root_option

NEEDED = ("torch", "onnx", "onnxscript", "onnxruntime")


class _TrainGroup(click.Group):
    """A group whose command ``run`` needs no name: ``train COHORT``, and ``train evaluate RUN``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group("train", cls=_TrainGroup)
def command() -> None:
    """Train a classifier on real radiographs together with their edits, as in the paper's Table 1.

    'train COHORT' is 'train run COHORT'.

    \b
    Examples:
      roentmod-fast cohort table cohort/ --labels cooccurrence
      roentmod-fast train cohort/ -o run/
      roentmod-fast train cohort/ --mix 1:0 -o real-only/
      roentmod-fast train evaluate real-only/ run/ --table test.csv
      roentmod-fast stress cohort/ --model real-only/model.onnx --model run/model.onnx
    """


@command.command("run")
@click.argument("cohorts", metavar="COHORT...", type=PATH, nargs=-1, required=True)
@click.option("-o", "--output", "folder", type=PATH, required=True, metavar="RUN", help="The run's folder.")
@click.option(
    "--real",
    "tables",
    multiple=True,
    type=PATH,
    metavar="TABLE",
    help="Further real radiographs: CSV with source, patient, split (train, validate, test) and y_FINDING.",
)
@click.option("--findings", metavar="NAME,...", help="What to learn. [default: all that have a label]")
@click.option(
    "--mix",
    default="natural",
    show_default=True,
    metavar="natural|R:S",
    help="Each image once an epoch, or so many real and synthetic ones in a batch; 1:0 is real ones alone.",
)
@click.option(
    "--batches",
    type=click.Choice(["free", "pairs"]),
    default="free",
    show_default=True,
    help="Draw images freely, or each source with edits of its own.",
)
@click.option(
    "--network",
    type=click.Choice(["densenet121", "small"]),
    default="densenet121",
    show_default=True,
    help="torchvision's DenseNet121 as in the paper, or a small network of our own.",
)
@click.option("--pretrained", type=PATH, metavar="FILE", help="Start from this state dict of torchvision's network.")
@click.option("--size", type=click.IntRange(min=32), default=224, show_default=True, help="Pixels a side; ours.")
@click.option("--learning-rate", type=float, default=1e-4, show_default=True, help="The paper's.")
@click.option("--batch", type=click.IntRange(min=2), default=32, show_default=True, help="The paper's.")
@click.option("--epochs", type=click.IntRange(min=1), default=100, show_default=True, help="At most; the paper's.")
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Epochs without a better AUC on real images of the split validate before it ends; the paper's.",
)
@click.option(
    "--augment/--no-augment",
    default=True,
    show_default=True,
    help="Turn, zoom, shift, brightness, contrast; never mirrored. Ours.",
)
@click.option("--mixed-precision", is_flag=True, help="bfloat16 on a GPU. Ours.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of weights and batches.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@root_option
@verbosity
def run(
    cohorts: tuple[Path, ...],
    folder: Path,
    tables: tuple[Path, ...],
    findings: str | None,
    mix: str,
    device: str,
    root: Path | None,
    pretrained: Path | None,
    **settings: Any,
) -> None:
    """Train a classifier; the same command goes on after a stop, with the same weights on a CPU.

    Labels and splits are those of 'cohort table'. Ends in RUN/model.onnx with its contract, which 'stress' reads: the
    network that was best on real images of the split validate. Adam, binary cross-entropy over labels that are there.

    \b
    Examples:
      roentmod-fast train run cohort/ -o run/
      roentmod-fast train cohort/ --mix 10:22 --batches pairs -o run/
      roentmod-fast train cohort/ --real films.csv --network small --size 128 -o run/
    """
    from roentmod_fast.errors import EngineError

    missing = [package for package in NEEDED if importlib.util.find_spec(package) is None]
    if missing:
        raise EngineError(f"train needs {', '.join(missing)}: type pip install 'roentmod-fast[cpu,train]'")
    from roentmod_fast.cli.edit_run import heed_signals
    from roentmod_fast.study.samples import read_samples
    from roentmod_fast_train.run import counts, train_classifier
    from roentmod_fast_train.settings import TrainSettings, parse_mix

    data = read_samples(cohorts, tables, _names(findings), root)
    for note in data.notes:
        logger.warning(note)
    for line in counts(data):
        logger.info(line)
    chosen = TrainSettings(mix=parse_mix(mix), pretrained=None if pretrained is None else str(pretrained), **settings)
    shown = _Shown()
    with heed_signals() as stop:
        path = train_classifier(
            data, chosen, folder, device=device, stop=stop.is_set, reading=shown.reading, progress=shown.training
        )
    if path is None:
        logger.warning("stopped: the same command goes on")
        sys.exit(stop.exit_status)
    click.echo(path)


class _Shown:
    """Shows progress: a line each epoch, on a terminal one that is written over."""

    def __init__(self) -> None:
        self._epoch = 0
        self._terminal = shows_progress()

    def reading(self, done: int, count: int) -> None:
        if self._terminal and (done % 50 == 0 or done == count):
            click.echo(f"\rreading images: {done} of {count}" + ("\n" if done == count else ""), err=True, nl=False)

    def training(self, where: Any) -> None:
        if where.epoch > self._epoch:
            self._epoch = where.epoch
            left = f", at most {duration(where.left)} left" if where.epoch < where.epochs else ""
            clear = "\r\033[K" if self._terminal else ""
            logger.info(
                f"{clear}epoch {where.epoch} of {where.epochs}: AUC {where.auc:.3f}, best {where.best:.3f}{left}"
            )
        elif self._terminal:
            words = f"\repoch {where.epoch + 1}: step {where.step} of {where.steps}, loss {where.loss:.4f}"
            click.echo(f"{words}, {duration(where.left)} left\033[K", err=True, nl=False)


@command.command("evaluate")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option(
    "--table",
    "tables",
    multiple=True,
    required=True,
    type=PATH,
    metavar="PATH",
    help="Labelled real radiographs: a table as of --real, or a cohort, whose sources count. Repeat for more.",
)
@click.option(
    "-o",
    "--output",
    "folder",
    type=PATH,
    default=Path("evaluation"),
    show_default=True,
    metavar="DIR",
    help="For tables, figure and page.",
)
@click.option("--split", default="test", show_default=True, help="Which radiographs count; 'all' takes all.")
@click.option("--findings", metavar="NAME,...", help="[default: all that have a label]")
@resamples_option
@root_option
@verbosity
def evaluate(
    models: tuple[str, ...],
    tables: tuple[Path, ...],
    folder: Path,
    split: str,
    findings: str | None,
    resamples: int,
    root: Path | None,
) -> None:
    """AUC per finding and table, with intervals by patient, each model against the first; needs no PyTorch.

    A MODEL is a run's folder, an ONNX file with its contract, or a table of predictions as for 'stress'.

    \b
    Examples:
      roentmod-fast train evaluate real-only/ run/ --table test.csv
      roentmod-fast train evaluate densenet.onnx run/ --table nih.csv --table mimic.csv -o table1/
    """
    from roentmod_fast.cli.count_progress import CountProgress
    from roentmod_fast.errors import SettingError
    from roentmod_fast.study.evaluation import Evaluation, write_evaluation
    from roentmod_fast.study.plan import PLAN
    from roentmod_fast.study.samples import read_samples
    from roentmod_fast.study.stress.scorers import open_scorer

    read = {}
    for path in tables:
        cohort, name = (path / PLAN).is_file(), path.stem
        if name in read:
            raise SettingError(f"--table: two are called {name}: rename one, or evaluate it into another folder")
        read[name] = read_samples([path] if cohort else [], [] if cohort else [path], _names(findings), root)
    scorers = [open_scorer(str(Path(text) / "model.onnx") if Path(text).is_dir() else text) for text in models]
    evaluation = Evaluation(scorers, read, None if split == "all" else split, resamples)
    for name, data in read.items():
        for note in data.notes:
            logger.warning(f"{name}: {note}")
    with CountProgress(evaluation.images) as progress:
        for done in evaluation.run():
            progress.done(f"{done} scored")
    for reason, count in evaluation.left_out.items():
        logger.warning(f"left out {count} times: {reason}")
    for path in write_evaluation(evaluation, folder)[:1]:
        click.echo(path)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
