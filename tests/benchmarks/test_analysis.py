"""`benchmarks/analysis.py` runs where peers are absent or broken, and describes spaces rightly."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_spaces import decisions_of, enumerated

from tsdsl.diagnostics import SpecError
from tsdsl.space import Space

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SPEC = """tsnet 1
import "std/video" as v

space Small {
  input clip(channels=3, frames=4, height=32, width=32)
  stream s(clip) {
    stem v.x3d_stem(8)
    stage s1(stride=1x2x2) {
      repeat depth ~ 1..5 {
        use v.mbconv3d(width ~ 8..16 step 8, kernel ~ {1x3x3, 3x3x3}, expand ~ {1.5, 2.25})
      }
    }
  }
  head s -> v.conv5(32) -> linear(10)
}
"""


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`queries.environments` and `described`, as the scripts import them."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.syspath_prepend(str(BENCHMARKS / "peers"))
    import described
    from queries import describe, environments

    return describe, described, environments


def test_without_peers(tmp_path: Path) -> None:
    spec, out = tmp_path / "small.tsnet", tmp_path / "out.json"
    spec.write_text(SPEC, encoding="utf-8")
    script = str(BENCHMARKS / "analysis.py")
    options = ["--seconds", "0.01", "--cache", str(tmp_path / "none"), "--json", str(out)]
    done = subprocess.run(
        [sys.executable, script, str(spec), *options], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(out.read_text(encoding="utf-8"))
    assert {"cpu", "cores", "threads", "load before", "load after"} <= report["machine"].keys()
    (space,) = report["spaces"]
    own = {f["quantity"]: f["value"] for f in space["figures"] if f["tool"] == "tsdsl"}
    assert all(value > 0 for value in own.values())
    assert {"min", "expectation", "gradient", "histogram", "cost", "sample 2 %"} <= own.keys()
    for module, tool in (("pyglove", "PyGlove"), ("ConfigSpace", "ConfigSpace"), ("nni", "NNI")):
        if importlib.util.find_spec(module) is None:
            assert f"{tool} skipped: not installed; --peers sets it up" in done.stdout


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("raise SystemExit('no such thing')", "no such thing"),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("print('hello')", "it printed no figures"),
        ("", "it printed no figures"),
        ("import time; time.sleep(60)", "it took more than 1 s"),
        ('print(\'{"skipped": "the space has requirements"}\')', "the space has requirements"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_broken_peer(
    tools: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, why: str
) -> None:
    _, _, environments = tools
    (tmp_path / "peer.py").write_text(script, encoding="utf-8")
    monkeypatch.setattr(environments, "SCRIPTS", tmp_path)
    monkeypatch.setattr(environments, "RUN", 1)
    peer = environments.Peer("Peer", "peer.py", "json", ())
    (figure,) = environments.figures(peer, tmp_path / "none", tmp_path / "space.json", 0.1)
    assert (figure.value, figure.note) == (None, f"skipped: {why}")


def test_peer_that_cannot_be_installed(tools: Any, tmp_path: Path) -> None:
    _, _, environments = tools
    peer = environments.Peer("Peer", "peer.py", "no_such_module", (str(tmp_path / "absent.whl"),))
    with pytest.raises(environments.Skipped, match="absent"):
        environments.set_up(peer, tmp_path / "cache")
    (figure,) = environments.figures(peer, tmp_path / "cache", tmp_path / "space.json", 0.1)
    assert figure.note == "skipped: not installed; --peers sets it up"


@pytest.mark.parametrize("seed", range(6))
def test_description(tools: Any, tmp_path: Path, seed: int) -> None:
    """Peers look up what tsdsl says of every architecture."""
    describe, described, _ = tools
    graph, rows = enumerated(seed)
    if not rows:
        with pytest.raises(SpecError):
            describe.write(Space(graph), {}, tmp_path / "space.json")
        return
    space = Space(graph)
    describe.write(space, {}, tmp_path / "space.json")
    plain = described.Described(tmp_path / "space.json", 1.0)
    given = [decisions_of(graph, row) for row in rows]
    options = [
        [d.options.index(a[d.path]) if d.path in a else 0 for d in graph.decisions] for a in given
    ]
    assert plain.size == len(rows)
    assert plain.macs(np.array(options)).tolist() == [space.flops(a) for a in given]
