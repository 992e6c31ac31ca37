"""``tsdsl eval``: what it says, and what it says when something does not fit."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from tiny import write_spec, write_videos

import tsdsl
from tsdsl.training.score_files import read_rows, read_scores
from tsdsl.weights.weight_files import save

Run = Callable[..., Result]

#: The last linear layer is over positions: another crop has others.
FIXED_SIZE = """tsnet 1
space Fixed {
  param crop = 16
  input clip(channels=3, frames=4, height=crop, width=crop, interval=2)
  stream main(clip) { stem s(4) }
  head main -> flatten -> transpose -> linear(3) -> global_avg_pool
}
block s(x, width: int) { return x -> conv(width, 1x3x3, stride=1x2x2) -> relu }
"""
CHOICE = """tsnet 1
space Choice {
  input clip(channels=3, frames=4, height=16, width=16, interval=2)
  stream main(clip) { stem s(width ~ {4, 8}) }
  head main -> global_avg_pool -> linear(3)
  evaluate one { clips = 1 }
  evaluate two { clips = 2 }
}
block s(x, width: int) { return x -> conv(width, 1x3x3, stride=1x2x2) -> relu }
"""
#: What the network gives are probabilities already.
SOFTMAX = CHOICE.replace("width ~ {4, 8}", "4").replace("linear(3)", "linear(3) -> softmax")


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 videos of three classes, and two that cannot be used."""
    path = write_videos(tmp_path_factory.mktemp("eval"))
    (path.parent / "empty.mp4").touch()
    path.write_text("nothing.mp4 white\n" + path.read_text() + "\nempty.mp4 dark\n")
    return path


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    return write_spec(tmp_path / "tiny.tsnet", norm=True)


def weights(
    spec: Path, path: Path, arch: tsdsl.Architecture | None = None, scale: float = 30, **about: str
) -> Path:
    """Random weights that tell videos apart by how bright they are."""
    torch.manual_seed(1)
    net = tsdsl.compile(tsdsl.load(spec), arch)
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point() and "running" not in name and tensor.dim() == 2:
            tensor.copy_(torch.randn(tensor.shape) * scale)
    classes = json.dumps(["dark", "grey", "white"])
    save(path, net.state_dict(), {"format": "tsnet-weights/1", "classes": classes, **about})
    return path


@pytest.fixture
def trained(spec: Path, tmp_path: Path) -> Path:
    return weights(spec, tmp_path / "w.safetensors")


def test_what_is_printed(run: Run, spec: Path, videos: Path, trained: Path) -> None:
    done = run("eval", spec, "--data", videos, "--weights", trained, "--workers", 0)
    assert done.exit_code == 0, done.stderr
    said = done.stdout
    assert said.startswith("Tiny, evaluate three: 2 clips x 3 crops of 20 x 20, 4 frames")
    assert "14 scored of 16; missing: 1 missing, 1 empty" in said
    assert "worst classes" in said and "(3 classes)" in said and "(multiply-adds) per view" in said
    assert "compiled for 16 x 16 and takes crops of 20 x 20" in done.stderr
    assert "nothing.mp4: missing (there is no such file)" in done.stderr
    assert "empty.mp4: empty (the file has no bytes)" in done.stderr


def test_outputs_that_cannot_be(run: Run, spec: Path, videos: Path, trained: Path) -> None:
    """Said before anything is computed; what is read is never written over."""
    before = videos.read_bytes()
    for output, code, said in (
        (videos, 2, "which is read"),
        ("none/s.csv", 3, "the directory 'none' does not exist"),
        (f"{videos}/s.csv", 3, "E0807"),
    ):
        done = run("eval", spec, "--data", videos, "--weights", trained, "-o", output)
        assert done.exit_code == code and said in done.stderr, done.stderr
        assert done.stdout == ""
    assert videos.read_bytes() == before


def test_json_and_files_agree(run: Run, spec: Path, videos: Path, trained: Path) -> None:
    outputs = [a for name in ("s.csv", "s.jsonl", "s.npz") for a in ("-o", name)]
    done = run(
        "eval", spec, "--data", videos, "--weights", trained, "--workers", 0, "--json", *outputs
    )
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["format_version"], found["videos"], found["scored"]) == (1, 16, 14)
    # A 1x3x3 convolution of stride 2 on 4 x 20 x 20, another one, a linear layer.
    assert found["macs"] == tsdsl.load(spec, set={"crop": 20}).flops()
    assert found["macs_of_a_video"] == 6 * found["macs"]
    rows = read_rows("s.jsonl")
    assert rows == read_rows("s.csv") and len(rows) == 16
    assert [row.problem for row in rows] == ["missing", *[None] * 14, "empty"]
    right = [row.predicted == row.label for row in rows if row.problem is None]
    assert found["top1"] == pytest.approx(sum(right) / 14)
    scores = read_scores("s.npz")
    assert scores.top1 == found["top1"] and scores.classes == ("dark", "grey", "white")
    assert [m.path for m in scores.missing] == ["nothing.mp4", "empty.mp4"]
    with open("s.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert table[1]["path"] == "v0.mp4" and table[1]["class"] == "dark"


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As ranks have here: with more, sums have another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_two_processes_equal_one(
    run: Run, spec: Path, videos: Path, trained: Path, tmp_path: Path
) -> None:
    options = ["eval", spec, "--data", videos, "--weights", trained, "--workers", 0]
    assert run(*options, "-o", "one.npz").exit_code == 0
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launch, "-m", "tsdsl.cli", *map(str, options), "-o", "two.npz"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("mean class accuracy") == 1
    one, two = read_scores(tmp_path / "one.npz"), read_scores(tmp_path / "two.npz")
    assert np.array_equal(one.probabilities_NK, two.probabilities_NK)
    assert np.ptp(one.probabilities_NK, axis=0).max() > 0.01
    assert (one.paths, one.missing) == (two.paths, two.missing)


def test_options_change_little(run: Run, spec: Path, videos: Path, trained: Path) -> None:
    options = ["eval", spec, "--data", videos, "--weights", trained]
    assert run(*options, "--workers", 0, "-o", "a.npz").exit_code == 0
    assert run(*options, "--workers", 2, "-o", "b.npz").exit_code == 0
    assert run(*options, "--workers", 0, "--batch", 5, "-o", "c.npz").exit_code == 0
    assert run(*options, "--workers", 0, "--amp", "-o", "d.npz").exit_code == 0
    a, b, c, d = (read_scores(f"{name}.npz").probabilities_NK for name in "abcd")
    assert np.array_equal(a, b)
    np.testing.assert_allclose(a, c, rtol=0, atol=1e-5)
    assert 0 < np.abs(a - d).max() < 0.2


def test_the_architecture_comes_with_the_weights(run: Run, videos: Path, tmp_path: Path) -> None:
    from tsdsl.ir.arch_file import dump

    spec = tmp_path / "choice.tsnet"
    spec.write_text(CHOICE)
    arch = next(a for a in tsdsl.load(spec).sample(2, seed=0) if a["main.stem.width"] == 8)
    options = ["eval", spec, "--data", videos, "--workers", 0, "--evaluate", "two"]
    plain = weights(spec, tmp_path / "plain.safetensors", arch)
    done = run(*options, "--weights", plain)
    assert done.exit_code == 2 and "--frozen" in done.stderr
    held = weights(spec, tmp_path / "held.safetensors", arch, architecture=dump(arch))
    assert run(*options, "--weights", held, "-o", "held.npz").exit_code == 0
    (tmp_path / "arch.json").write_text(dump(arch))
    assert run(*options, "--weights", plain, "--frozen", "arch.json", "-o", "a.npz").exit_code == 0
    one, other = (read_scores(tmp_path / name) for name in ("held.npz", "a.npz"))
    assert np.array_equal(one.probabilities_NK, other.probabilities_NK)
    broken = weights(spec, tmp_path / "broken.safetensors", arch, architecture="{")
    done = run(*options, "--weights", broken)
    assert done.exit_code == 1 and "E0701" in done.stderr and "broken.safetensors" in done.stderr


def test_which_section(run: Run, videos: Path, tmp_path: Path) -> None:
    spec = tmp_path / "choice.tsnet"
    spec.write_text(CHOICE.replace("width ~ {4, 8}", "4"))
    held = weights(spec, tmp_path / "w.safetensors")
    options = ["eval", spec, "--data", videos, "--weights", held, "--workers", 0, "--json"]
    done = run(*options)
    assert done.exit_code == 2 and "--evaluate: one, two" in done.stderr
    done = run(*options, "--evaluate", "three")
    assert done.exit_code == 2 and "the spec has: one, two" in done.stderr
    assert json.loads(run(*options, "--evaluate", "two").stdout)["views"] == 2
    assert json.loads(run(*options, "--evaluate", "two", "--views", "3x3").stdout)["views"] == 9
    changed = run(*options, "--evaluate", "two", "--set", "evaluate.two.clips=4")
    assert json.loads(changed.stdout)["views"] == 4
    assert run(*options, "--views", "10x2").exit_code == 2


def test_without_a_section(run: Run, videos: Path, tmp_path: Path) -> None:
    spec = tmp_path / "fixed.tsnet"
    spec.write_text(FIXED_SIZE)
    held = weights(spec, tmp_path / "w.safetensors")
    done = run("eval", spec, "--data", videos, "--weights", held, "--workers", 0)
    assert done.exit_code == 0, done.stderr
    assert "has no evaluate section; this is 10 clips x 1 crop of 16 x 16" in done.stderr
    assert "10 clips x 1 crop of 16 x 16" in done.stdout


def test_a_network_of_one_size(run: Run, videos: Path, tmp_path: Path) -> None:
    spec = tmp_path / "fixed.tsnet"
    section = "  evaluate large { clips = 1  crop = 20 }\n}\nblock"
    spec.write_text(FIXED_SIZE.replace("}\nblock", section))
    held = weights(spec, tmp_path / "w.safetensors")
    options = ["eval", spec, "--data", videos, "--weights", held, "--workers", 0]
    done = run(*options)
    assert done.exit_code == 1
    assert "error[E0824]: the network does not accept clips of 3 x 4 x 20 x 20" in done.stderr
    assert "--set crop=" in done.stderr
    # Compiled for that size, the weights are of another shape.
    done = run(*options, "--set", "crop=20")
    assert done.exit_code == 1 and "error[E0831]" in done.stderr
    assert run(*options, "--set", "evaluate.large.crop=16").exit_code == 0


def test_a_head_that_ends_in_a_softmax(run: Run, videos: Path, tmp_path: Path) -> None:
    """Its scores are averaged as they are."""
    plain, softmax = tmp_path / "plain.tsnet", tmp_path / "softmax.tsnet"
    plain.write_text(SOFTMAX.replace(" -> softmax", ""))
    softmax.write_text(SOFTMAX)
    held = weights(plain, tmp_path / "w.safetensors")
    for spec in (plain, softmax):
        done = run(
            "eval", spec, "--data", videos, "--weights", held, "--workers", 0, "--evaluate", "two",
            "-o", f"{spec.stem}.npz",
        )  # fmt: skip
        assert done.exit_code == 0, done.stderr
    one, other = (read_scores(tmp_path / f"{s}.npz") for s in ("plain", "softmax"))
    np.testing.assert_allclose(one.probabilities_NK, other.probabilities_NK, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "code", "exit_code"),
    [
        ("v0.mp4 dark\nv1.mp4 blue\n", "E0811", 1),
        ("v0.mp4 0\nv1.mp4 3\n", "E0811", 1),
        ("nothing.mp4 dark\n", "E0812", 1),
        ("", "E0811", 1),
    ],
)
def test_lists_that_do_not_fit(
    run: Run, spec: Path, trained: Path, videos: Path, tmp_path: Path,
    text: str, code: str, exit_code: int,
) -> None:  # fmt: skip
    (tmp_path / "list.csv").write_text(text)
    done = run(
        "eval", spec, "--data", "list.csv", "--root", videos.parent, "--weights", trained,
        "--workers", 0,
    )  # fmt: skip
    assert done.exit_code == exit_code and code in done.stderr and not done.stdout


def test_weights_that_do_not_fit(run: Run, spec: Path, videos: Path, tmp_path: Path) -> None:
    options = ["eval", spec, "--data", videos, "--workers", 0, "--weights"]
    assert run(*options, "none.safetensors").exit_code == 3
    assert run(*options, tmp_path).exit_code == 3
    (tmp_path / "text.safetensors").write_text("no weights")
    done = run(*options, "text.safetensors")
    assert done.exit_code == 1 and "E0832" in done.stderr
    other = tmp_path / "fixed.tsnet"
    other.write_text(FIXED_SIZE)
    done = run(*options, weights(other, tmp_path / "other.safetensors"))
    assert done.exit_code == 1 and "E0831" in done.stderr


def test_a_list_with_more_classes_than_the_network(run: Run, spec: Path, tmp_path: Path) -> None:
    held = weights(spec, tmp_path / "w.safetensors", classes="not JSON")
    (tmp_path / "list.csv").write_text("a.mp4 0\nb.mp4 7\n")
    done = run("eval", spec, "--data", "list.csv", "--weights", held, "--workers", 0)
    assert done.exit_code == 1
    assert "this list has 8 classes, the network has 3 outputs" in done.stderr


def test_names_that_the_weights_do_not_number(run: Run, spec: Path, videos: Path) -> None:
    for classes, told in (("not JSON", True), ('["dark", "grey", "white"]', False)):
        held = weights(spec, spec.parent / "w.safetensors", classes=classes)
        done = run("eval", spec, "--data", videos, "--weights", held, "--workers", 0)
        assert done.exit_code == 0 and ("which class has which number" in done.stderr) is told


def test_classes_are_numbered_by_the_weights(run: Run, spec: Path, videos: Path) -> None:
    options = ["eval", spec, "--data", videos, "--workers", 0, "--json", "--weights"]
    one = weights(spec, spec.parent / "one.safetensors", classes='["dark", "grey", "white"]')
    other = weights(spec, spec.parent / "other.safetensors", classes='["white", "dark", "grey"]')
    found = [json.loads(run(*options, path).stdout) for path in (one, other)]
    assert [[c["videos"] for c in f["classes"]] for f in found] == [[5, 5, 4], [4, 5, 5]]
    assert [c["name"] for c in found[1]["classes"]] == ["white", "dark", "grey"]


def test_weights_that_are_no_numbers(run: Run, spec: Path, videos: Path, tmp_path: Path) -> None:
    held = weights(spec, tmp_path / "w.safetensors", scale=float("nan"))
    done = run("eval", spec, "--data", videos, "--weights", held, "--workers", 0)
    assert done.exit_code == 1 and "E0825" in done.stderr and "v0.mp4" in done.stderr


def test_a_figure(run: Run, spec: Path, videos: Path, trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    options = ["eval", spec, "--data", videos, "--weights", trained, "--workers", 0]
    assert run(*options, "--plot", "c.svg").exit_code == 0
    text = (tmp_path / "c.svg").read_text(encoding="utf-8")
    assert "taken for: Tiny" in text and "14 scored of 16 videos" in text
    assert run(*options, "--plot", "c.txt").exit_code == 2


def test_files_that_cannot_be_written(
    run: Run, spec: Path, videos: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["eval", spec, "--data", videos, "--weights", trained, "--workers", 0]
    assert run(*options, "-o", "scores.txt").exit_code == 2
    # What could not be known beforehand: the result is not lost.
    monkeypatch.setattr("tsdsl.cli.verbs.eval.check_outputs", lambda *paths: None)
    done = run(*options, "-o", "no/where.csv")
    assert done.exit_code == 3 and "top-1" in done.stdout


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("crop=1000000000", "does not accept clips"),
        ("clips=1000000000", "at most 10,000"),
        ("short_side=10", "does not fit a short side of 10"),
    ],
)
def test_sections_that_cannot_be(
    run: Run, spec: Path, videos: Path, trained: Path, setting: str, told: str
) -> None:
    options = ["eval", spec, "--data", videos, "--weights", trained, "--workers", 0]
    done = run(*options, "--set", f"evaluate.three.{setting}")
    assert done.exit_code == 1 and "E0824" in done.stderr and told in done.stderr


def test_a_header_that_is_not_known(
    run: Run, spec: Path, videos: Path, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "list.csv").write_text("clip_id action\n" + videos.read_text())
    options = ["eval", spec, "--root", videos.parent, "--weights", trained, "--workers", 0]
    plain = run(*options, "--data", videos, "--json")
    headed = run(*options, "--data", "list.csv", "--json")
    assert plain.exit_code == headed.exit_code == 0, headed.stderr
    assert "'clip_id' and 'action' are taken as the names of columns" in headed.stderr
    assert json.loads(plain.stdout)["top1"] == json.loads(headed.stdout)["top1"]
