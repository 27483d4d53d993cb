"""Write the tables of docs/performance.md from the JSON in results/.

python benchmarks/tables.py            # writes
python benchmarks/tables.py --check    # exit 1 where the page is not what the results say
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """Return a Markdown table; None is said as not measured."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join("not measured" if cell is None else str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def provenance(report: dict[str, Any]) -> str:
    """Say where and with what a result was measured."""
    packages = ", ".join(f"{name} {version}" for name, version in report["packages"].items())
    processor = f" ({report['processor']})" if "processor" in report else ""
    return f"{report['date']}, {report['machine']}{processor}, Python {report['python']}, {packages}."


def speed(report: dict[str, Any]) -> str:
    """Seconds of each way, and how many times as fast as diffusers; - for what a peer does not tell."""
    ways = report["ways"]
    base = ways["diffusers, eager"]["edit_s"] if "diffusers, eager" in ways else None
    rows = []
    for name, way in ways.items():
        call, whole = way["guided_unet_call_s"], way["edit_s"]
        rows.append(
            (
                name,
                told(call),
                "-" if call is None else f"{1000 * report['guided_call_tflop'] / call:.0f}",
                told(way["vae_encoder_s"]),
                told(way["vae_decoder_s"]),
                None if whole is None else whole_edit(way),
                None if whole is None or base is None else f"{base / whole:.2f}",
                told(way["first_unet_call_cold_s"]),
                told(way["first_unet_call_warm_s"]),
                told(way["open_warm_s"]),
                way["peak_gb"],
                told(way["peak_warm_gb"]),
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


def told(value: float | None) -> float | str:
    """Return what a peer tells, - where it does not."""
    return "-" if value is None else value


def whole_edit(way: dict[str, Any]) -> str:
    """Say what whole edits took: the median, the spread of several, and the UNet calls of one."""
    spread = f", {way['edit_s_lowest']} to {way['edit_s_highest']}" if way["edits"] > 1 else ""
    return f"{way['edit_s']} ({way['unet_calls']} calls{spread})"


def sizes(report: dict[str, Any]) -> str:
    """MB of each environment, and the packages that were asked for, without what they bring along."""
    rows = []
    for environment in report["environments"].values():
        asked = ", ".join(f"{name} {environment['packages'][name]}" for name in environment["asked"])
        rows.append((environment["title"], asked, environment["mb"]))
    note = f"{report['date']}, {report['machine']}, Python {report['python']}."
    return f"{table(('environment', 'asked for', 'MB'), rows)}\n\n{note}"


def means(report: dict[str, Any]) -> str:
    """Fidelity of each short cut to the exact edit."""
    exact = next(row for row in report["rows"] if row["means"] == "exact")
    rows = [
        (
            row["means"],
            row["looks_at_unet"],
            "" if row is exact else row["psnr_db_median"],
            "" if row is exact else row["psnr_db_lowest"],
            f"{100 * row['present']:.0f} %",
        )
        for row in report["rows"]
    ]
    head = ("means", "looks at the UNet", "dB to exact, median", "lowest", "finding present")
    note = f"{report['phantoms']} phantoms, {report['edits_a_row']} edits a row, device {report['device']}. "
    return f"{table(head, rows)}\n\n{note}{provenance(report)}"


def full_size(report: dict[str, Any]) -> str:
    """What the export of one checkpoint took, and its verdict."""
    rows = [
        (stage, report[stage]["wall_s"], report[stage]["processor_s"], report[stage]["peak_gb"])
        for stage in ("export", "edit")
        if stage in report
    ]
    costs = table(("stage", "wall, s", "processor, s", "peak memory, GB"), rows)
    verdicts = [
        (precision, network, f"{values['relative']:.1g}", f"{values['psnr_db']:.1f}")
        for precision, networks in report["parity"].items()
        for network, values in networks.items()
    ]
    parity = table(("precision", "network", "largest difference over the range", "dB"), verdicts)
    return f"{costs}\n\n{parity}\n\n{provenance(report)}"


def full_size_int8(report: dict[str, Any]) -> str:
    """The same of an export with int8; what it says of float32 stands in another table."""
    return full_size({**report, "parity": {"int8": report["parity"]["int8"]}})


def int8_kernels(report: dict[str, Any]) -> str:
    """What OpenVINO's kernels of each instruction set make of an int8 UNet."""
    names = ("kernels", "activations", "db", "db_lowest", "integer_convolutions", "ms")
    rows = [tuple(row.get(name, "-") for name in names) for row in report["rows"]]
    head = ("kernels", "activations", "dB to float32, median", "lowest", "convolutions in integers", "a call, ms")
    return f"{table(head, rows)}\n\nEngine {report['engine']}, {report['samples']} samples. {provenance(report)}"


def reuse(report: dict[str, Any]) -> str:
    """What a shallow call of the UNet costs against a whole one."""
    rows = [(row["joins"], f"{row['whole_s']:.2f}", f"{row['shallow_s']:.2f}", row["share"]) for row in report["rows"]]
    head = ("joins", "whole call, s", "shallow call, s", "shallow over whole")
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
    """What an edit beside a card costs the processor, and how many launches each graph of the UNet takes."""
    launches = table(("graph", "launches of a guided UNet call"), list(report["launches"].items()))
    stages = ("placement", "vae_encoder", "text_encoder", "unet", "vae_decoder", "compose")
    rows = [
        (
            " x ".join(map(str, row["picture"])),
            row["compose"],
            row["batch"],
            f"{1000 * row['seconds_an_edit']:.1f}",
            *(f"{1000 * row['stages'][stage]:.1f}" for stage in stages),
            f"{row['taken_gb']:.1f}",
        )
        for row in report["edits"]
    ]
    parts = ("placement", "VAE encoder", "text encoder", "UNet and loop", "VAE decoder", "compose")
    head = ("picture", "compose", "edits at once", "an edit, ms", *parts, "memory, GB")
    return f"{launches}\n\n{table(head, rows)}\n\nMedians. {provenance(report)}"


def first_start(report: dict[str, Any]) -> str:
    """What the first start on an RTX card costs the processor."""
    rows = [
        (network.replace("_", " "), f"{seconds:.1f}", f"{report['kept_gb'][network]:.2f}")
        for network, seconds in report["seconds"].items()
    ]
    rows.append(("all", f"{sum(report['seconds'].values()):.1f}", f"{sum(report['kept_gb'].values()):.2f}"))
    body = table(("network", "compiled in, s", "kept, GB"), rows)
    head = f"For {report['architecture']}, {report['batch']} picture at once, medians of {report['rounds']} rounds"
    return f"{body}\n\n{head}; the process holds {report['peak_gb']:.1f} GB at most. {provenance(report)}"


TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "speed": ("speed.json", speed),
    "speed, AMX": ("speed-amx.json", speed),
    "speed, peers": ("speed-peers.json", speed),
    "speed, ggml": ("speed-ggml.json", speed),
    "means": ("means.json", means),
    "means, 35 phantoms": ("means-35.json", means),
    "means, reuse": ("means-reuse.json", means),
    "int8 kernels": ("int8_kernels.json", int8_kernels),
    "reuse": ("reuse.json", reuse),
    "host side": ("host-side.json", host_side),
    "first start": ("first-start.json", first_start),
    "installed sizes": ("sizes.json", sizes),
    "full size, 1.4": ("full_size-sd1.json", full_size),
    "full size, 1.4, int8": ("full_size-sd1-int8.json", full_size_int8),
    "full size, 2.1": ("full_size-sd2.json", full_size),
    "sameness, tiny": ("sameness-tiny-sd1.json", sameness),
    "sameness, full size": ("sameness-sd1.json", sameness),
}


def render(text: str) -> str:
    """Return the page with each table between its marks written anew; one without results says so."""
    for name, (file, write) in TABLES.items():
        begin, end = f"<!-- {name}: written by benchmarks/tables.py -->", f"<!-- end of {name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise SystemExit(f"{PAGE.name}: has no marks for {name}: add {begin} and {end}")
        path = RESULTS / file
        body = write(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else "Not measured."
        text = f"{before}{begin}\n\n{body}\n\n{end}{after}"
    return text


def main() -> None:
    before = PAGE.read_text(encoding="utf-8")
    after = render(before)
    if "--check" in sys.argv[1:]:
        sys.exit(before != after)
    PAGE.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
