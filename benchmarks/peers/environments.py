"""Make the environments of the peers, and ours, and say how large each is.

    python benchmarks/peers/environments.py FOLDER                            # all: half an hour, 10 GB
    python benchmarks/peers/environments.py FOLDER openvino_genai ours_cpu    # some, made anew

Each is FOLDER/NAME; packages that decide a figure are pinned, which also lets pip resolve in minutes. Sizes go to
``results/sizes.json``: ``du`` over all that is installed, without pip and without compiled bytecode. Where the index
that pip asks has no CPU build of torch, set ``PIP_EXTRA_INDEX_URL`` to one that has. Ours are wheels
of this checkout. ``ggml`` is compiled for this machine, with cmake and a C++ compiler.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "sizes.json"
TORCH, PILLOW = "torch==2.13.0", "pillow==13.0.0"


@dataclass(frozen=True)
class Environment:
    """What pip installs; ``title`` is its row in the table of sizes, empty for what only converts."""

    title: str
    packages: Sequence[str]
    extra: str | None = None
    """Of this project, which is installed too where it is not None."""


ENVIRONMENTS = {
    "ours_cpu": Environment("`roentmod-fast[cpu]`", ("onnxruntime==1.32.0",), "cpu"),
    "ours_openvino": Environment("`roentmod-fast[openvino]`", ("openvino==2026.4.1",), "openvino"),
    "openvino_genai": Environment("OpenVINO GenAI", ("openvino-genai==2026.4.1.0", PILLOW)),
    "ggml": Environment("stable-diffusion-cpp-python", ("stable-diffusion-cpp-python==0.4.7", PILLOW)),
    "diffusers": Environment(
        "diffusers, eager and compiled", (TORCH, "diffusers==0.42.1", "transformers==5.23.0", PILLOW)
    ),
    # optimum-onnx admits no newer transformers, and that no newer diffusers.
    "optimum_onnx": Environment(
        "optimum-onnx",
        (
            "optimum-onnx==0.1.0",
            "onnxruntime==1.32.0",
            TORCH,
            "diffusers==0.35.2",
            "transformers==4.57.6",
            PILLOW,
        ),
    ),
    # From 2.1 on optimum-intel needs torchvision. Its OpenVINO is that of openvino_genai, which reads what it writes.
    "openvino_convert": Environment(
        "",
        (
            "optimum-intel==2.0.0",
            "openvino==2026.4.1",
            "openvino-tokenizers==2026.4.1.0",
            TORCH,
            "diffusers==0.37.1",
            "transformers==5.0.0",
        ),
    ),
}


def make_environment(folder: Path, environment: Environment) -> None:
    """Make ``folder`` anew, with what is named and nothing else: pip stays outside."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    with tempfile.TemporaryDirectory() as copy:
        packages = [*environment.packages]
        if environment.extra is not None:
            # A wheel built in the checkout leaves a folder there that the next build would pick files from.
            source = Path(copy) / "source"
            shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "tests", "benchmarks"))
            packages.append(f"{source}[{environment.extra}]")
        command = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python_of(folder)),
            "install",
            "--quiet",
            "--no-compile",
        ]
        subprocess.run([*command, *packages], check=True)


def python_of(folder: Path) -> Path:
    """Return the interpreter of an environment."""
    return folder / "bin" / "python"


def measure(folder: Path) -> dict[str, object]:
    """Return MB of everything installed in ``folder``, and the packages with their versions."""
    code = (
        "import importlib.metadata, json, sysconfig; "
        "print(json.dumps([sysconfig.get_path('purelib'), "
        "{d.name: d.version for d in importlib.metadata.distributions()}]))"
    )
    said = subprocess.run([str(python_of(folder)), "-c", code], check=True, capture_output=True, text=True).stdout
    packages, versions = json.loads(said)
    versions = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in versions.items()}  # PEP 503
    command = ["du", "--summarize", "--block-size=1M", "--exclude=__pycache__", packages]
    size = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {"mb": int(size.split()[0]), "packages": dict(sorted(versions.items()))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ENVIRONMENTS)}; default: all")
    parser.add_argument("--measure", action="store_true", help="only measure what is there")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    unknown = set(args.names) - set(ENVIRONMENTS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}: expected some of {', '.join(ENVIRONMENTS)}")
    for name in args.names or ENVIRONMENTS:
        environment, folder = ENVIRONMENTS[name], args.folder / name
        if not args.measure:
            make_environment(folder, environment)
        found = measure(folder)
        print(f"{name}: {found['mb']} MB", flush=True)
        if environment.title:
            write_size(args.out, name, {"title": environment.title, "asked": asked(environment), **found})


def asked(environment: Environment) -> list[str]:
    """Return the packages that were asked for by name."""
    ours = [] if environment.extra is None else ["roentmod-fast"]
    return [*ours, *(package.partition("==")[0] for package in environment.packages)]


def write_size(path: Path, name: str, size: dict[str, object]) -> None:
    """Put one environment's size into the results, which keep the order of :data:`ENVIRONMENTS`."""
    report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"environments": {}}
    sizes = {**report["environments"], name: size}
    report = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "environments": {known: sizes[known] for known in ENVIRONMENTS if known in sizes},
    }
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
