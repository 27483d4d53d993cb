"""Write the tables of the Markdown pages in :data:`PAGES` from the JSON in results/ and archive/results/.

python benchmarks/tables.py            # writes
python benchmarks/tables.py --check    # exit 1, with the pages that differ, where one is not what the results give
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """Return a Markdown table; None becomes "not measured"."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join("not measured" if cell is None else str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def provenance(report: dict[str, Any]) -> str:
    """Return where and with what a result was measured."""
    packages = ", ".join(f"{name} {version}" for name, version in report["packages"].items())
    cpu = f" ({report['processor']})" if "processor" in report else ""
    return f"{report['date']}, {report['machine']}{cpu}, Python {report['python']}, {packages}."


def speed(report: dict[str, Any]) -> str:
    """Seconds of each way, and how many times as fast as diffusers; - for what a peer does not report."""
    ways = report["ways"]
    base = ways["diffusers, eager"]["edit_s"] if "diffusers, eager" in ways else None
    rows = []
    for name, way in ways.items():
        call, whole = way["guided_unet_call_s"], way["edit_s"]
        rows.append(
            (
                name,
                reported(call),
                "-" if call is None else f"{1000 * report['guided_call_tflop'] / call:.0f}",
                reported(way["vae_encoder_s"]),
                reported(way["vae_decoder_s"]),
                None if whole is None else whole_edit(way),
                None if whole is None or base is None else f"{base / whole:.2f}",
                reported(way["first_unet_call_cold_s"]),
                reported(way["first_unet_call_warm_s"]),
                reported(way["open_warm_s"]),
                way["peak_gb"],
                reported(way["peak_warm_gb"]),
            )
        )
    rate = report["matrix_product_gflops"]
    head = (
        "way",
        "guided UNet call, s",
        "GFLOP/s",
        "VAE encoder, s",
        "VAE decoder, s",
        "whole edit, s",
        "times diffusers",
        "first UNet call after a cold start, s",
        "after a warm start, s",
        "networks open after a warm start, s",
        "peak memory, GB",
        "started warm, GB",
    )
    edits = sorted({way["edits"] for way in ways.values()})
    note = (
        f"{report['rounds']} interleaved rounds, medians; whole edits a way: {' to '.join(map(str, edits))}. A large "
        f"float32 matrix product ran at {rate['median']} GFLOP/s (median; highest {rate['highest']}), a guided call is "
        f"{report['guided_call_tflop']} TFLOP. {provenance(report)}"
    )
    return f"{table(head, rows)}\n\n{note}"


def stress(report: dict[str, Any]) -> str:
    """The planted shortcut and its reverse by cohort and model, with the time of the whole command."""
    rows = []
    for cohort, found in report["cohorts"].items():
        for model, facts in found["models"].items():
            for cell in facts["cells"]:
                what = f"{cell['prompt']} to {cell['finding']}"
                ends = [with_limits(cell[name], 1) for name in ("shift", "excess")]
                rows.append((cohort, model, what, *ends, cell["conclusion"]))
    lines = []
    for cohort, found in report["cohorts"].items():
        conclusions = "; ".join(
            f"{model}: " + ", ".join(f"{count} {name}" for name, count in sorted(facts["conclusions"].items()))
            for model, facts in found["models"].items()
        )
        size = f"{found['pairs']} pairs of {found['patients']} patients"
        lines.append(f"{cohort}: {size}, {found['seconds']} s for both models. Cells off the diagonal: {conclusions}.")
    head = ("cohort", "model", "added, and output", "shift, points", "excess over the control", "conclusion")
    return f"{table(head, rows)}\n\n{' '.join(lines)} {provenance(report)}"


def training(report: dict[str, Any]) -> str:
    """AUC and shifts of each arm, and the differences that edits make, with intervals over seeds."""
    names = {
        "auc hernia": ("AUC of hernia", 3),
        "auc cardiomegaly": ("AUC of cardiomegaly", 3),
        "auc mean": ("AUC, mean of six", 3),
        "shift cardiomegaly to hernia": ("shift of hernia by cardiomegaly, points", 1),
        "shift hernia to cardiomegaly": ("shift of cardiomegaly by hernia, points", 1),
        "shift hernia to hernia": ("shift of hernia by hernia, points", 1),
        "probability cardiomegaly to hernia": ("probability of hernia by cardiomegaly", 3),
    }
    rows = [
        (arm, *(with_limits(found[name], digits) for name, (_, digits) in names.items()))
        for arm, found in {**report["arms"], **report["differences"]}.items()
    ]
    head = ("training", *(title for title, _ in names.values()))
    note = (
        f"Means and 95 % intervals (Student) over {report['seeds']} seeds, each with {report['real_images']} real"
        f" images of its own; {report['edits']} edits. {provenance(report)}"
    )
    return f"{table(head, rows)}\n\n{note}"


def film_training(report: dict[str, Any]) -> str:
    """AUC of each finding and arm on real films, out of fold, and the differences that edits make."""
    names = list(report["findings"])
    rows = []
    for kind in ("auc", "differences"):
        for arm in report["findings"][names[0]][kind]:
            rows.append((arm, *(with_limits(report["findings"][name][kind][arm], 3) for name in names)))
    head = ("training", *(f"{name} ({report['findings'][name]['positives']})" for name in names))
    note = (
        f"{report['films']} films of {report['patients']} patients in {report['folds']} folds, {report['edits']} edits."
        f" AUC with 95 % intervals by patient. {provenance(report)}"
    )
    return f"{table(head, rows)}\n\n{note}"


def with_limits(values: list[float | None], digits: int) -> str:
    """Return an estimate with the limits of its interval."""
    if values[0] is None:
        return "-"
    estimate, low, high = (f"{value:.{digits}f}" for value in values)
    return f"{estimate} ({low} to {high})"


def reported(value: float | None) -> float | str:
    """Return a value, - where the peer does not report it."""
    return "-" if value is None else value


def whole_edit(way: dict[str, Any]) -> str:
    """Return the time of whole edits: the median, the spread of several, and the steps of one."""
    spread = f", {way['edit_s_lowest']} to {way['edit_s_highest']}" if way["edits"] > 1 else ""
    return f"{way['edit_s']} ({way['unet_calls']} steps{spread})"


def sizes(report: dict[str, Any]) -> str:
    """MB of each environment, and the packages that were asked for, without what they bring along."""
    rows = []
    for environment in report["environments"].values():
        asked = ", ".join(f"{name} {environment['packages'][name]}" for name in environment["asked"])
        rows.append((environment["title"], asked, environment["mb"]))
    note = f"{report['date']}, {report['machine']}, Python {report['python']}."
    return f"{table(('environment', 'asked for', 'MB'), rows)}\n\n{note}"


def settings(report: dict[str, Any]) -> str:
    """Fidelity of each lossy setting to the exact edit."""
    exact = next(row for row in report["rows"] if row["settings"] == "exact")
    rows = [
        (
            row["settings"],
            row["unet_evaluations"],
            "" if row is exact else row["psnr_db_median"],
            "" if row is exact else row["psnr_db_lowest"],
            f"{100 * row['present']:.0f} %",
        )
        for row in report["rows"]
    ]
    head = ("settings", "UNet evaluations", "dB to exact, median", "lowest", "finding present")
    note = f"{report['phantoms']} phantoms, {report['edits_a_row']} edits a row, device {report['device']}. "
    return f"{table(head, rows)}\n\n{note}{provenance(report)}"


def full_size(report: dict[str, Any]) -> str:
    """Cost of the export of one checkpoint, and its parity."""
    rows = [
        (stage, report[stage]["wall_s"], report[stage]["cpu_s"], report[stage]["peak_gb"])
        for stage in ("export", "edit")
        if stage in report
    ]
    costs = table(("stage", "wall, s", "CPU, s", "peak memory, GB"), rows)
    differences = [
        (precision, network, f"{values['relative']:.1g}", f"{values['psnr_db']:.1f}")
        for precision, networks in report["parity"].items()
        for network, values in networks.items()
    ]
    parity = table(("precision", "network", "largest difference over the range", "dB"), differences)
    return f"{costs}\n\n{parity}\n\n{provenance(report)}"


def full_size_int8(report: dict[str, Any]) -> str:
    """The same of an export with int8, without the rows of float32, which stand in another table."""
    return full_size({**report, "parity": {"int8": report["parity"]["int8"]}})


def study_coverage(report: dict[str, Any]) -> str:
    """Coverage of the study's intervals in simulation."""
    coverage = report["coverage"]
    rows = [("median difference", name, *percent(values)) for name, values in coverage["median"].items()]
    for name, ways in coverage["auc"].items():
        rows += [(f"AUC, {way}", name, *percent(values)) for way, values in ways.items()]
    rows += [("Wilson", name, *percent(values)) for name, values in coverage["wilson"].items()]
    return table(("interval", "data", "coverage, %", "simulation error, %"), rows)


def study_tests(report: dict[str, Any]) -> str:
    """Family-wise error and power of the study's tests in simulation."""
    rows = [
        (f"no shift: any of 30 found, {name}", *percent(values)) for name, values in report["family_wise_error"].items()
    ]
    for score, sizes in report["power"].items():
        rows += [(f"shift of {size} found, {score}", *percent(values)) for size, values in sizes.items()]
    note = (
        f"{report['patients']} patients, {report['edits_a_patient_and_prompt']} edits a patient and prompt, "
        f"{report['resamples']} resamples, {report['flips']} sign flips. {provenance(report)}"
    )
    return f"{table(('trials with', 'share, %', 'simulation error, %'), rows)}\n\n{note}"


def percent(values: dict[str, Any]) -> tuple[str, str]:
    """Return a simulated share and its error in percent."""
    return f"{100 * values['share']:.1f}", f"{100 * values['simulation_error']:.1f}"


def int8_kernels(report: dict[str, Any]) -> str:
    """Fidelity and speed of OpenVINO's int8 kernels of each instruction set."""
    names = ("kernels", "activations", "db", "db_lowest", "integer_convolutions", "ms")
    rows = [tuple(row.get(name, "-") for name in names) for row in report["rows"]]
    head = (
        "kernels",
        "activations",
        "dB to float32, median",
        "lowest",
        "convolutions in integers",
        "an evaluation, ms",
    )
    return f"{table(head, rows)}\n\nEngine {report['engine']}, {report['samples']} samples. {provenance(report)}"


def reuse(report: dict[str, Any]) -> str:
    """Cost of a shallow UNet evaluation against a whole one."""
    rows = [(row["joins"], f"{row['whole_s']:.2f}", f"{row['shallow_s']:.2f}", row["share"]) for row in report["rows"]]
    head = ("joins", "whole evaluation, s", "shallow evaluation, s", "shallow over whole")
    return f"{table(head, rows)}\n\nOne item, device cpu, medians. {provenance(report)}"


def sameness(report: dict[str, Any]) -> str:
    """Our edit against that of diffusers over settings: rows are strengths, columns steps and guidance."""
    found = {(row["strength"], row["steps"], row["guidance"]): row["psnr_db"] for row in report["rows"]}
    columns = sorted({(steps, guidance) for _, steps, guidance in found})
    strengths = sorted({strength for strength, _, _ in found})
    rows = [(strength, *(found.get((strength, *column)) for column in columns)) for strength in strengths]
    head = ("strength", *(f"{steps} steps, guidance {guidance:g}" for steps, guidance in columns))
    worst = min(found.values())
    return f"{table(head, rows)}\n\nPSNR in dB, worst {worst}. {provenance(report)}"


def host_side(report: dict[str, Any]) -> str:
    """CPU time of an edit on a GPU, and the kernel launches of each graph of the UNet."""
    launches = table(("graph", "launches of a guided UNet evaluation"), list(report["launches"].items()))
    stages = ("letterbox", "vae_encoder", "text_encoder", "unet", "vae_decoder", "compose")
    rows = [
        (
            " x ".join(map(str, row["image_size"])),
            row["compose"],
            row["batch"],
            f"{1000 * row['seconds_an_edit']:.1f}",
            *(f"{1000 * row['stages'][stage]:.1f}" for stage in stages),
            f"{row['taken_gb']:.1f}",
        )
        for row in report["edits"]
    ]
    parts = ("letterbox", "VAE encoder", "text encoder", "UNet and loop", "VAE decoder", "compose")
    head = ("image", "compose", "batch", "an edit, ms", *parts, "memory, GB")
    return f"{launches}\n\n{table(head, rows)}\n\nMedians. {provenance(report)}"


def first_start(report: dict[str, Any]) -> str:
    """CPU time of the first start on an RTX GPU."""
    rows = [
        (network.replace("_", " "), f"{seconds:.1f}", f"{report['cached_gb'][network]:.2f}")
        for network, seconds in report["seconds"].items()
    ]
    rows.append(("all", f"{sum(report['seconds'].values()):.1f}", f"{sum(report['cached_gb'].values()):.2f}"))
    body = table(("network", "compiled in, s", "cached, GB"), rows)
    head = f"For {report['architecture']}, {report['batch']} image at once, medians of {report['rounds']} rounds"
    return f"{body}\n\n{head}; peak memory of the process {report['peak_gb']:.1f} GB. {provenance(report)}"


def summary(report: dict[str, Any]) -> str:
    """Whole edits and memory of the ways that a user chooses from, beside the peers'."""
    base = report["ways"]["diffusers, eager"]["edit_s"]
    rows = [
        (name, way["edit_s"], f"{base / way['edit_s']:.1f}", way["peak_gb"], reported(way["peak_warm_gb"]))
        for name, way in report["ways"].items()
        if way["edit_s"] is not None and not re.search("compile|8 steps", name)
    ]
    head = ("way", "whole edit, s", "times diffusers", "peak memory, GB", "from the second start on, GB")
    return f"{table(head, rows)}\n\n{provenance(report)}"


def headline(report: dict[str, Any]) -> str:
    """A few whole edits, for the first page."""
    rows = [
        (title, f"{report['ways'][way]['edit_s']:.0f}", f"{report['ways'][way]['peak_gb']:.1f}")
        for title, way in (
            ("diffusers, float32", "diffusers, eager"),
            ("`--device openvino`, exact", "ours, openvino, fp32, DDIM"),
            ("the same, int8", "ours, openvino, int8, DDIM"),
            ("the same, int8, 4 steps of DPM-Solver++", "ours, openvino, int8, DPM-Solver++ in 4 steps"),
        )
    ]
    return table(("whole edit at RoentGen's size", "s", "peak memory, GB"), rows)


def some_settings(report: dict[str, Any]) -> str:
    """The rows of each precision, and of 4 and 6 steps in the first and the last."""
    wanted = re.compile(r"exact|[\w-]+|DPM.* steps|int8-bf16, DPM.* [46] steps")
    return settings({**report, "rows": [row for row in report["rows"] if wanted.fullmatch(row["settings"])]})


def one_edit(report: dict[str, Any]) -> str:
    """Wall time, CPU time and memory of whole processes."""
    rows = [
        (
            title,
            *(f"{report[key][part]['median']:.2f}" for part in ("wall_s", "cpu_s")),
            f"{report[key]['peak_mb']['median']:.0f}",
        )
        for title, key in (("`edit`, one 1024x1024 DICOM", "edit"), ("`--help`", "help"))
    ]
    body = table(("process", "wall, s", "CPU, s", "peak memory, MB"), rows)
    return f"{body}\n\nMedians of {report['runs']} runs. {provenance(report)}"


def autoencoder(report: dict[str, Any]) -> str:
    """PSNR of images that pass through the autoencoder and back."""
    values = dict(report["psnr_db"])
    [phantoms] = [name for name in values if "phantoms" in name]
    drawn = values.pop(phantoms)
    rows = [(phantoms, f"{drawn:.1f}")]
    if values:
        rows.append(
            (f"{len(values)} real frontal radiographs", f"{min(values.values()):.1f} to {max(values.values()):.1f}")
        )
    return table(("images", "dB"), rows)


def ghosts(report: dict[str, Any]) -> str:
    """What composing leaves of borders that an edit moves, each figure as plain / first try / compose."""
    ways: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in report["rows"]:
        ways.setdefault((row["compose"], row["prompt"]), {})[row["way"]] = row

    def cell(group: dict[str, dict[str, Any]], name: str, digits: int) -> str:
        values = [group[way][name] for way in ("plain", "first try", "compose")]
        return "-" if None in values else " / ".join(f"{value:.{digits}f}" for value in values)

    rows = [
        (mode, prompt, *(cell(group, name, 1) for name in ("psnr", "inside", "outside")), cell(group, "ghost", 2))
        for (mode, prompt), group in sorted(ways.items())
    ]
    head = ("compose", "prompt", "to the perfect edit, dB", "inside the finding, dB", "outside, dB", "old border")
    first = report["rows"][0]
    return f"{table(head, rows)}\n\n{first['count']} {first['kind']} of {report['size']} pixels. {provenance(report)}"


def half(report: dict[str, Any]) -> str:
    """Parity of an fp16 export."""
    rows = [(network, f"{values['psnr_db']:.1f}") for network, values in report["parity"]["fp16"].items()]
    return f"{table(('network', 'dB'), rows)}\n\n{provenance(report)}"


Table = tuple[str, Callable[[dict[str, Any]], str]]

LABORATORY: dict[str, Table] = {
    "speed": ("results/speed.json", speed),
    "speed, AMX": ("results/speed-amx.json", speed),
    "speed, peers": ("results/speed-peers.json", speed),
    "speed, ggml": ("results/speed-ggml.json", speed),
    "settings": ("results/settings.json", settings),
    "settings, 35 phantoms": ("results/settings-35.json", settings),
    "int8 kernels": ("results/int8_kernels.json", int8_kernels),
    "ghosts, phantoms": ("results/compose_ghosts.json", ghosts),
    "ghosts, films": ("results/compose_ghosts-films.json", ghosts),
    "host side": ("results/host-side.json", host_side),
    "first start": ("results/first-start.json", first_start),
    "full size, 1.4": ("results/full_size-sd1.json", full_size),
    "full size, 1.4, int8": ("results/full_size-sd1-int8.json", full_size_int8),
    "full size, 2.1": ("results/full_size-sd2.json", full_size),
    "fp16, trained weights": ("results/half-cxr-mini.json", half),
    "sameness, tiny": ("results/sameness-tiny-sd1.json", sameness),
    "sameness, full size": ("results/sameness-sd1.json", sameness),
    "study, coverage": ("results/study_statistics.json", study_coverage),
    "study, tests": ("results/study_statistics.json", study_tests),
    "installed sizes": ("results/sizes.json", sizes),
}
ARCHIVE: dict[str, Table] = {
    "settings, reuse": ("archive/results/settings-reuse.json", settings),
    "reuse": ("archive/results/reuse.json", reuse),
}
USERS: dict[str, Table] = {
    "summary": ("results/speed.json", summary),
    "summary, AMX": ("results/speed-amx.json", summary),
    "settings, 35 phantoms": ("results/settings-35.json", some_settings),
    "one edit": ("results/edit_process.json", one_edit),
}
PAGES: dict[str, dict[str, Table]] = {
    "README.md": {"headline": ("results/speed.json", headline)},
    "benchmarks/README.md": LABORATORY,
    "benchmarks/archive/README.md": ARCHIVE,
    "docs/performance.md": USERS,
    "docs/stress.md": {"stress": ("results/stress.json", stress)},
    "docs/training.md": {
        "training": ("results/shortcut_training.json", training),
        "film-training": ("results/film_training.json", film_training),
    },
    "engines/phantom/CARD.md": {"autoencoder": ("results/autoencoder_psnr.json", autoencoder)},
}
"""The tables of each page, by the name in its marks."""


def render(page: str, text: str) -> str:
    """Return a page with each table between its marks written anew; one without results says so."""
    for name, (file, write) in PAGES[page].items():
        begin, end = f"<!-- {name}: written by benchmarks/tables.py -->", f"<!-- end of {name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise SystemExit(f"{page}: no marks for {name}: add {begin} and {end}")
        path = HERE / file
        body = write(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else "Not measured."
        text = f"{before}{begin}\n\n{body}\n\n{end}{after}"
    return text


def main() -> None:
    differing = []
    for page in PAGES:
        path = HERE.parent / page
        before = path.read_text(encoding="utf-8")
        after = render(page, before)
        if before != after:
            differing.append(page)
            if "--check" not in sys.argv[1:]:
                path.write_text(after, encoding="utf-8")
    if differing and "--check" in sys.argv[1:]:
        raise SystemExit(f"{', '.join(differing)}: not what the results give: run python benchmarks/tables.py")


if __name__ == "__main__":
    main()
