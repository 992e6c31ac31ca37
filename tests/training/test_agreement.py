"""Ranks with different settings all report it before the first step."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from forking import command_main, program_main, run_ranks
from tiny import write_space

import tsdsl
from tsdsl.training.ranks import LostRank, Ranks
from tsdsl.training.torchrun import ProcessRank, RanksError, process_rank

#: A rank that runs commands one after the other in one process group; the file lists them.
RANK = """
import json, sys, torch.distributed as dist
from click.testing import CliRunner
from tsdsl.cli.__main__ import cli
dist.init_process_group("gloo")
found = []
for commands in json.load(open(sys.argv[1])):
    done = CliRunner().invoke(cli, commands[dist.get_rank()], prog_name="tsdsl")
    found.append([done.exit_code, done.stderr])
print(json.dumps(found))
"""


#: Case -> a verb, additional arguments of the second rank, and the message of both ranks.
CASES: dict[str, tuple[str, list[str], str]] = {
    "seed": ("train", ["--seed", "7"], "seed is 7 on rank 1 and 0 on rank 0"),
    "recipe": ("train", ["--set", "train.lr=0.3"], "recipe.lr is 0.3 on rank 1 and 0.1 on rank 0"),
    "epochs": (
        "train",
        ["--set", "train.epochs=5"],
        "recipe.epochs is 5.0 on rank 1 and 3.0 on rank 0",
    ),
    "list": ("train", ["--data", "SHORT"], "data.videos is 9 on rank 1 and 14 on rank 0"),
    "val": ("train", ["--val", "SHORT"], "val.videos is 9 on rank 1 and not set on rank 0"),
    "log": ("train", ["--log-every", "3"], "options.log_every is 3 on rank 1 and 10 on rank 0"),
    "search seed": ("search", ["--seed", "7"], "seed is 7 on rank 1 and 0 on rank 0"),
    "search list": ("search", ["--data", "SHORT"], "data.videos is 9 on rank 1 and 14 on rank 0"),
    "search samples": (
        "search",
        ["--set", "search.samples=2"],
        "search.samples is 2 on rank 1 and 3 on rank 0",
    ),
    "evolve seed": ("evolve", ["--seed", "7"], "seed is 7 on rank 1 and 0 on rank 0"),
    "evolve size": (
        "evolve",
        ["--population", "9"],
        "evolution.population is 9 on rank 1 and 4 on rank 0",
    ),
    "eval list": ("eval", ["--data", "SHORT"], "data.videos is 9 on rank 1 and 14 on rank 0"),
    "eval weights": ("eval", ["--weights", "OTHER"], "weights is "),
    "eval batch": ("eval", ["--batch", "2"], "batch is 2 on rank 1 and "),
}


@pytest.fixture(scope="module")
def differing(
    spec: Callable[..., Path], videos: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[tuple[int, str]]]:
    """The results of each case on each rank."""
    from tsdsl.weights.weight_files import save, save_weights

    folder = tmp_path_factory.mktemp("differing")
    short = videos.parent / "short.csv"
    short.write_text("\n".join(videos.read_text().splitlines()[:9]))
    searched = write_space(folder / "space.tsnet", norm=True)
    supernet = tsdsl.compile(tsdsl.load(searched))
    save_weights(supernet, folder / "supernet.safetensors")
    net = tsdsl.compile(tsdsl.load(spec()))
    for name in ("net", "other"):
        save(str(folder / f"{name}.safetensors"), net.state_dict(), {})
        for tensor in net.parameters():
            tensor.data += 1
    tail = ["--device", "cpu", "--workers", "0"]
    lists = ["--data", str(videos)]
    commands = {
        "train": ["train", str(spec()), *lists, *tail],
        "search": ["search", str(searched), *lists, *tail],
        "evolve": ["evolve", str(searched), *lists, "--val", str(videos), *tail],
        "eval": ["eval", str(spec()), *lists, *tail],
    }
    commands["evolve"] += ["--weights", str(folder / "supernet.safetensors")]
    commands["evolve"] += ["--population", "4", "--generations", "1"]
    commands["eval"] += ["--weights", str(folder / "net.safetensors")]
    named = {"SHORT": str(short), "OTHER": str(folder / "other.safetensors")}

    def both(verb: str, more: list[str], at: str) -> list[list[str]]:
        own = commands[verb] + ([] if verb == "eval" else ["-o", str(folder / at)])
        return [own, own + [named.get(word, word) for word in more]]

    work = {name: both(verb, more, name) for name, (verb, more, _) in CASES.items()}
    other = ["train", str(spec(True)), *lists, *tail]
    work["spec"] = [[*own, "-o", str(folder / "spec")] for own in (commands["train"], other)]
    work["no list"] = both("train", ["--data", str(folder / "none.csv")], "none")
    work["taken"] = both("train", [], "taken")
    (folder / "taken").mkdir()
    (folder / "taken" / "last.safetensors").write_text("of somebody else")
    # Afterwards, ranks that agree run.
    work["equal"] = both("eval", [], "")
    (folder / "work.json").write_text(json.dumps(list(work.values())))
    done = run_ranks([program_main(RANK, str(folder / "work.json"))] * 2, folder)
    assert [each.returncode for each in done] == [0, 0], done[0].stderr + done[1].stderr
    first, second = (json.loads(each.stdout) for each in done)
    for name in CASES:
        # No run was begun.
        assert not (folder / name / "run.json").exists()
    return {
        name: [(code, text) for code, text in pair]
        for name, pair in zip(work, zip(first, second, strict=True), strict=True)
    }


@pytest.mark.parametrize("case", CASES)
def test_ranks_that_differ(case: str, differing: Mapping[str, list[tuple[int, str]]]) -> None:
    for code, text in differing[case]:
        assert code == 1 and "E0828" in text, text
        assert CASES[case][2] in " ".join(text.split())


def test_another_spec(differing: Mapping[str, list[tuple[int, str]]]) -> None:
    for code, text in differing["spec"]:
        assert code == 1 and "E0828" in text and "space_hash is " in text, text


def test_what_one_rank_cannot_read(differing: Mapping[str, list[tuple[int, str]]]) -> None:
    (code, text), (own_code, own) = differing["no list"]
    assert code == 1 and "E0827" in text and "rank 1: " in text, text
    assert own_code == 3 and "none.csv" in own and "E0827" not in own
    (own_code, own), (code, text) = differing["taken"]
    assert own_code == 3 and "E0808" in own
    assert code == 1 and "E0827" in text and "rank 0: this folder has no run.json" in text, text


def test_equal_ranks_get_through(differing: Mapping[str, list[tuple[int, str]]]) -> None:
    assert [code for code, _ in differing["equal"]] == [0, 0], differing["equal"]


def test_the_command_ends_on_all_ranks(
    spec: Callable[..., Path], videos: Path, tmp_path: Path
) -> None:
    own = ["train", str(spec()), "--data", str(videos), "--workers", "0"]
    own += ["--device", "cpu", "-o", str(tmp_path / "run")]
    for done in run_ranks([command_main(own), command_main([*own, "--seed", "1"])], tmp_path):
        assert done.returncode == 1 and "seed is 1 on rank 1 and 0 on rank 0" in done.stderr, (
            done.stderr
        )
        assert "E0828" in done.stderr and "Traceback" not in done.stderr


# ---------------------------------------------------------------- the environment

MEET = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29431"}
FIRST = {"RANK": "0", "WORLD_SIZE": "2", **MEET}


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RANK": "0"}, "RANK is set, but WORLD_SIZE is not"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is set, but RANK is not"),
        ({**FIRST, "RANK": "x"}, "RANK is 'x', not a whole number from 0 on"),
        ({**FIRST, "RANK": ""}, "RANK is '', not a whole number from 0 on"),
        ({**FIRST, "RANK": "-1"}, "RANK is '-1', not a whole number from 0 on"),
        ({**FIRST, "RANK": "٣"}, "not a whole number from 0 on"),
        ({**FIRST, "RANK": "2"}, "RANK is 2, but WORLD_SIZE is 2"),
        ({**FIRST, "WORLD_SIZE": "0"}, "WORLD_SIZE is '0', not a whole number from 1 on"),
        ({**FIRST, "WORLD_SIZE": "2.0"}, "WORLD_SIZE is '2.0', not a whole number"),
        ({**FIRST, "WORLD_SIZE": "9" * 500}, "not a whole number from 1 on"),
        ({**FIRST, "LOCAL_RANK": "a"}, "LOCAL_RANK is 'a', not a whole number from 0 on"),
        ({"LOCAL_RANK": "a"}, "LOCAL_RANK is 'a', not a whole number from 0 on"),
        ({"LOCAL_WORLD_SIZE": "0"}, "LOCAL_WORLD_SIZE is '0', not a whole number from 1 on"),
        ({**FIRST, "LOCAL_WORLD_SIZE": "two"}, "LOCAL_WORLD_SIZE is 'two', not a whole"),
        (
            {**FIRST, "LOCAL_WORLD_SIZE": "1", "LOCAL_RANK": "1"},
            "LOCAL_RANK is 1, but LOCAL_WORLD_SIZE is 1",
        ),
        ({"RANK": "0", "WORLD_SIZE": "1"}, "RANK and WORLD_SIZE are set, but MASTER_ADDR is not"),
        ({**FIRST, "MASTER_ADDR": ""}, "RANK and WORLD_SIZE are set, but MASTER_ADDR is not"),
        ({**FIRST, "MASTER_ADDR": "a b"}, "MASTER_ADDR is 'a b', not a host"),
        ({**FIRST, "MASTER_PORT": "http"}, "MASTER_PORT is 'http', not a whole number from 1 to"),
        ({**FIRST, "MASTER_PORT": "65536"}, "MASTER_PORT is '65536', not a whole number from 1"),
    ],
)
def test_an_environment_that_makes_no_sense(
    environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", *MEET):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RanksError, match="E0829") as raised, Ranks.of("cpu"):
        pass
    assert message in " ".join(str(raised.value).split())


def test_a_port_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for name, value in {**FIRST, "MASTER_PORT": port}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(RanksError, match="E0829") as raised, Ranks.of("cpu"):
            pass
    assert f"do not meet at 127.0.0.1:{port}" in str(raised.value)


def test_environments_that_make_sense() -> None:
    assert process_rank({}) is None
    # Clusters set these for all kinds of processes.
    assert process_rank({"MASTER_PORT": "tcp://10.0.0.1:80", "LOCAL_RANK": "0"}) is None
    found = process_rank({**FIRST, "RANK": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"})
    assert isinstance(found, ProcessRank) and (found.rank, found.world, found.local) == (1, 2, 1)


@pytest.mark.parametrize("value", ["0", "two", "-1", ""])
def test_the_command_says_it(
    value: str, spec: Callable[..., Path], videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from tsdsl.cli.__main__ import cli

    monkeypatch.setenv("LOCAL_WORLD_SIZE", value)
    done = CliRunner().invoke(cli, ["train", str(spec()), "--data", str(videos)])
    assert done.exit_code == 1 and "E0829" in done.stderr, done.stderr


def test_what_a_single_process_prepares_is_compared_with_nothing() -> None:
    with Ranks.alone().agree() as same:
        same["seed"] = 1
    with pytest.raises(LostRank), Ranks.alone().agree():
        raise LostRank([])
