"""Which cells a sweep has, which of them are the same run, what they share, and what they cost."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from roentmod_fast.diffusion.denoise import SOLVERS
from roentmod_fast.editor import Editor
from roentmod_fast.errors import SettingError
from roentmod_fast.settings import COMPOSE_MODES, EditConfig

AXES = ("prompt", "seed", "compose", "solver", "steps", "strength", "guidance")
"""All axes, the slowest first; the last one with several values runs across the sheet."""

STRENGTHS, GUIDANCES = "0.2..1:10", "1.5..10:10"
"""The paper's grid: ten values each, evenly spaced."""


@dataclass(frozen=True)
class SweepAxes:
    """The values of every axis. ``solver`` and ``steps``: one None is the engine's or preset's."""

    prompt: tuple[str, ...]
    strength: tuple[float, ...]
    guidance: tuple[float, ...]
    steps: tuple[int | None, ...] = (None,)
    solver: tuple[str | None, ...] = (None,)
    seed: tuple[int, ...] = (0,)
    compose: tuple[str, ...] = ("replace",)

    def __post_init__(self) -> None:
        if not self.prompt or not all(text.strip() for text in self.prompt):
            raise SettingError("a prompt is empty: say what to add, such as --prompt edema")
        for name in AXES:
            if not getattr(self, name):
                raise SettingError(f"{name}: no value")
        for values, known in ((self.solver, (None, *SOLVERS)), (self.compose, COMPOSE_MODES)):
            for value in values:
                if value not in known:
                    raise SettingError(f"{value!r}: expected some of {', '.join(filter(None, known))}")


@dataclass(frozen=True)
class Cell:
    """One cell: its place in the sheet, its settings, and how many steps of the schedule really run.

    ``same_as``: the number of an earlier cell that is the same run, or None.
    """

    number: int
    row: int
    column: int
    prompt: str
    config: EditConfig
    evaluated_steps: int
    same_as: int | None = None

    @property
    def place(self) -> str:
        """Where it is in the sheet, in words."""
        return f"row {self.row + 1}, column {self.column + 1}"

    @property
    def image_of(self) -> int:
        """The number of the cell whose image this one has."""
        return self.number if self.same_as is None else self.same_as


@dataclass(frozen=True)
class Group:
    """Cells that begin with the same latents and take the same steps, so run in one loop.

    ``calls``: items that the UNet evaluates for all of them; ``alone``: for each of them by itself.
    """

    cells: tuple[Cell, ...]
    calls: int
    alone: int


@dataclass(frozen=True)
class SweepPlan:
    """A sweep: cells in the order of the sheet, groups that share work, names of rows and columns."""

    axes: SweepAxes
    cells: tuple[Cell, ...]
    groups: tuple[Group, ...]
    row_axis: str
    column_axis: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def runs(self) -> tuple[Cell, ...]:
        """The cells that are made: one of those that are the same run."""
        return tuple(cell for cell in self.cells if cell.same_as is None)

    @property
    def calls(self) -> int:
        """How many items the UNet evaluates."""
        return sum(group.calls for group in self.groups)


def plan_sweep(editor: Editor, axes: SweepAxes) -> SweepPlan:
    """Plan a sweep for an engine. Raises SettingError for a value that cannot be used, before anything runs."""
    varying = [name for name in AXES if len(getattr(axes, name)) > 1] or ["guidance"]
    column_axis, row_axes = varying[-1], varying[:-1]
    row_values = list(itertools.product(*(getattr(axes, name) for name in row_axes)))
    column_values = getattr(axes, column_axis)
    fixed = {name: getattr(axes, name)[0] for name in AXES}
    cells: list[Cell] = []
    seen: dict[tuple[object, ...], int] = {}
    shared: dict[tuple[object, ...], list[Cell]] = {}
    for row, values in enumerate(row_values):
        for column, value in enumerate(column_values):
            chosen = {**fixed, **dict(zip(row_axes, values, strict=True)), column_axis: value}
            prompt = str(chosen.pop("prompt"))
            config = EditConfig(**chosen)
            settings = editor.settings(config)
            timesteps = editor.timesteps(settings)
            if not timesteps:
                raise SettingError(f"strength {settings.strength:g} runs no step: begin above 0, such as 0.2..1:10")
            loop = (settings.seed, settings.speed.solver, *timesteps.t.tolist(), *timesteps.t_prev.tolist())
            # A scale of 1 or less is the prompt alone.
            run = (prompt, max(settings.guidance, 1.0), settings.compose, loop)
            number = len(cells)
            first = seen.setdefault(run, number)
            cell = Cell(number, row, column, prompt, config, len(timesteps), None if first == number else first)
            cells.append(cell)
            if cell.same_as is None:
                shared.setdefault(loop, []).append(cell)
    groups = tuple(_group(editor, members) for members in shared.values())
    return SweepPlan(
        axes,
        tuple(cells),
        groups,
        " and ".join(row_axes),
        column_axis,
        tuple(_name(editor, axes, row_axes, values) for values in row_values),
        tuple(_name(editor, axes, [column_axis], [value]) for value in column_values),
        _notes(editor, axes, cells),
    )


def rows_of(cells: Sequence[Cell]) -> list[tuple[str | None, float]]:
    """Return the different rows of a loop as prompt and guidance scale; no prompt is what contrast compares with."""
    rows: dict[tuple[str | None, float], None] = {}
    for cell in cells:
        rows[cell.prompt, _scale(cell)] = None
    if any(cell.config.compose == "contrast" for cell in cells):
        rows[None, 1.0] = None
    return list(rows)


def _scale(cell: Cell) -> float:
    assert cell.config.guidance is not None
    return max(cell.config.guidance, 1.0)


def _group(editor: Editor, cells: Sequence[Cell]) -> Group:
    rows, steps = rows_of(cells), cells[0].evaluated_steps
    each = sum(2 if scale > 1 else 1 for _, scale in rows)
    # At the first step all rows have the same latents: one evaluation for each different text.
    texts = {prompt for prompt, _ in rows} | ({None} if any(scale > 1 for _, scale in rows) else set())
    alone = sum(steps * ((2 if _scale(cell) > 1 else 1) + (cell.config.compose == "contrast")) for cell in cells)
    return Group(tuple(cells), len(texts) + each * (steps - 1), alone)


def _name(editor: Editor, axes: SweepAxes, names: Sequence[str], values: Sequence[object]) -> str:
    """Return the label of a row or column; strength has the steps that it really is."""
    parts = []
    for name, value in zip(names, values, strict=True):
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        if name == "strength" and len(axes.steps) == 1 and "steps" not in names:
            settings = editor.settings(EditConfig(strength=float(str(value)), steps=axes.steps[0]))
            count = len(editor.schedule.partial(settings.steps, settings.strength))
            text += f" ({count} of {settings.steps} steps)"
        parts.append(text if len(names) == 1 else f"{name} {text}")
    return ", ".join(parts)


def _notes(editor: Editor, axes: SweepAxes, cells: Sequence[Cell]) -> tuple[str, ...]:
    same = sum(cell.same_as is not None for cell in cells)
    if not same:
        return ()
    what = "cell is" if same == 1 else "cells are"
    return (f"{same} {what} the same run as another, as strengths are whole steps and a guidance of 1 or less is none",)


def without_images(plan: SweepPlan, present: Sequence[int]) -> SweepPlan:
    """Return a plan without the groups whose images are all there, and with cells of the others that are missing."""
    there = set(present)
    groups = tuple(group for group in plan.groups if any(cell.number not in there for cell in group.cells))
    return replace(plan, groups=groups)
