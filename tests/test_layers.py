"""Who may import what: import-linter's contracts, and what really happens in a fresh process."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SPEC = str(ROOT / "specs" / "x3d_s.tsnet")

#: Runs a command in this process and fails if it imported one of the modules named first.
PROGRAM = """
import sys
forbidden, arguments = sys.argv[1].split(","), sys.argv[2:]
from tsdsl.cli.__main__ import cli
try:
    cli.main(arguments)
except SystemExit as end:
    assert not end.code, f"exit code {end.code}"
imported = sorted(name for name in forbidden if name in sys.modules)
assert not imported, f"imported {imported}"
"""


def run(forbidden: str, *arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", before + PROGRAM, forbidden, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", SPEC],
        ["check", "--dump", SPEC],
        ["flops", SPEC],
        ["flops", SPEC, "--json"],
        ["flops", str(ROOT / "specs" / "auto_tsnet_s.tsnet")],
        ["sample", str(ROOT / "specs" / "auto_tsnet_s.tsnet")],
        ["compile", SPEC],
    ],
    ids=lambda arguments: "-".join(Path(a).stem for a in arguments),
)
def test_torch_is_not_imported(arguments: list[str]) -> None:
    done = run("torch", *arguments)
    assert done.returncode == 0, done.stderr


def test_check_imports_no_numpy() -> None:
    done = run("torch,numpy,rich", "check", SPEC)
    assert done.returncode == 0, done.stderr


def test_figures_are_imported_for_plot_only() -> None:
    for verb in ("flops", "space"):
        done = run("matplotlib,tsdsl.plots,torch", verb, SPEC)
        assert done.returncode == 0, done.stderr


def test_help_imports_click_only() -> None:
    done = run("torch,numpy,rich,lark,pydantic,tsdsl.diagnostics,tsdsl.ir", "--help")
    assert done.returncode == 0, done.stderr


def test_piped_flops_does_not_import_rich() -> None:
    done = run("rich", "flops", SPEC)
    assert done.returncode == 0, done.stderr


def test_the_test_can_fail() -> None:
    """An import of torch on the way, here a module that takes its name, is noticed."""
    before = "import sys, types; sys.modules['torch'] = types.ModuleType('torch')\n"
    done = run("torch", "--version", before=before)
    assert done.returncode == 1 and "imported ['torch']" in done.stderr


def test_importing_the_package_imports_nothing() -> None:
    program = (
        "import sys; before = set(sys.modules); import tsdsl;"
        "new = set(sys.modules) - before; assert new == {'tsdsl'}, new"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_exports_exist() -> None:
    import tsdsl

    for name in tsdsl.__all__:
        assert getattr(tsdsl, name) is not None
    assert set(tsdsl.__all__) <= set(dir(tsdsl))
    with pytest.raises(AttributeError):
        _ = tsdsl.nothing


def test_every_package_is_in_a_layer() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    named = {name.strip() for layer in layers for name in layer.split(":")}
    found = {
        path.stem
        for path in (ROOT / "tsdsl").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert found - {"__init__"} <= named


def test_contracts_hold() -> None:
    tool = Path(sys.executable).parent / "lint-imports"
    if not tool.exists():
        pytest.skip("import-linter is not installed")
    done = subprocess.run(
        [tool, "--config", "pyproject.toml", "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


#: A file, a line that is planted in it, and the contract that this breaks.
VIOLATIONS = [
    ("ir/values.py", "import tsdsl.cli", "imports go one way"),
    ("ir/space.py", "import torch", "only backends, data, searching, training and weights import"),
    ("cli/output.py", "import tsdsl.cli.verbs.check", "a verb is imported by nothing"),
    ("cli/verbs/flops.py", "import tsdsl.cli.verbs.check", "a verb is imported by nothing"),
    (
        "sema/interpreter/names.py",
        "from tsdsl.sema.builder.draft import SpaceDraft",
        "the interpreter of expressions does not know the builder of spaces",
    ),
    (
        "searching/plan.py",
        "import tsdsl.searching.parsec.step",
        "search algorithms are known to the registry, and not to each other",
    ),
    (
        "searching/uniform/algorithm.py",
        "from tsdsl.searching.parsec.step import ParsecStep",
        "search algorithms are known to the registry, and not to each other",
    ),
    (
        "diagnostics/collector.py",
        "from tsdsl.diagnostics.render import visible",
        "findings do not know how they are shown",
    ),
    ("analysis/logits.py", "import tsdsl.analysis.elimination", "questions build on each other"),
    (
        "analysis/elimination/bucket_tree.py",
        "import tsdsl.analysis.elimination.cache",
        "exact queries import each other in no circle",
    ),
    (
        "analysis/costs/counted/macs.py",
        "import tsdsl.ops",
        "a cost knows what an operation is",
    ),
]


def test_contracts_can_fail(tmp_path: Path) -> None:
    """In a copy of the package with an import planted for each contract, each is found broken."""
    import shutil

    tool = Path(sys.executable).parent / "lint-imports"
    if not tool.exists():
        pytest.skip("import-linter is not installed")
    shutil.copytree(
        ROOT / "tsdsl", tmp_path / "tsdsl", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file, statement, _ in VIOLATIONS:
        path = tmp_path / "tsdsl" / file
        path.write_text(f"{path.read_text()}\n{statement}\n")
    done = subprocess.run(
        [tool, "--config", "pyproject.toml", "--no-cache"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    broken = [line for line in done.stdout.splitlines() if line.endswith("BROKEN")]
    contracts = {contract for _, _, contract in VIOLATIONS}
    for contract in contracts:
        assert any(line.startswith(contract) for line in broken), (contract, done.stdout)
    assert len(broken) == len(contracts)
