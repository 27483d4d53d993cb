"""The images of a cohort that are generated from a text alone: who they are of, and what is written for each.

There is no source. An identity is a draw of noise, its seed: all prompts of it share that noise, as they do with
``roentmod-fast generate``, whose image of the same engine, settings, prompt and seed has the same pixels, and they
share the made-up patient.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence

from roentmod_fast.editor import Editor, Progress
from roentmod_fast.errors import SettingError
from roentmod_fast.generate import GeneratedImage, generate_each
from roentmod_fast.radiograph.dicom.generated import PATIENT_PREFIX, generated_bytes, patient_code
from roentmod_fast.radiograph.dicom.stamp import Stamp
from roentmod_fast.radiograph.label import burn_label
from roentmod_fast.radiograph.raster import edit_png
from roentmod_fast.radiograph.read import as_radiograph
from roentmod_fast.study.datasets import NO_FINDING
from roentmod_fast.study.plan import Cohort, Edit, Plan
from roentmod_fast.study.sources import SourceRow, name_key

SEEDS = 1 << 32
"""A seed is taken modulo this (:class:`~.settings.EditConfig`): two that are equal then would give the same image."""

LABELS = (NO_FINDING,)
"""Label columns of generated images beside those of the findings."""


def identity_key(engine_sha256: str, seed: int) -> str:
    """Return the key of an identity: of the engine and the seed, so it stays when more are planned."""
    return name_key("generate", f"{engine_sha256}\0{seed}")


def identity_code(engine_sha256: str, seed: int) -> str:
    """Return the code of the made-up patient of an identity, which its files carry and the splits go by."""
    return patient_code(identity_key(engine_sha256, seed))


def generated_rows(engine_sha256: str, count: int, first: int = 0) -> list[SourceRow]:
    """Return a row for each of ``count`` identities, with the seeds from ``first`` on.

    Raises SettingError for no image, and for seeds of more than 32 bits, which would come twice.
    """
    if count < 1 or first < 0:
        raise SettingError(f"--count {count} from seed {first}: expected 1 or more images, and seeds from 0 on")
    if first + count > SEEDS:
        raise SettingError(f"--count {count} from seed {first}: seeds end at {SEEDS - 1}: give lower ones")
    rows = []
    for seed in range(first, first + count):
        code = identity_code(engine_sha256, seed)
        key, name = identity_key(engine_sha256, seed), f"generated {seed}"
        patient = PATIENT_PREFIX + code
        rows.append(SourceRow(key, "", str(seed), "", name, patient, "generated", labels=("",) * len(LABELS)))
    return rows


def make_images(
    editor: Editor, plan: Plan, edits: Sequence[Edit], progress: Progress | None
) -> Iterator[tuple[Edit, GeneratedImage]]:
    """Generate a batch of images; yield each with what was planned. Raises NotFiniteError, EngineError, DeviceError."""
    pairs = [(edit.prompt, edit.seed) for edit in edits]
    yield from zip(edits, generate_each(editor, pairs, plan.config, progress=progress), strict=True)


def image_contents(cohort: Cohort, edit: Edit, made: GeneratedImage, time: datetime.datetime) -> dict[str, bytes]:
    """Return the files of an image by format; ``time``: what they show of when they were made."""
    plan, contents = cohort.plan, dict[str, bytes]()
    output = plan.output
    image = burn_label(made.image) if output.label else made.image
    if output.format != "png":
        contents["dicom"], _ = generated_bytes(
            image,
            made.provenance,
            transfer_syntax=output.transfer_syntax,
            labelled=output.label,
            patient=identity_code(plan.engine_sha256, edit.seed),
            stamp=Stamp(time, cohort.digest + bytes.fromhex(edit.id)),
            name=edit.id,
        )
    if output.format != "dicom":
        shown = as_radiograph(image.clip(0, 1))
        contents["png"] = edit_png(shown, shown.image, made.provenance, bits=output.png_bits, size=output.size)
    return contents
