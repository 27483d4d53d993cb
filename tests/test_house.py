"""The order of the rooms: no import circle, and no comparison of devices outside ``runtime/backends/``."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import roentmod_fast

PACKAGE = Path(roentmod_fast.__file__).parent
FILES = {
    path: path.relative_to(PACKAGE.parent).with_suffix("").as_posix().replace("/", ".")
    for path in PACKAGE.rglob("*.py")
}
MODULES = {name.removesuffix(".__init__") for name in FILES.values()}


def imported(path: Path) -> set[str]:
    """Return the package's modules that a module imports when it is imported itself."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
        found.update(name for name in names if name in MODULES)
    return found


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {name.removesuffix(".__init__"): imported(path) for path, name in FILES.items()}
    assert graph["roentmod_fast.runtime.networks"], "imports are found"

    def reachable(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += graph[name]
        return seen

    # A package that a module imports as "from package import module" is not what that module needs.
    circles = [
        name for name in graph if name in reachable(name) and not any(each.startswith(f"{name}.") for each in graph)
    ]
    assert circles == []


def test_the_study_stands_on_the_editor_and_knows_nothing_of_the_command_line() -> None:
    graph = {name.removesuffix(".__init__"): path for path, name in FILES.items()}
    study = {name: path for name, path in graph.items() if name.startswith("roentmod_fast.study")}
    assert len(study) > 10 and "roentmod_fast.editor" in imported(study["roentmod_fast.study.make"])
    for name, path in graph.items():
        text = path.read_text(encoding="utf-8")
        if name in study:
            assert "roentmod_fast.cli" not in text and "import click" not in text, name
        elif ".cli" not in name and not name.startswith("roentmod_fast.app"):
            assert "roentmod_fast.study" not in text, name


def test_the_app_stands_on_all_of_the_library_and_only_its_command_knows_it() -> None:
    app = {path: name for path, name in FILES.items() if name.startswith("roentmod_fast.app.")}
    assert len(app) > 5
    for path, name in FILES.items():
        text = path.read_text(encoding="utf-8")
        if path in app:
            assert "roentmod_fast.cli" not in text and "import click" not in text, name
        elif name not in ("roentmod_fast.app.__init__", "roentmod_fast.cli.app"):
            assert "roentmod_fast.app" not in text and "import starlette" not in text, name


DEVICES = "CPU|CUDA|RTX|TENSORRT|OPENVINO"
COMPARES = re.compile(rf"\bdevice(\.name)? (==|!=|in) |\b({DEVICES}) *[!=]=|([!=]=|\bis|\bis not) ({DEVICES})\b")


def test_no_code_compares_devices_outside_the_backends() -> None:
    for line in ("if device == CPU:", "if device in (CUDA, RTX):", "if chosen is CUDA:", "x = device.name != 'cpu'"):
        assert COMPARES.search(line), line
    found = [
        f"{name}: {line.strip()}"
        for path, name in FILES.items()
        if ".runtime.backends" not in name
        for line in path.read_text(encoding="utf-8").splitlines()
        if COMPARES.search(re.sub(r"\bfor device in ", "", line))
    ]
    assert found == []
