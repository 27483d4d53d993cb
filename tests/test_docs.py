"""The docs do what they say: commands and code of the README run, every command and option is documented."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest

from roentmod_fast.cli import cli
from tests.cli.conftest import run_process

ROOT = Path(__file__).parent.parent
FOLDERS = ("", "docs", "benchmarks", "benchmarks/archive", "engines/phantom", "engines/cxr-mini")
PAGES = tuple(
    page for folder in FOLDERS for page in sorted((ROOT / folder).glob("*.md")) if page.name != "CHANGELOG.md"
)
LONGEST = {"README.md": 90, "docs/performance.md": 120}
"""Lines that a page may have."""


def blocks(page: Path, language: str = "") -> list[str]:
    """Return the fenced blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands() -> list[tuple[str, click.Command]]:
    """Return every command with its full name, groups and their members both."""
    context = click.Context(cli)
    found: list[tuple[str, click.Command]] = []
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {below}", member) for below, member in command.commands.items()]
    return found


def test_the_readmes_commands_and_code_run_in_order(tmp_path: Path) -> None:
    page = ROOT / "README.md"
    lines = [line for block in blocks(page) for line in block.splitlines() if line.startswith("roentmod-fast ")]
    lines = [line for line in lines if "study.dcm" not in line]  # the reader's own file
    assert len(lines) == 2
    for line in lines:
        ran = run_process(*shlex.split(line)[1:], cwd=tmp_path)
        assert ran.code == 0, ran.err
    assert {path.name for path in tmp_path.iterdir()} == {"chest.dcm", "chest.edema.dcm", "chest.edema.preview.png"}
    [code] = blocks(page, "python")
    import os

    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        exec(compile(code, "README.md", "exec"), {})
    finally:
        os.chdir(before)
    assert (tmp_path / "edema.dcm").is_file()


def test_makes_targets_in_the_docs_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {
        match
        for page in PAGES
        for block in blocks(page)
        for match in re.findall(r"^make ([\w-]+)", block, re.MULTILINE)
    }
    assert {"test", "test-all", "docs", "lint"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize(("name", "command"), commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_has_help_with_an_example_and_a_place_in_the_docs(name: str, command: click.Command) -> None:
    help_text = command.help or ""
    assert help_text
    if not isinstance(command, click.Group):
        assert f"roentmod-fast {name}" in help_text
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help or isinstance(parameter.type, click.Choice), parameter.name
    assert any(f"roentmod-fast {name}" in page.read_text(encoding="utf-8") for page in PAGES), name


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target, place in re.findall(r"\]\(([^)#:]*)(#[^)]+)?\)", page.read_text(encoding="utf-8")):
            linked = page.parent / target if target else page
            assert linked.exists(), f"{page.name}: {target}"
            assert not place or place[1:] in places(linked), f"{page.name}: {target}{place}"


def places(page: Path) -> set[str]:
    """Return what a link may end in: a page's headings as a web site of Markdown names them, and its anchors."""
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    named = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return named | set(re.findall(r'<a id="([^"]+)">', text))


@pytest.mark.parametrize(("page", "lines"), LONGEST.items())
def test_first_pages_are_short(page: str, lines: int) -> None:
    assert len((ROOT / page).read_text(encoding="utf-8").splitlines()) <= lines


def test_tables_match_the_results() -> None:
    script = ROOT / "benchmarks" / "tables.py"
    ran = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def write_cli() -> ModuleType:
    """Import the script that writes docs/cli.md."""
    spec = importlib.util.spec_from_file_location("write_cli", ROOT / "docs" / "write_cli.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("columns", [None, "40", "300"])
def test_the_page_of_the_command_line_matches_help(columns: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the terminal; versions of click differ in white space, which is left out here."""
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    script = write_cli()
    assert script.PAGE.read_text(encoding="utf-8").split() == script.page().split(), "run make docs"


def test_the_page_of_the_command_line_has_every_command() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for name, command in commands():
        assert f"\n## roentmod-fast {name}\n" in text or command.hidden, name
