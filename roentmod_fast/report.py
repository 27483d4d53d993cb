"""What happened in a run, as JSON."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from roentmod_fast._version import __version__
from roentmod_fast.editor import Editor
from roentmod_fast.jobs import Job
from roentmod_fast.machine import installed_versions
from roentmod_fast.pipeline import Edited, Event, Failed, Skipped
from roentmod_fast.presets import half_edit_db
from roentmod_fast.radiograph.sources import SourceList

REPORT_FORMAT = 1


@dataclass
class RunReport:
    """Collects what became of each source and edit of a run.

    ``outputs``: a record for each edit that is on the disk. ``failures``: sources and edits that could not be read,
    made or written; ``refused``: sources that should not be edited; ``existing``: edits that were there; ``not_tried``:
    what a run that stopped early left; ``skipped``: for each reason how many files are no radiographs. ``end``:
    ``done``, ``interrupted`` or why the run stopped. ``hidden``: what must not stand in the report, such as a patient's
    name in a path, each with what stands for it. ``detailed``: record more of each output than that it is there, such
    as its change, which takes time to measure; for a report that is written.
    """

    run: dict[str, Any] = field(default_factory=dict)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)
    existing: list[dict[str, Any]] = field(default_factory=list)
    not_tried: list[dict[str, Any]] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    hidden: Mapping[str, str] = field(default_factory=dict)
    end: str = "done"
    detailed: bool = True

    def use(self, editor: Editor) -> None:
        """Add what the edits are made with."""
        bundle = editor.bundle
        self.run |= {
            "engine": {
                "name": bundle.name,
                "manifest_sha256": bundle.manifest_hash,
                "notice": bundle.manifest.notice,
            },
            "device": editor.device.name,
            "providers": list(editor.networks.providers),
            "precision": editor.networks.precision,
            "fp16_whole_edit_db": half_edit_db(bundle) if editor.networks.precision == "fp16" else None,
            "batch": editor.batch,
            # The list itself: what is logged later, while a network runs, belongs in the report too.
            "notes": editor.networks.notes,
            "preset": {"name": editor.preset.name, "measured": dict(editor.preset.measured)},
        }

    def found(self, sources: SourceList) -> None:
        """Add what was found beside the sources."""
        self.skipped = dict(sources.skipped)
        self.failures += [{"source": name, "reason": f"{name}: {why}"} for name, why in sources.unreadable.items()]

    def add(self, event: Event) -> None:
        """Add what became of an edit."""
        if isinstance(event, Edited):
            self.outputs.append(_output(event) if self.detailed else {})
            if event.problem is not None:
                self.failures.append(_failure((event.job,), event.problem))
        elif isinstance(event, Failed):
            self.failures.append(_failure(event.jobs, event.error))
        elif isinstance(event, Skipped):
            if event.refused is None:
                self.existing += [_left(job) for job in event.jobs]
            else:
                self.refused.append(_failure(event.jobs, event.refused))
        else:
            self.not_tried += [_left(job) for job in event.not_tried]
            self.end = "interrupted" if event.error is None else str(event.error)

    def summary(self) -> str:
        """Say in one line how many edits and sources came to which end."""
        counts = {
            "written": len(self.outputs),
            "existing": len(self.existing),
            "refused": sum(len(item["prompts"]) for item in self.refused),
            "failed": sum(len(item.get("prompts", ("",))) for item in self.failures),
            "not tried": len(self.not_tried),
            "skipped": sum(self.skipped.values()),
        }
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "written")

    def render(self) -> str:
        """Return the report as JSON text."""
        parts = ("end", "outputs", "existing", "refused", "failures", "not_tried")
        values = {
            "format": REPORT_FORMAT,
            "synthetic": True,
            "roentmod_fast": __version__,
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
            "packages": installed_versions(),
            **self.run,
            **{name: self._shown(getattr(self, name)) for name in parts},
            "skipped": self.skipped,
        }
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"

    def _shown(self, value: Any) -> Any:
        """Return a value with what is hidden replaced in all its texts."""
        if isinstance(value, str):
            for text in sorted(self.hidden, key=len, reverse=True):
                value = value.replace(text, self.hidden[text])
            return value
        if isinstance(value, dict):
            return {key: self._shown(item) for key, item in value.items()}
        return [self._shown(item) for item in value] if isinstance(value, list) else value


def _left(job: Job) -> dict[str, Any]:
    return {"source": job.source.name, "prompt": job.prompt, "path": str(job.path)}


def _failure(jobs: Sequence[Job], error: Exception) -> dict[str, Any]:
    return {"source": jobs[0].source.name, "prompts": [job.prompt for job in jobs], "reason": str(error)}


def _output(event: Edited) -> dict[str, Any]:
    result = event.result
    radiograph = result.radiograph
    return {
        "source": radiograph.source,
        "path": str(event.job.path),
        "preview": None if event.job.preview is None or event.problem is not None else str(event.job.preview),
        "prompt": result.prompt,
        "prompt_truncated": result.truncated,
        "settings": asdict(result.settings),
        "sop_instance_uid": event.sop_instance_uid,
        "matrix": list(radiograph.image.shape),
        "decoder": radiograph.decoder,
        "notes": list(radiograph.notes),
        "seconds": {stage: round(value, 4) for stage, value in result.seconds.items()},
        "unet_calls": result.unet_calls,
        "change": asdict(result.change),
    }
