"""What a page asks for, as JSON, checked by type and handed to the library, which checks the values."""

from __future__ import annotations

import base64
import binascii
import unicodedata
from collections.abc import Mapping
from typing import Any, TypeVar

from roentmod_fast.app.engine import Engine
from roentmod_fast.app.files import Saving, write_mask
from roentmod_fast.app.sitting import Ask, Film, Sitting
from roentmod_fast.errors import SettingError
from roentmod_fast.radiograph.region import Box, box_mask
from roentmod_fast.settings import EditConfig

Body = Mapping[str, Any]
Value = TypeVar("Value")

MAX_PROMPT = 1000
"""Characters of a prompt; engines read fewer words than that."""


def value_of(body: Body, name: str, kind: type[Value], default: Value) -> Value:
    """Return a value of a type, ``default`` where it is absent or null. Raises SettingError for another type."""
    value = body.get(name)
    if value is None:
        return default
    if kind is float and type(value) is int:
        value = float(value) if abs(value) < 2**53 else value
    if type(value) is not kind:
        raise SettingError(f"{name}: expected a value of type {kind.__name__}")
    return value


def names_of(body: Body, name: str) -> list[str]:
    """Return a list of strings. Raises SettingError."""
    values = value_of(body, name, list, [])
    if not all(isinstance(value, str) for value in values):
        raise SettingError(f"{name}: expected a list of names")
    return values


def ask_of(body: Body, sitting: Sitting, engine: Engine) -> Ask:
    """Return the edit that a page asks for. Raises SettingError, and as ``read_radiograph`` for a film it refuses."""
    film = sitting.film(body.get("film"))
    prompt = value_of(body, "prompt", str, "")
    if not prompt.strip():
        raise SettingError("a prompt is empty: say what to add, such as edema")
    if len(prompt) > MAX_PROMPT or any(unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") for each in prompt):
        raise SettingError(f"a prompt of {len(prompt)} characters: expected one line of at most {MAX_PROMPT}")
    optional = {name: body.get(name) for name in ("strength", "guidance", "steps")}
    config = EditConfig(
        strength=None if optional["strength"] is None else value_of(body, "strength", float, 0.0),
        guidance=None if optional["guidance"] is None else value_of(body, "guidance", float, 0.0),
        steps=None if optional["steps"] is None else value_of(body, "steps", int, 0),
        seed=value_of(body, "seed", int, 0),
        compose=value_of(body, "compose", str, EditConfig().compose),
    )
    preset = value_of(body, "preset", str, engine.preset)
    engine.check(config, preset)
    radiograph = sitting.radiograph(film)  # of one that is refused the error again, whatever the page shows
    mask = value_of(body, "mask", dict, {})
    if not mask:
        return Ask(film, prompt, config, preset)
    if "box" in mask:
        box = radiograph.orientation.box_back(_box(mask["box"]), radiograph.shape)
        box_mask(box, radiograph)
        return Ask(film, prompt, config, preset, box=box)
    try:
        data = base64.b64decode(value_of(mask, "png", str, ""), validate=True)
    except (binascii.Error, ValueError):
        raise SettingError("mask: expected a PNG in base64, or a box") from None
    path = sitting.folder.new(".png")
    write_mask(data, radiograph, path)
    return Ask(film, prompt, config, preset, mask=path)


def _box(value: object) -> Box:
    if not (isinstance(value, list) and len(value) == 4 and all(type(each) is int for each in value)):
        raise SettingError("box: expected four whole numbers, x0, y0, x1, y1")
    x0, y0, x1, y1 = value
    return x0, y0, x1, y1


def film_of(body: Body, sitting: Sitting) -> Film:
    """Return the film that a page names. Raises UnknownError."""
    return sitting.film(body.get("film"))


def saving_of(body: Body) -> Saving:
    """Return what a page chooses for a file. Raises SettingError; values are checked by the library."""
    usual = Saving()
    return Saving(
        kind=value_of(body, "as", str, usual.kind),
        deidentify=value_of(body, "deidentify", str, usual.deidentify),
        label=value_of(body, "label", bool, usual.label),
        sop_class=value_of(body, "sop_class", str, usual.sop_class),
        transfer_syntax=value_of(body, "transfer_syntax", str, usual.transfer_syntax),
    )
