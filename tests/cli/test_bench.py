"""``tsdsl bench``: real measurements of tiny networks. No test looks at how long anything took."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import tsdsl
from tsdsl.cli.bench_networks import unique

SPEC = """tsnet 1
space Tiny {
  param crop = 8
  input clip(channels=3, frames=4, height=crop, width=crop)
  stream a(clip) {
    stage s(stride=1x2x2) { width ~ {4, 6, 8}  use conv(width, 1x3x3) }
  }
  head a -> global_avg_pool -> linear(5)
  evaluate center { clips = 10 }
  evaluate lcr { clips = 10  crops = left_center_right  crop = 12 }
}
"""
FIXED = SPEC.replace("~ {4, 6, 8}", "= 4").replace("Tiny", "Fixed")
MODULES = """
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv3d(3, 2, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten())

def net():
    print("made")
    return Net()

def pair():
    return Net(), torch.rand(1, 3, 5, 6, 7)

def raises():
    raise RuntimeError("no weights in weights.pt")

class Boxes:
    number = staticmethod(lambda: 5)
"""
QUICK = ("--repeats", "2", "--warmup", "0", "--threads", "1")


@pytest.fixture
def folder(run: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A space, two of its architectures, a spec without decisions, a module of Python whose name
    no other test imports."""
    (tmp_path / "tiny.tsnet").write_text(SPEC)
    (tmp_path / "fixed.tsnet").write_text(FIXED)
    space = tsdsl.load(tmp_path / "tiny.tsnet")
    for name, width in (("small", 4), ("large", 8)):
        chosen = space.architecture({"a.s.width": width})
        arch = tsdsl.Architecture(chosen, space.name, space.hash)
        arch.save(tmp_path / f"{name}.arch.json")
    (tmp_path / f"{module(request)}.py").write_text(MODULES)
    return tmp_path


def module(request: pytest.FixtureRequest) -> str:
    return f"bench_{abs(hash(request.node.name))}"


@pytest.fixture
def own(request: pytest.FixtureRequest) -> str:
    """Its name."""
    return module(request)


def found(done: Any) -> Any:
    """The JSON, of which the entries are keyed by name."""
    report = json.loads(done.stdout)
    assert report["format_version"] == 1
    return report, {entry["name"]: entry for entry in report["networks"]}


def test_a_spec(run: Any, folder: Path) -> None:
    done = run("bench", "fixed.tsnet", *QUICK, "--batch", "2", "--views", "30", "--json")
    assert done.exit_code == 0, done.stderr
    report, entries = found(done)
    (entry,) = entries.values()
    space = tsdsl.load(folder / "fixed.tsnet")
    assert (entry["name"], entry["space_hash"]) == ("Fixed", space.hash)
    assert (entry["params"], entry["macs"]) == (space.params(), space.flops())
    assert (entry["views"], entry["macs_of_views"]) == (30, 30 * space.flops())
    assert entry["inputs"] == [[2, 3, 4, 8, 8]] and entry["error"] is None
    assert len(entry["latency_ns"]["samples"]) == 2 and entry["latency_ns"]["median"] > 0
    assert entry["peak_bytes"] > 0 and entry["weights_bytes"] == 4 * space.params()
    expected = 2e9 / entry["latency_ns"]["median"]
    assert entry["clips_per_second"] == pytest.approx(expected, rel=1e-3)
    known = report["setup"]
    assert (known["threads"], known["dtype"], known["batch"]) == (1, "float32", 2)
    assert "multiply-adds" in report["flops_convention"] and known["torch"] and known["device"]


def test_the_table(run: Any, folder: Path, own: str) -> None:
    done = run("bench", "fixed.tsnet", *QUICK, "--against", f"{own}:net", "--views", "3")
    assert done.exit_code == 0, done.stderr
    head, first, second, _, *below = done.stdout.splitlines()
    for column in ("network", "params, M", "kFLOPs", "3 views", "latency, ms", "IQR", "clips/s"):
        assert column in head
    assert "peak, MiB" in head and "ratio" in head
    assert first.split()[:2] == ["Fixed", "3x4x8x8"] and first.split()[-2:] == ["1.000", "0.000"]
    assert second.split()[:2] == [f"{own}:net", "3x4x8x8"]
    text = "\n".join(below)
    for fact in ("1 thread, float32, batch 1", "torch 2", "multiply-adds", "FlopCounterMode"):
        assert fact in text
    assert "ratio: latency over that of Fixed" in text
    assert "made" in done.stderr and "made" not in done.stdout
    alone = run("bench", "fixed.tsnet", *QUICK).stdout
    assert "ratio" not in alone and "view" not in alone.splitlines()[0]
    assert "FlopCounterMode" not in alone


def test_on_a_terminal(run: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    done = run("bench", "fixed.tsnet", *QUICK, "--views", "30", "--color", "always")
    assert done.exit_code == 0 and "\x1b[" in done.stdout
    assert "weights, MiB" in done.stdout and "Fixed" in done.stdout and "…" not in done.stdout


def test_architectures_are_rows(run: Any, folder: Path) -> None:
    both = ("--frozen", "small.arch.json", "--frozen", "large.arch.json")
    done = run("bench", "fixed.tsnet", "tiny.tsnet", *both, *QUICK, "--json")
    assert done.exit_code == 0, done.stderr
    report, entries = found(done)
    assert list(entries) == ["Fixed", "Tiny (small)", "Tiny (large)"]
    assert report["ratio_to"] == "Fixed"
    space = tsdsl.load(folder / "tiny.tsnet")
    for name in ("small", "large"):
        entry = entries[f"Tiny ({name})"]
        arch = tsdsl.Architecture.load(folder / f"{name}.arch.json")
        assert entry["params"] == space.params(arch) and entry["macs"] == space.flops(arch)
        assert entry["architecture"] == f"{name}.arch.json"
    assert len(entries["Fixed"]["ratio"]["rounds"]) == 2


def test_which_space_an_architecture_is_of(run: Any, folder: Path) -> None:
    """Two names for one hash: the name decides, and a space that is left with none takes it."""
    (folder / "same.tsnet").write_text(SPEC.replace("Tiny", "Same"))
    (folder / "wide.tsnet").write_text(SPEC.replace("Tiny", "Wide").replace("8}", "10}"))
    small, large = ("--frozen", "small.arch.json"), ("--frozen", "large.arch.json")

    def names(*arguments: str) -> list[str]:
        done = run("bench", *arguments, *QUICK, "--json")
        assert done.exit_code == 0, done.stderr
        return list(found(done)[1])

    assert names("tiny.tsnet", "same.tsnet", *small) == ["Tiny", "Same"]
    document = json.loads((folder / "large.arch.json").read_text()) | {"space": "Same"}
    (folder / "large.arch.json").write_text(json.dumps(document))
    assert names("tiny.tsnet", "same.tsnet", *small, *large) == ["Tiny", "Same"]
    done = run("bench", "tiny.tsnet", "wide.tsnet", *small, *QUICK)
    assert done.exit_code == 2 and "'wide.tsnet' has 1 decision" in done.stderr
    # A hash that is not known any more: the name decides.
    document = json.loads((folder / "small.arch.json").read_text()) | {"space": "Wide"}
    document["space_hash"] = "0" * 32
    (folder / "small.arch.json").write_text(json.dumps(document))
    assert names("wide.tsnet", "fixed.tsnet", *small) == ["Wide", "Fixed"]
    del document["space"], document["space_hash"]
    (folder / "small.arch.json").write_text(json.dumps(document))
    assert names("wide.tsnet", "fixed.tsnet", *small) == ["Wide", "Fixed"]


def test_one_spec_twice(run: Any, folder: Path) -> None:
    (folder / "again").mkdir()
    shutil.copy(folder / "fixed.tsnet", folder / "again")
    done = run("bench", "fixed.tsnet", "again/fixed.tsnet", "fixed.tsnet", *QUICK, "--json")
    assert list(found(done)[1]) == [
        "Fixed (fixed.tsnet)",
        "Fixed (again/fixed.tsnet)",
        "Fixed (fixed.tsnet) #2",
    ]


def test_names_are_unique() -> None:
    assert unique([("a", "a1"), ("a", "a2"), ("b", "b1")]) == ["a1", "a2", "b"]
    assert unique([("a",), ("a",), ("a #2",)]) == ["a", "a #2", "a #2 #2"]
    assert unique([("a", "x", "x1"), ("a", "x", "x2"), ("x",)]) == ["x1", "x2", "x"]


def test_views_of_an_evaluation(run: Any, folder: Path) -> None:
    """Its crop too: what is counted there is what the spec has at that size."""
    done = run("bench", "fixed.tsnet", *QUICK, "--evaluate", "lcr", "--json")
    (entry,) = found(done)[1].values()
    assert entry["inputs"] == [[1, 3, 4, 12, 12]] and entry["views"] == 30
    assert entry["macs"] == tsdsl.load(folder / "fixed.tsnet", set={"crop": 12}).flops()
    done = run("bench", "fixed.tsnet", *QUICK, "--evaluate", "center", "--json")
    (entry,) = found(done)[1].values()
    assert entry["inputs"] == [[1, 3, 4, 8, 8]] and entry["views"] == 10


def test_set_is_for_all(run: Any, folder: Path) -> None:
    done = run("bench", "fixed.tsnet", "tiny.tsnet", *QUICK, "--set", "crop=10", "--json")
    assert done.exit_code == 2
    more = ("--set", "crop=10", "--frozen", "small.arch.json", "--json")
    entries = found(run("bench", "fixed.tsnet", "tiny.tsnet", *QUICK, *more))[1]
    assert [entry["inputs"] for entry in entries.values()] == [[[1, 3, 4, 10, 10]]] * 2


def test_spaces_of_one_file(run: Any, folder: Path) -> None:
    (folder / "both.tsnet").write_text(FIXED + FIXED.split("\n", 1)[1].replace("Fixed", "Second"))
    done = run("bench", "both.tsnet", *QUICK)
    assert done.exit_code == 1 and "E0513" in done.stderr
    done = run("bench", "both.tsnet", *QUICK, "--space", "Second", "--space", "Fixed", "--json")
    assert list(found(done)[1]) == ["Second", "Fixed"]
    done = run("bench", "both.tsnet", "fixed.tsnet", *QUICK, "--space", "Second", "--json")
    assert list(found(done)[1]) == ["Second", "Fixed"]
    done = run("bench", "both.tsnet", "fixed.tsnet", *QUICK, "--space", "Third")
    assert done.exit_code == 2 and "no file has a space 'Third'" in done.stderr


def test_against(run: Any, folder: Path, own: str) -> None:
    more = ("--against", f"{own}:net", "--against", f"{own}:pair", "--views", "2")
    done = run("bench", "fixed.tsnet", *QUICK, *more, "--json")
    assert done.exit_code == 0, done.stderr
    entries = found(done)[1]
    net, pair = entries[f"{own}:net"], entries[f"{own}:pair"]
    assert net["params"] == pair["params"] == 3 * 2 + 2
    assert (net["macs"], pair["macs"]) == (6 * 4 * 8 * 8, 6 * 5 * 6 * 7)
    assert net["macs_of_views"] == 2 * net["macs"]
    assert pair["inputs"] == [[1, 3, 5, 6, 7]] and net["against"] == f"{own}:net"


def test_what_fails_is_said_and_the_rest_is_timed(run: Any, folder: Path, own: str) -> None:
    targets = (f"{own}:raises", f"{own}:Boxes.number", f"{own}:missing", "no_such.module:net")
    more = [part for target in targets for part in ("--against", target)]
    done = run("bench", "fixed.tsnet", *QUICK, *more, "-o", "out.json")
    assert done.exit_code == 1 and "Traceback" not in done.stderr
    assert done.stderr.count("E0728") == 4
    for said in (
        f"{own}:raises cannot be timed: no weights in weights.pt",
        "int, not a torch.nn.Module",
        "has no attribute 'missing'",
        "No module named 'no_such'",
        "called without arguments",
    ):
        assert said in done.stderr
    assert f"{own}:raises failed: no weights in weights.pt" in done.stdout
    assert done.stdout.splitlines()[1].split()[0] == "Fixed"
    report = json.loads((folder / "out.json").read_text())
    errors = [entry["error"] is not None for entry in report["networks"]]
    assert errors == [False, True, True, True, True]
    assert report["networks"][0]["latency_ns"] is not None


def test_all_fail(run: Any, folder: Path) -> None:
    """A crop that is too large for any memory."""
    done = run("bench", "fixed.tsnet", *QUICK, "--set", "crop=400000", "--json")
    assert done.exit_code == 1, done.stderr
    report, entries = found(done)
    assert entries["Fixed"]["error"] == "out of memory" and report["ratio_to"] is None
    assert entries["Fixed"]["macs"] > 0 and entries["Fixed"]["latency_ns"] is None
    done = run("bench", "fixed.tsnet", *QUICK, "--set", "crop=400000")
    assert done.exit_code == 1 and "Fixed failed: out of memory" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("tiny.tsnet",), 2, "say which network with --frozen"),
        (("fixed.tsnet", "--frozen", "small.arch.json"), 2, "of the space 'Tiny', which fits none"),
        (("fixed.tsnet", "--frozen", "none.json"), 3, "E0801"),
        (("fixed.tsnet", "--frozen", "fixed.tsnet"), 1, "E0701"),
        (("none.tsnet",), 3, "E0801"),
        ((), 2, "Missing argument"),
        (("fixed.tsnet", "--evaluate", "lrc"), 2, "did you mean 'lcr'?"),
        (("fixed.tsnet", "--evaluate", "lcr", "--views", "3"), 2, "give one"),
        (("fixed.tsnet", "--against", "net.py"), 2, "not module:function (a module's name has no"),
        (("fixed.tsnet", "--against", "net:"), 2, "not module:function"),
        (("fixed.tsnet", "--against", "a:\x1b[2J"), 2, "\\x1b[2J"),
        (("fixed.tsnet", "--set", "depth=3"), 1, "E0508"),
        (("fixed.tsnet", "--device", "cuda:98"), 1, "E0726"),
        (("fixed.tsnet", "--clock", "cpu", "--threads", "2"), 2, "--clock cpu is for"),
        (("fixed.tsnet", "--views", "0"), 2, "--views"),
        (("fixed.tsnet", "-o", "no/such/place.json"), 3, "E0807"),
        (("fixed.tsnet", "-o", "."), 3, "E0807"),
        (("fixed.tsnet", "-o", "./fixed.tsnet"), 2, "which is read"),
    ],
)
def test_bad_use(run: Any, folder: Path, arguments: Any, code: int, said: str) -> None:
    done = run("bench", *QUICK, *arguments)
    assert (done.exit_code, done.stdout) == (code, "") and said in done.stderr


def test_a_file_and_standard_output(run: Any, folder: Path) -> None:
    done = run("bench", "fixed.tsnet", *QUICK, "-o", "out.json")
    assert done.exit_code == 0 and "latency, ms" in done.stdout and "wrote out.json" in done.stderr
    assert json.loads((folder / "out.json").read_text())["networks"][0]["name"] == "Fixed"
    done = run("bench", "fixed.tsnet", *QUICK, "-o", "-")
    assert done.exit_code == 0 and found(done)[1]


def test_a_busy_machine_is_said(run: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 0.0, 0.0))
    assert "this machine is busy" in run("bench", "fixed.tsnet", *QUICK).stderr
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    assert "busy" not in run("bench", "fixed.tsnet", *QUICK).stderr
