"""Operations that other packages add by an entry point: found, used like built-in ones, checked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tsdsl
from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.ops import BY_NAME, OPS
from tsdsl.ops.registry import Operations

ROOT = Path(__file__).resolve().parents[2]

MODULE = '''
from tsdsl.ir.op import ModuleCall, Op, OpArgs, Param
from pydantic import Field


class LayerNormArgs(OpArgs):
    eps: float = Field(default=1e-5, gt=0, le=1, description="added to the variance")


class LayerNorm(Op):
    """Normalises the channels of each position, then scales and shifts each channel."""

    name = "layer_norm"
    Args = LayerNormArgs
    keeps_shape = True
    examples = (({}, ((7,),)), ({"eps": 1e-3}, ((5, 3, 4, 6),)))

    @staticmethod
    def infer(args, *shapes):
        return shapes[0]

    @staticmethod
    def params(args, *shapes):
        size = shapes[0][:1]
        return (
            Param("weight", ("CHANNELS",), size, "ones"),
            Param("bias", ("CHANNELS",), size, "zeros"),
        )

    @staticmethod
    def module(args, *shapes):
        return ModuleCall(
            "torch.nn.LayerNorm",
            (shapes[0][0],),
            {"eps": args.eps},
            apply="{module}({0}.movedim(1, -1)).movedim(-1, 1)",
            defaults={"eps": 1e-5},
        )
'''

SPEC = """tsnet 1
block layer(x, width: int) {
  return x -> conv(width, 1x3x3) -> layer_norm(eps=0.001) -> relu
}
space Outside {
  input clip(channels=3, frames=4, height=16, width=16)
  stream main(clip) {
    stem layer(4)
    stage s1 { width ~ {6, 8}  use layer(width) }
  }
  head main -> global_avg_pool -> layer_norm -> linear(3)
}
"""


def package(folder: Path, name: str, module: str, **operations: str) -> None:
    """Write a package as an installer would: one module, with entry points to its names."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(module, encoding="utf-8")
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{each} = {name}:{value}" for each, value in operations.items()]
    (info / "entry_points.txt").write_text("\n".join(["[tsdsl.ops]", *lines, ""]))


def test_an_operation_of_a_package_is_used_like_a_built_in_one(tmp_path: Path) -> None:
    package(tmp_path / "site", "norms", MODULE, layer_norm="LayerNorm")
    (tmp_path / "own.tsnet").write_text(SPEC, encoding="utf-8")

    def python(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    command = ("-m", "tsdsl.cli")
    python(*command, "check", "own.tsnet")
    (tmp_path / "arch.json").write_text(python(*command, "sample", "own.tsnet", "--seed", "0"))
    costs = json.loads(python(*command, "flops", "own.tsnet", "--frozen", "arch.json", "--json"))
    assert costs
    python(*command, "compile", "own.tsnet", "--frozen", "arch.json", "-o", "model.py")
    source = (tmp_path / "model.py").read_text(encoding="utf-8")
    assert "nn.LayerNorm(" in source and ".movedim(1, -1)" in source
    assert "norms" not in source
    python(
        "-c",
        "import torch\n"
        "from model import Outside\n"
        "from norms import LayerNorm\n"
        "from tsdsl.testing import check_operation\n"
        "check_operation(LayerNorm)\n"
        "assert Outside()(torch.zeros(2, 3, 4, 16, 16)).shape == (2, 3)\n",
    )


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of packages that this process finds, and forgets again."""

    def forget() -> None:
        vars(BY_NAME).pop("_offered", None)
        BY_NAME._loaded.clear()
        for name in ("norms", "other"):
            sys.modules.pop(name, None)

    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    forget()
    yield folder
    forget()


def finding(text: str, folder: Path) -> Diagnostic:
    (folder / "own.tsnet").write_text(text, encoding="utf-8")
    found = [each for each in tsdsl.check(folder / "own.tsnet") if each.severity == "error"]
    assert {each.code for each in found} == {"E0215"}, found
    assert len({each.span for each in found}) == len(found), "a place is reported once"
    return found[0]


@pytest.mark.parametrize(
    ("module", "operations", "message"),
    [
        ("import no_such_module", {"layer_norm": "LayerNorm"},
         "the operation 'layer_norm' of the package 'norms' cannot be imported"
         " (ModuleNotFoundError: No module named 'no_such_module')"),
        ("raise ValueError", {"layer_norm": "LayerNorm"},
         "the operation 'layer_norm' of the package 'norms' cannot be imported (ValueError)"),
        (MODULE, {"layer_norm": "Missing"},
         "the operation 'layer_norm' of the package 'norms' cannot be imported"
         " (AttributeError: module 'norms' has no attribute 'Missing')"),
        (MODULE, {"layer_norm": "LayerNormArgs"},
         "the entry point 'layer_norm = norms:LayerNormArgs' of the package 'norms' leads to"
         " something that is no operation"),
        ("from tsdsl.ir.op import Op\nclass Half(Op): name = 'layer_norm'", {"layer_norm": "Half"},
         "the entry point 'layer_norm = norms:Half' of the package 'norms' leads to an operation"
         " without infer, module, Args"),
        (MODULE.replace('name = "layer_norm"', 'name = "norm"'), {"layer_norm": "LayerNorm"},
         "the entry point 'layer_norm = norms:LayerNorm' of the package 'norms' leads to an"
         " operation that is named 'norm'"),
        (MODULE, {"layer_norm": "LayerNorm", "conv": "LayerNorm"},
         "the package 'norms' offers 'conv', which is built in"),
    ],
)  # fmt: skip
def test_a_fault_of_a_package_is_a_finding(
    site: Path, module: str, operations: dict[str, str], message: str
) -> None:
    package(site, "norms", module, **operations)
    found = finding(SPEC, site)
    assert found.message == message
    assert found.span is not None and found.span.text == "layer_norm"
    assert "norms" in (found.help or "")
    for _ in range(2):
        with pytest.raises(SpecError):
            BY_NAME["layer_norm"]
    assert BY_NAME.find("layer_norm") is None


def test_two_packages_of_one_name_are_a_finding(site: Path) -> None:
    package(site, "norms", MODULE, layer_norm="LayerNorm")
    package(site, "other", MODULE, layer_norm="LayerNorm")
    message = finding(SPEC, site).message
    assert message == "the operation 'layer_norm' is offered by 'norms' and 'other'"


def test_a_misspelt_name_is_compared_with_those_of_packages(site: Path) -> None:
    package(site, "norms", MODULE, layer_norm="LayerNorm")
    (site / "own.tsnet").write_text(SPEC.replace("-> layer_norm ->", "-> layer_nrm ->"))
    (found,) = tsdsl.check(site / "own.tsnet")
    assert (found.code, found.help) == ("E0201", "did you mean 'layer_norm'?")
    assert list(BY_NAME) == [*(op.name for op in OPS), "layer_norm"]


def test_a_cost_table_may_name_an_operation_of_a_package(site: Path) -> None:
    package(site, "norms", MODULE, layer_norm="LayerNorm")
    assert BY_NAME.get("layer_norm") is BY_NAME["layer_norm"]
    assert BY_NAME.get("layer_nrm") is None


@pytest.mark.parametrize("name", ["slowfast_r50", "x3d_s"])
def test_specs_of_built_in_operations_search_no_packages(
    name: str, monkeypatch: pytest.MonkeyPatch, fails: Callable[..., None]
) -> None:
    monkeypatch.setattr(Operations, "_offered", property(fails))
    assert not [
        each for each in tsdsl.check(ROOT / "specs" / f"{name}.tsnet") if each.severity == "error"
    ]


@pytest.fixture
def fails() -> Callable[..., None]:
    def fail(_: object) -> None:
        raise AssertionError("the installed packages are searched")

    return fail
