"""``tsdsl train``: what it prints and leaves; interruptions; what does not fit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from make_videos import broken
from tiny import write_spec, write_videos

from tsdsl.data.video_problems import KINDS
from tsdsl.diagnostics import Diagnostic
from tsdsl.training.checkpoint import Checkpoints
from tsdsl.training.scoring import EvaluationError
from tsdsl.training.session import ListEvaluator
from tsdsl.weights.weight_files import load


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny.tsnet and list.csv."""
    made = tmp_path_factory.mktemp("train")
    write_spec(made / "tiny.tsnet", norm=True)
    write_videos(made)
    return made


@pytest.fixture
def train(run, folder: Path) -> Any:
    def invoke(*more: str | Path, spec: str = "tiny.tsnet", data: str = "list.csv") -> Any:
        wanted = ["train", folder / spec, "--data", folder / data, "--device", "cpu"]
        return run(*wanted, "--workers", "0", *more)

    return invoke


def test_a_run(train, folder: Path, tmp_path: Path) -> None:
    done = train("-o", "run", "--tensorboard", "--log-every", "1")
    assert done.exit_code == 0, done.stderr
    assert "epoch 3: loss" in done.stderr and "9 steps, 3 an epoch" in done.stderr
    assert "peak memory" in done.stdout and "run/last.safetensors" in done.stdout
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [*range(1, 10), 9]
    assert log[-1]["event"] == "end" and log[0]["lr"] == pytest.approx(0.01)
    assert list((tmp_path / "run/tensorboard").iterdir())
    # The folder needs nothing of tsdsl.
    program = (
        "import sys; sys.path.insert(0, 'run'); import model, torch\n"
        "from safetensors.torch import load_file\n"
        "net = model.Tiny(); net.load_state_dict(load_file('run/last.safetensors'))\n"
        "print(net.eval()(torch.zeros(1, 3, 4, 16, 16)).shape)\n"
        "assert 'tsdsl' not in sys.modules\n"
    )
    alone = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert "[1, 3]" in alone.stdout, alone.stderr
    about = load(tmp_path / "run/last.safetensors").about
    assert about["space"] == "Tiny" and json.loads(about["classes"]) == ["dark", "grey", "white"]
    assert (about["step"], about["epoch"]) == ("9", "3")


def test_evaluated_between_epochs(train, folder: Path, tmp_path: Path) -> None:
    arguments = ["--val", folder / "list.csv", "--evaluate", "three", "--evaluate-every", "2"]
    done = train("-o", "run", *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    found = {line["epoch"]: line for line in log if line["event"] == "evaluate"}
    # Every second epoch, and at the end.
    assert list(found) == [2, 3]
    assert report["top1"] == found[3]["top1"]
    assert report["best_top1"] == max(line["top1"] for line in found.values())
    assert found[2]["best"] and found[2]["videos"] == 14
    best = load(tmp_path / "run/best.safetensors").about
    assert best["epoch"] == str(report["best_epoch"])
    assert done.stderr.count("evaluated: top-1") == 2
    described = json.loads((tmp_path / "run/run.json").read_text())
    assert described["evaluate"]["clips"] == 2 and described["val"]["videos"] == 14


def test_the_best_is_kept_whenever_it_is(train, folder: Path, tmp_path: Path) -> None:
    """Also where no checkpoint would be due."""
    done = train("-o", "run", "--val", folder / "list.csv", "--save-every", "1000", "--json")
    assert done.exit_code == 0, done.stderr
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    best = [line for line in log if line["event"] == "evaluate" and line["best"]][-1]
    report = json.loads(done.stdout)
    about = load(tmp_path / "run/best.safetensors").about
    assert about["step"] == str(best["step"]) and about["epoch"] == str(report["best_epoch"])
    assert report["best_top1"] == best["top1"]


def test_bad_videos_of_both_lists_are_named(train, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.mp4").write_bytes((folder / "v3.mp4").read_bytes()[:600])
    lines = [f"{folder}/v{k}.mp4 {k % 3}" for k in range(6)]
    (tmp_path / "val.csv").write_text("\n".join([*lines, f"{tmp_path}/cut.mp4 0"]))
    train_list = [f"{folder}/v{k}.mp4 {k % 3}" for k in range(8)]
    (tmp_path / "train.csv").write_text("\n".join([*train_list, f"{tmp_path}/none.mp4 0"]))
    done = train("-o", "run", "--val", tmp_path / "val.csv", data=str(tmp_path / "train.csv"))
    assert done.exit_code == 0, done.stderr
    named = [json.loads(x) for x in (tmp_path / "run/bad_videos.jsonl").read_text().splitlines()]
    assert {Path(entry["path"]).name for entry in named} == {"cut.mp4", "none.mp4"}
    assert f"not scored: {tmp_path}/cut.mp4: truncated" in done.stderr
    assert f"replaced: {tmp_path}/none.mp4: missing" in done.stderr
    assert "1 video cannot be used" in done.stderr
    assert "videos that cannot be used    2" in done.stdout


def test_weights_that_have_gone_too_far_are_not_saved(train, tmp_path: Path) -> None:
    """The loss was finite before the step that spoiled them."""
    far = ["--set", "train.lr=1e38", "--set", "train.schedule=constant", "--save-every", "1"]
    done = train("-o", "run", *far)
    assert done.exit_code == 1 and "is not finite" in done.stderr, done.stderr
    steps = Checkpoints(str(tmp_path / "run/checkpoints")).steps()
    for step in steps:
        held = load(tmp_path / f"run/checkpoints/step-{step:08d}/weights.safetensors").tensors
        assert all(t.isfinite().all() for t in held.values())
    assert "E0822" in done.stderr


def test_json_and_settings(train, tmp_path: Path) -> None:
    done = train(
        "--set", "train.epochs=1", "--set", "train.batch=2", "--json", "--micro-batch", "1"
    )
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["format_version"] == 1 and report["steps"] == 7
    assert report["run"] == "runs/Tiny" and (tmp_path / "runs/Tiny/model.py").exists()
    assert report["peak_memory"] > 2**20 and report["bad_videos"] == []


def test_resumed_and_begun_with_weights(train, tmp_path: Path) -> None:
    assert train("-o", "run").exit_code == 0
    refused = train("-o", "run")
    assert refused.exit_code == 3 and "--resume goes on with it" in refused.stderr
    again = train("-o", "run", "--resume")
    assert again.exit_code == 0 and "9 of them done" in again.stderr
    other = train("-o", "run", "--resume", "--set", "train.lr=0.2")
    assert other.exit_code == 1 and "recipe.lr was 0.1, is 0.2" in other.stderr
    tuned = train("-o", "tuned", "--weights", "run/last.safetensors", "--set", "train.lr=1e-5")
    assert tuned.exit_code == 0, tuned.stderr
    one, two = (load(tmp_path / name / "last.safetensors").tensors for name in ("run", "tuned"))
    name = next(n for n in one if n.endswith("conv.weight"))
    assert torch.allclose(one[name], two[name], atol=1e-3)
    assert not torch.equal(one[name], two[name])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_and_resumed(folder: Path, tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-m", "tsdsl.cli", "train", str(folder / "tiny.tsnet")]
    command += ["--data", str(folder / "list.csv"), "--device", "cpu", "--workers", "1"]
    command += ["--set", "train.epochs=2000", "--threads", "1", "-o"]
    started = subprocess.Popen([*command, "run"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "run/log.jsonl"
    deadline = time.monotonic() + 300
    while not (log.exists() and log.read_text().count("\n") > 3):
        assert time.monotonic() < deadline and started.poll() is None
        time.sleep(0.05)
    started.send_signal(number)
    stderr = started.communicate(timeout=180)[1]
    assert started.returncode == 130, stderr
    assert "the same command with --resume goes on" in stderr and "Traceback" not in stderr
    saved = load(tmp_path / "run/last.safetensors").about["step"]
    assert f"stopped after step {saved};" in stderr


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGINT], [signal.SIGTERM] * 2])
def test_a_signal_to_the_whole_group(folder: Path, tmp_path: Path, numbers: list[int]) -> None:
    """As `timeout`, Slurm and containers send it: the processes that decode get it, too."""
    command = [sys.executable, "-m", "tsdsl.cli", "train", str(folder / "tiny.tsnet")]
    command += ["--data", str(folder / "list.csv"), "--device", "cpu", "--workers", "2"]
    command += ["--set", "train.epochs=2000", "--threads", "1", "--log-every", "1", "-o", "run"]
    started = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    log = tmp_path / "run/log.jsonl"
    while not (log.exists() and log.read_text().count("\n") > 3):
        assert started.poll() is None
        time.sleep(0.05)
    for number in numbers:
        os.killpg(started.pid, number)
    stderr = started.communicate(timeout=180)[1]
    assert started.returncode == 130, stderr
    saved = load(tmp_path / "run/last.safetensors").about["step"]
    assert f"stopped after step {saved};" in stderr and "Traceback" not in stderr
    # None of its processes is left.
    with pytest.raises(ProcessLookupError):
        os.killpg(started.pid, 0)


def test_a_third_of_the_videos_is_broken(train, folder: Path, tmp_path: Path) -> None:
    bad = broken(tmp_path)
    good = (folder / "list.csv").read_text().splitlines()
    lines = [f"{folder}/{line}" for line in (good * 2)[:22]]
    lines += [f"{path} grey" for path in bad.values()]
    (tmp_path / "mixed.csv").write_text("\n".join(lines))
    done = train("-o", "run", "--set", "train.epochs=4", data=str(tmp_path / "mixed.csv"))
    assert done.exit_code == 0, done.stderr
    named = [json.loads(x) for x in (tmp_path / "run/bad_videos.jsonl").read_text().splitlines()]
    assert {entry["kind"]: entry["path"] for entry in named} == {
        kind: str(path) for kind, path in bad.items()
    }
    assert set(bad) == set(KINDS)
    assert "videos that cannot be used  12" in done.stdout
    assert done.stderr.count("replaced: ") == 5
    end = json.loads((tmp_path / "run/log.jsonl").read_text().splitlines()[-1])
    assert end["bad_videos"] == 12 and end["replaced"] >= 12


@pytest.mark.parametrize("at", [2, 3])
def test_an_epoch_outlives_its_evaluation(
    train, folder: Path, tmp_path: Path, monkeypatch, at: int
) -> None:
    """A list that cannot be scored is refused before the first step; one that cannot be scored
    later costs no step."""
    for name, data in (("empty.mp4", b""), ("text.mp4", b"words")):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "bad.csv").write_text("empty.mp4 dark\ntext.mp4 grey\n")
    done = train("-o", "none", "--val", tmp_path / "bad.csv")
    assert done.exit_code == 1 and "none of 2 videos can be used" in done.stderr
    assert "step" not in (tmp_path / "none/log.jsonl").read_text()

    scored, calls = ListEvaluator.__call__, []

    def fails(self: ListEvaluator, *given: object) -> object:
        calls.append(1)
        if len(calls) == at:
            raise EvaluationError([Diagnostic("E0825", "the disk is gone")])
        return scored(self, *given)

    settings = ["--set", "train.epochs=3", "--val", folder / "list.csv", "--save-every", "1000"]
    whole = train("-o", "straight", *settings)
    assert whole.exit_code == 0, whole.stderr
    with monkeypatch.context() as patched:
        patched.setattr(ListEvaluator, "__call__", fails)
        done = train("-o", "run", *settings)
        assert done.exit_code == 1 and "the disk is gone" in done.stderr
    steps = Checkpoints(str(tmp_path / "run/checkpoints")).steps()
    assert steps and steps[-1] == 3 * at
    again = train("-o", "run", *settings, "--resume")
    assert again.exit_code == 0, again.stderr
    for which in ("last", "best"):
        one, other = (load(tmp_path / n / f"{which}.safetensors") for n in ("run", "straight"))
        assert one.about == other.about
        assert all(torch.equal(t, other.tensors[name]) for name, t in one.tensors.items())
    scores = [
        [x["top1"] for x in map(json.loads, text.splitlines()) if x["event"] == "evaluate"]
        for text in ((tmp_path / n / "log.jsonl").read_text() for n in ("run", "straight"))
    ]
    assert scores[0] == scores[1] and len(scores[0]) == 3


def test_what_does_not_fit(train, folder: Path, tmp_path: Path) -> None:
    (folder / "four.csv").write_text("\n".join(f"v{k}.mp4 {k}" for k in range(4)))
    (folder / "two.csv").write_text("\n".join(f"v{k}.mp4 {k % 2}" for k in range(8)))
    (tmp_path / "weights").write_bytes(b"nothing")
    cases: list[tuple[int, str, tuple[str, ...], dict[str, str]]] = [
        (1, "has 4 classes, the network has 3 outputs", (), {"data": "four.csv"}),
        (3, "there is no such list", (), {"data": "none.csv"}),
        (1, "14 videos do not fill a step of 16", ("--set", "train.batch=16"), {}),
        (1, "cannot be split into passes of 3", ("--micro-batch", "3"), {}),
        (1, "a crop of 30 does not fit", ("--set", "train.crop=30"), {}),
        (1, "this file holds no weights", ("--weights", "weights"), {}),
        (3, "there is no such", ("--weights", "none.safetensors"), {}),
        (2, "there is no evaluate section 'x'", ("--val", "x", "--evaluate", "x"), {}),
        (2, "are for --val", ("--evaluate", "three"), {}),
        (1, "there is no setting 'lrr'", ("--set", "train.lrr=1"), {}),
        (1, "not finite", ("--set", "train.lr=1e30", "--set", "train.schedule=constant"), {}),
    ]
    for at, (code, text, arguments, more) in enumerate(cases):
        done = train("-o", f"run{at}", *arguments, **more)
        assert done.exit_code == code, (text, done.stderr)
        assert text in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    taken = train("-o", "weights")
    assert taken.exit_code == 3 and "'weights' is a file: give the name of a folder" in taken.stderr
    fewer = train("-o", "fewer", data="two.csv")
    assert fewer.exit_code == 0 and "W0973" in fewer.stderr
    if os.geteuid():
        (tmp_path / "sealed").mkdir(mode=0o500)
        assert train("-o", "sealed/run").exit_code == 3
    (tmp_path / "file").touch()
    assert train("-o", "file").exit_code == 3


def test_lists_that_may_be_meant_otherwise(train, folder: Path, tmp_path: Path) -> None:
    lines = (folder / "list.csv").read_text().splitlines()
    (tmp_path / "train.csv").write_text(
        "clip_id action\n" + "\n".join(f"{folder}/{line}" for line in lines)
    )
    (tmp_path / "val.csv").write_text("\n".join(f"{folder}/{line}" for line in lines[:4]))
    done = train(
        "-o", "run", "--val", str(tmp_path / "val.csv"), "--set", "train.epochs=1",
        data=str(tmp_path / "train.csv"),
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "'clip_id' and 'action' are taken as the names of columns" in done.stderr
    assert "W0984]: 4 of 4 videos are in" in done.stderr


def test_a_folder_of_train_and_val(train, tmp_path: Path) -> None:
    for name in ("train/dark", "train/bright", "val/dark"):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "a.mp4").touch()
    done = train("-o", "run", data=str(tmp_path / "set"))
    assert done.exit_code == 1 and "'train' holds folders of videos" in done.stderr
