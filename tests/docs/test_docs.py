"""Whatever a page shows is true: its specs check, its Python runs, its commands print what it says.

What stands behind the three backticks:

- ``tsnet``: a whole file without findings; ``file=NAME`` saves it for the blocks below;
- ``tsnet fragment PLACE``: a part of one, put where `WRAPS` says. Decisions in it may be without
  effect (W0902), and what it defines may stay unused;
- ``tsnet bad CODE``, also of a fragment: it has findings of exactly that code;
- ``python``: a program;
- ``pycon``: an interactive session (see `sessions`); those of a page share their names;
- ``sh``: commands; those of `tsdsl` run, and must succeed;
- ``console``: ``$ command`` lines, each with what it prints on both outputs (where anything is
  shown); ``...`` stands for a part of a line, or as a line for any number of them. Behind the
  command stands ``# exit code N`` if that is not 0.

All blocks of a page run in order in one folder that has the project's `specs` and `examples`, each
program and each command of tsdsl in a fork of this process, which has imported torch.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import forking
import pytest

import tsdsl
import tsdsl.searching.parsec.step
import tsdsl.training.trainer

ROOT = Path(__file__).resolve().parents[2]
#: Runs the interactive sessions of a page.
SESSIONS = Path(__file__).with_name("sessions.py")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Languages of blocks that say nothing that could be tried.
SHOWN = {"text", "yaml", "json", ""}
#: A shell finds the command of this environment; what it prints is 100 columns wide, and both of
#: its outputs are in their order, as on a terminal.
SETTINGS = {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "COLUMNS": "100",
    "PYTHONUNBUFFERED": "1",
}
#: Commands in ``sh`` that are not tried: they set up an environment, or a shell.
UNTRIED = ("make ", "pip ", "eval ")

SPACE = """tsnet 1
import "std/video" as v
space Fragment {{
  input clip(channels=3, frames=16, height=64, width=64)
  {before}
  stream {name}(clip, every=4) {{ {body} }}
  stream dense(clip) {{
    stem v.x3d_stem(8)
    stage s1(stride=1x2x2) {{ use v.mbconv3d(8) }}
  }}
  {after}
  head concat({name} -> v.conv5(32), dense -> v.conv5(32)) -> linear(10)
}}
"""
BODY = """
  stem v.x3d_stem(8)
  stage s1(stride=1x2x2) {
    width ~ {8, 16}
    repeat depth ~ 1..2 { use v.mbconv3d(width, kernel ~ {1x3x3, 3x3x3}) }
  }
"""


def _space(text: str) -> str:
    return SPACE.format(before="", name="sparse", body=BODY, after=text)


def _stream(text: str) -> str:
    return SPACE.format(before="", name="main", body=f"stem v.x3d_stem(8)\n{text}", after="")


def _stage(text: str) -> str:
    return _stream(f"stage s1 {{ {text} }}")


def _expr(text: str) -> str:
    return _space("\n".join(f"require {line}" for line in text.splitlines()))


def _module(text: str) -> str:
    return f'tsnet 1\nimport "std/video" as v\n{text}'


#: Where a fragment is put.
WRAPS = {
    "space": _space,
    "stream": _stream,
    "stage": _stage,
    "expr": _expr,
    "module": _module,
}


class Block(NamedTuple):
    page: Path
    line: int
    words: list[str]
    text: str

    @property
    def language(self) -> str:
        return self.words[0] if self.words else ""

    @property
    def spec(self) -> str:
        """The whole file of a spec."""
        if "fragment" not in self.words:
            return self.text
        return WRAPS[self.words[self.words.index("fragment") + 1]](self.text)

    @property
    def expected(self) -> str | None:
        """The code of the finding that it must have."""
        return self.words[self.words.index("bad") + 1] if "bad" in self.words else None


_FENCE = re.compile(r"^```(?P<words>[^`\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, m.start()) + 1, m["words"].split(), m["text"])
        for m in _FENCE.finditer(text)
    ]


def place(block: Block) -> str:
    return f"{block.page.name}:{block.line}"


SPECS = [block for page in PAGES for block in blocks(page) if block.language == "tsnet"]


def workplace(folder: Path) -> None:
    for name in ("specs", "examples"):
        shutil.copytree(ROOT / name, folder / name)


@pytest.mark.parametrize("block", SPECS, ids=place)
def test_specs_have_the_findings_that_the_page_says(block: Block, tmp_path: Path) -> None:
    for other in blocks(block.page):
        save(other, tmp_path)
    path = tmp_path / "block.tsnet"
    path.write_text(block.spec, encoding="utf-8")
    found = tsdsl.check(path)
    ignored = {"W0902"} if "fragment" in block.words else set[str]()
    codes = {finding.code for finding in found} - ignored
    assert codes == ({block.expected} if block.expected else set()), [
        f"{finding.code} {finding.message}" for finding in found
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_programs_and_commands_do_what_the_page_says(page: Path, tmp_path: Path) -> None:
    workplace(tmp_path)
    sessions = False
    for block in blocks(page):
        match block.language:
            case "tsnet":
                save(block, tmp_path)
            case "python":
                done = forking.program(block.text, tmp_path, env=SETTINGS, merged=True)
                assert done.returncode == 0, f"{place(block)}\n{done.stdout}"
            case "sh":
                for command in block.text.splitlines():
                    if not command.startswith(UNTRIED):
                        done = shell(command, tmp_path)
                        assert done.returncode == 0, f"{place(block)}: {command}\n{done.stdout}"
            case "console":
                for command, output in dialogue(block.text):
                    expect(command, output, block, tmp_path)
            case "pycon":
                sessions = True
            case _:
                assert block.language in SHOWN, f"{place(block)}: what is '{block.language}'?"
    if sessions:
        done = run([sys.executable, str(SESSIONS), str(page)], tmp_path)
        assert done.returncode == 0, done.stdout


def save(block: Block, folder: Path) -> None:
    for word in block.words:
        if word.startswith("file="):
            (folder / word.removeprefix("file=")).write_text(block.spec, encoding="utf-8")


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line: a command of tsdsl in a fork, anything else in a shell."""
    if command.startswith("tsdsl ") and not set(command) & set("|&;<>()$`*?~"):
        words = shlex.split(command, comments=True)[1:]
        return forking.command(words, folder, env=SETTINGS, merged=True)
    return run(["sh", "-c", command], folder)


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments,
        cwd=folder,
        env=os.environ | SETTINGS,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )


def dialogue(text: str) -> list[tuple[str, str]]:
    """Commands, each with what is shown of its output."""
    assert text.startswith("$ ")
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    return [(command, output) for command, _, output in (part.partition("\n") for part in parts)]


def expect(command: str, output: str, block: Block, folder: Path) -> None:
    code = re.search(r"# exit code (\d+)$", command)
    done = shell(command, folder)
    told = f"{place(block)}: $ {command}\n{done.stdout}"
    assert done.returncode == (int(code[1]) if code else 0), told
    if output:
        pattern = re.escape(output.strip("\n") + "\n").replace(r"\.\.\.", ".*")
        pattern = re.sub(r"^\.\*\\\n", r"(?:.*\n)*?", pattern, flags=re.MULTILINE)
        assert re.fullmatch(pattern, done.stdout.strip("\n") + "\n"), f"{told}\nis not\n{output}"


def test_a_wrong_page_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ echo a; echo b; exit 1   # exit code 1\na\n...\n```\n")
    (block,) = blocks(page)
    ((command, output),) = dialogue(block.text)
    expect(command, output, block, tmp_path)
    for wrong in ("echo a; exit 1", "echo b; exit 1   # exit code 1"):
        with pytest.raises(AssertionError):
            expect(wrong, output, block, tmp_path)


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_walks_enter_every_file_once() -> None:
    page = (ROOT / "docs" / "design-decisions.md").read_text(encoding="utf-8")
    walks = page.partition("## Three walks through the code")[2].split("\n### ")[1:]
    assert len(walks) == 3
    for walk in walks:
        steps = re.findall(r"^(\d+)\. `([^`]+)`", walk, re.MULTILINE)
        assert [int(number) for number, _ in steps] == list(range(1, len(steps) + 1))
        files = [file for _, file in steps]
        assert len(set(files)) == len(files) > 5
        assert [file for file in files if not (ROOT / file).is_file()] == []


def test_files_that_architecture_names_exist() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tsdsl/[\w/.]+)`", page)
    assert len(named) > 30
    built = "tsdsl/_grammars"  # only in a wheel
    assert [path for path in named if path != built and not (ROOT / path).exists()] == []
