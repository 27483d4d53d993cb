"""The device ``rtx`` on NVIDIA's plugin itself, without a GPU: CUDA's libraries are fakes, see ``fake_cuda.c``.

The plugin offers the GPU, reads our options, takes our networks and compiles them, and reads engines from where we
say; what it would do next, to have TensorRT open an engine on the GPU, is not seen here.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roentmod_fast.bundle.bundle import find_bundle, read_bundle
from roentmod_fast.bundle.manifest import FILE_NAME, NETWORKS, fact_of, render_manifest
from roentmod_fast.runtime.backends.tensorrt_rtx import RTX, RTX_PACKAGE
from tests.cuda import fake_cuda
from tests.cuda.on_cuda import HALF

pytestmark = pytest.mark.skipif(fake_cuda.why_not(RTX_PACKAGE) is not None, reason=str(fake_cuda.why_not(RTX_PACKAGE)))

PHANTOM = find_bundle("phantom").folder

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run this Python on a machine with an RTX GPU, and a cache of its own."""
    folder = tmp_path_factory.mktemp("fake")
    fake_cuda.build(folder)
    fake_cuda.plug_in(folder / "pci")

    def run_there(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        gpu = {"FAKE_SM": "89", "FAKE_PCI": str(folder / "pci"), "XDG_CACHE_HOME": str(folder / "cache")}
        return fake_cuda.run(folder, *arguments, **{**gpu, **variables})

    return run_there


def node_of(path: Path) -> tuple[Any, dict[str, Any]]:
    """Return the one node of an ONNX file, and its attributes."""
    import onnx

    [node] = onnx.load(path).graph.node
    return node, {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


@pytest.fixture(scope="module")
def compiled(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the tiny engine and the built-in one, as the plugin has compiled them."""
    cache = tmp_path_factory.mktemp("cache")
    for engine in (HALF, PHANTOM):
        notes = fake_cuda.answer(run("-m", "tests.cuda.on_rtx", "compile_all", str(engine), XDG_CACHE_HOME=str(cache)))
        assert notes[-4:] == [f"{network} is compiled for this GPU, once" for network in NETWORKS]
    return cache


def test_doctor_finds_the_gpu_and_prefers_it(run: Run) -> None:
    done = run("-m", "roentmod_fast", "doctor")
    assert done.returncode == 0, done.stdout
    assert "NVIDIA GPU: fake GPU, sm89, 80 GiB" in done.stdout
    assert "device auto: rtx (NvTensorRTRTXExecutionProvider)" in done.stdout


@pytest.mark.parametrize(("why", "architecture"), [({"FAKE_SM": "90"}, "sm90"), ({"FAKE_PCI": "/none"}, "sm89")])
def test_a_gpu_that_the_plugin_does_not_take_or_see_is_reported(
    run: Run, why: dict[str, str], architecture: str
) -> None:
    done = run("-m", "roentmod_fast", "doctor", **why)
    assert f"sm86, sm89, sm120 and later, offers no GPU here; there is fake GPU ({architecture})" in done.stdout
    assert "device auto: rtx" not in done.stdout


def test_it_takes_each_network_whole_and_what_it_compiles_is_kept(compiled: Path) -> None:
    found = {path.parents[1].name: path for path in compiled.rglob("engine.onnx")}
    networks = [read_bundle(HALF).manifest.networks["fp16"], read_bundle(PHANTOM).manifest.networks["fp32"]]
    assert found.keys() == {file for files in networks for file in files.values()}
    for source, path in found.items():
        assert "fake-gpu-sm89-580.65.06" in path.parts
        node, attributes = node_of(path)
        assert node.op_type == "EPContext", source
        assert attributes["source"] == RTX.provider.encode()
        engine = path.parent / attributes["ep_cache_context"].decode()
        assert engine.parent == path.parent
        assert engine.stat().st_size > 1_000_000
        assert sorted(path.parent.iterdir()) == sorted([path, engine])


def test_what_was_kept_is_read_from_where_it_was_moved_to(run: Run, compiled: Path, tmp_path: Path) -> None:
    shutil.copytree(compiled, tmp_path / "cache")
    chest = tmp_path / "chest.dcm"
    assert run("-m", "roentmod_fast", "sample", str(chest), "--size", "128").returncode == 0
    words = ["-m", "roentmod_fast", "edit", str(chest), "-p", "edema", "-p", "hernia", "--batch", "2"]
    words += ["--engine", str(HALF), "--device", "rtx", "--precision", "fp16"]
    done = run(*words, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert done.returncode == 1
    made_again, again, error = [
        line for line in done.stderr.splitlines() if "text_encoder" in line or line.startswith("Error: ")
    ]
    assert made_again.startswith("note: the cached network of text_encoder does not open and is compiled again: ")
    read = f"TensorRT EP could not deserialize engine from cache: {tmp_path / 'cache'}"
    assert f"cannot open it on rtx: {read}" in made_again
    assert again == "note: text_encoder is compiled for this GPU, once"
    assert "cannot open it on rtx: [NvTensorRTRTX EP] Failed to create serialized engine" in error
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [chest.name]
    assert len(list((tmp_path / "cache").rglob("compiled/engine.onnx"))) == 2 * len(NETWORKS), "it was put back"
    assert not list((tmp_path / "cache").rglob("compiled.*"))


def test_options_are_read(run: Run) -> None:
    """So that those which we give are known to be options of the plugin."""
    assert "nv_fake" in fake_cuda.answer(run("-m", "tests.cuda.on_rtx", "unknown_option"))


@pytest.fixture(scope="module", params=[HALF, PHANTOM], ids=lambda engine: engine.name)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny engine, and the built-in one, with engines built ahead of time."""
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    from roentmod_fast_export import tensorrt as aot

    folder: Path = shutil.copytree(request.param, tmp_path_factory.mktemp("built") / request.param.name)
    manifest = read_bundle(folder).manifest
    [networks] = manifest.networks.values()
    records = aot.build_engines(folder, networks, manifest.files, ["sm89"], aot.find_compiler(["sm89"]))
    names = [name for record in records for name in (record["file"], record["engine"])]
    files = {**manifest.files, **{name: fact_of(folder / name) for name in names}}
    text = render_manifest(replace(manifest, tensorrt=tuple(records), files=files))
    (folder / FILE_NAME).write_text(text, encoding="utf-8")
    return folder


def test_engines_built_ahead_of_time_are_found_and_read(run: Run, built: Path) -> None:
    manifest = read_bundle(built).manifest
    [record] = [record for record in manifest.tensorrt if record["network"] == NETWORKS[0]]
    said = fake_cuda.answer(run("-m", "tests.cuda.on_rtx", "opened", str(built)))
    assert said.startswith(f"{built / record['file']}: ONNX Runtime cannot open it on rtx: ")
    assert said.endswith(f"TensorRT EP could not deserialize engine from cache: {built / record['engine']}")


def test_engines_for_another_gpu_are_compiled_anew(run: Run, built: Path) -> None:
    said = fake_cuda.answer(run("-m", "tests.cuda.on_rtx", "opened", str(built), FAKE_SM="86"))
    [networks] = read_bundle(built).manifest.networks.values()
    assert f"{built / networks['text_encoder']}: ONNX Runtime cannot open it on rtx: " in said


def test_our_node_says_what_the_plugins_own_says(compiled: Path, built: Path) -> None:
    manifest = read_bundle(built).manifest
    [networks] = manifest.networks.values()
    [own] = [path for path in compiled.rglob("engine.onnx") if networks["unet"] in path.parts]
    [record] = [record for record in manifest.tensorrt if record["network"] == "unet"]
    (theirs, their), (ours, our) = node_of(own), node_of(built / record["file"])
    assert (ours.op_type, ours.domain) == (theirs.op_type, theirs.domain)
    assert sorted(ours.input) == sorted(theirs.input)
    assert list(ours.output) == list(theirs.output)
    # The first repeats the node's domain, the other is of a default that this onnx writes.
    assert their.keys() - our.keys() <= {"ep_context_op_domain", "max_size"}
    assert our.keys() <= their.keys()
    for name in ("source", "embed_mode", "main_context", "onnx_model_filename"):
        assert our[name] == their[name], name
