"""Jobs: the same ones everywhere, inside of the windows, and refused where they are others'."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from math import inf
from pathlib import Path

import pytest

import tsdsl
from tsdsl.diagnostics import ArchitectureError, DiagnosticError, FileError, SpecError
from tsdsl.searching.random_search.jobs import Draw, load, prepare

sys.path.insert(0, str(Path(__file__).resolve().parent))

from text_spaces import every_architecture
from tiny_spaces import ignored, tiny

PROGRAM = """
import sys, tsdsl
from tsdsl.searching.random_search.jobs import Draw, prepare
draw = Draw(5, 3, "initial", (("macs", 20000.0, float("inf")),))
prepare(tsdsl.load(sys.argv[1]), sys.argv[2], draw)
"""


@pytest.fixture
def space(tmp_path: Path) -> tsdsl.Space:
    return tiny(tmp_path, require=True)


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((folder / "jobs").iterdir())}


def test_a_draw_is_a_function_of_its_seed(space: tsdsl.Space, tmp_path: Path) -> None:
    draw = Draw(5, 3, "initial", (("macs", 20_000.0, inf),))
    jobs = prepare(space, tmp_path / "one", draw)
    archs = [job.architecture for job in jobs.jobs]
    assert archs == space.sample(5, seed=3, flops=(20_000, inf)) and len(set(archs)) == 5
    assert [job.number for job in jobs.jobs] == [0, 1, 2, 3, 4] and jobs.drawn == 5
    for number, arch in enumerate(archs):
        assert space.flops(arch) >= 20_000 and jobs.inside(arch)
        held = tsdsl.Architecture.load(tmp_path / f"one/jobs/{number}.json")
        assert held == arch and held.provenance["drawn"]["seed"] == 3
    # In another process, and with what is there.
    (tmp_path / "program.py").write_text(PROGRAM)
    subprocess.run(
        [sys.executable, tmp_path / "program.py", tmp_path / "tiny.tsnet", tmp_path / "two"],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "77"},
    )
    assert files(tmp_path / "one") == files(tmp_path / "two")
    before = files(tmp_path / "one")
    again = prepare(space, tmp_path / "one")
    assert again.draw == draw and [j.architecture for j in again.jobs] == archs
    assert files(tmp_path / "one") == before
    # More of them begin with the same; another seed gives others.
    more = prepare(space, tmp_path / "more", Draw(7, 3, "initial", draw.windows))
    assert [j.architecture for j in more.jobs][:5] == archs
    other = prepare(space, tmp_path / "other", Draw(5, 4, "initial", draw.windows))
    assert [j.architecture for j in other.jobs] != archs


@pytest.mark.parametrize("weights", ["initial", "architectures"])
def test_all_where_there_are_fewer(space: tsdsl.Space, tmp_path: Path, weights: str) -> None:
    every = every_architecture(space)
    costs = sorted(map(space.flops, every))
    low, high = costs[3], costs[9]
    inside = {arch for arch in every if low <= space.flops(arch) <= high}
    window = (("macs", float(low), float(high)),)
    jobs = prepare(space, tmp_path / "r", Draw(1000, 0, weights, window))  # type: ignore[arg-type]
    assert {job.architecture for job in jobs.jobs} == inside
    assert jobs.drawn == len(inside) < jobs.draw.n
    narrow = Draw(3, 0, "initial", (("macs", float(costs[-1] + 1), inf),))
    with pytest.raises(SpecError, match="no architecture of space Tiny has macs in"):
        prepare(space, tmp_path / "none", narrow)
    assert not (tmp_path / "none").exists()


def test_given_ones(space: tsdsl.Space, tmp_path: Path) -> None:
    drawn = space.sample(4, seed=0)
    other = next(a for a in space.sample(14, seed=1) if a not in drawn)
    given = [("known", drawn[2]), ("new", other), ("again", other)]
    jobs = prepare(space, tmp_path, Draw(4), given)
    assert [(j.number, j.drawn, j.given) for j in jobs.jobs] == [
        (0, True, None),
        (1, True, None),
        (2, True, "known"),
        (3, True, None),
        (4, False, "new"),
    ]
    # One that comes later is behind the others; those that are there are not there twice.
    third = next(a for a in space.sample(14, seed=1) if a not in (*drawn, other))
    later = prepare(space, tmp_path, None, [("third", third), ("new", other)])
    assert [(j.number, j.given) for j in later.jobs][4:] == [(4, "new"), (5, "third")]
    assert later.drawn == 4 and load(space, str(tmp_path)) is not None
    assert [j.given for j in prepare(space, tmp_path).jobs] == [j.given for j in later.jobs]


def test_no_two_jobs_are_one_network(tmp_path: Path) -> None:
    space = ignored(tmp_path)
    jobs = prepare(space, tmp_path / "drawn", Draw(4))
    kinds = [
        (a["main.body"], a["kernel"] if "layer" in str(a["main.body"]) else None)
        for a in (job.architecture for job in jobs.jobs)
    ]
    assert len(kinds) == len(set(kinds)) == jobs.drawn == 3 and jobs.draw.n == 4
    # One that is given and is a network that was drawn gets that job.
    (at,) = (k for k, kind in enumerate(kinds) if kind[1] is None)
    drawn = jobs.jobs[at].architecture
    twin = space.architecture(
        {**drawn, "kernel": "1x1x1" if drawn["kernel"] == "1x3x3" else "1x3x3"}
    )
    given = prepare(space, tmp_path / "drawn", None, [("twin", twin)])
    assert [job.given for job in given.jobs] == ["twin" if k == at else None for k in range(3)]
    # In a folder of an earlier version both are there, and stay what they are.
    document = json.loads((tmp_path / "drawn/jobs/jobs.json").read_text())
    document["jobs"][at]["given"] = None
    old = {**document["jobs"][at], "job": 3, "drawn": False, "given": "twin"}
    old["decisions"] = dict(twin)
    document["jobs"].append(old)
    (tmp_path / "drawn/jobs/jobs.json").write_text(json.dumps(document))
    again = prepare(space, tmp_path / "drawn", None, [("twin", twin)])
    assert [job.given for job in again.jobs] == [None, None, None, "twin"]


def test_other_jobs(space: tsdsl.Space, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no jobs in this folder"):
        prepare(space, tmp_path)
    prepare(space, tmp_path, Draw(4, 1))
    for draw, text in (
        (Draw(5, 1), "n was 4, is 5"),
        (Draw(4, 2), "seed was 1, is 2"),
        (Draw(4, 1, "architectures"), "weights was initial, is architectures"),
        (
            Draw(4, 1, "initial", (("macs", 0.0, 5e9),)),
            "windows was none, is macs 0..5,000,000,000",
        ),
    ):
        with pytest.raises(SpecError, match=f"another draw: {text}"):
            prepare(space, tmp_path, draw)
    (tmp_path / "changed").mkdir()
    changed = tiny(tmp_path / "changed")
    with pytest.raises(SpecError, match="another state of 'Tiny'"):
        prepare(changed, tmp_path)
    fixed = tsdsl.load(Path(__file__).parents[2] / "specs/x3d_xs.tsnet")
    with pytest.raises(SpecError, match="these jobs are of another space: 'Tiny'"):
        prepare(fixed, tmp_path)
    with pytest.raises(SpecError, match="has no decision: there is nothing to draw"):
        prepare(fixed, tmp_path / "new", Draw(3))


def test_spoiled_files(space: tsdsl.Space, tmp_path: Path) -> None:
    """Whatever happens to the list: what it was, or a finding."""
    jobs = prepare(space, tmp_path, Draw(4, 1), [("x", space.sample(seed=9))])
    path = tmp_path / "jobs/jobs.json"
    text = path.read_text()
    document = json.loads(text)
    first = document["jobs"][0]
    spoiled = [
        ("is not JSON|JSON", "{"),
        ("no list of jobs", "[]"),
        ("no list of jobs: format", json.dumps({**document, "format": "tsnet-jobs/2"})),
        ("no list of jobs: n", json.dumps({**document, "n": 0})),
        ("no list of jobs: more", json.dumps({**document, "more": 1})),
        ("not numbered", json.dumps({**document, "jobs": document["jobs"][1:]})),
        ("not numbered", json.dumps({**document, "jobs": []})),
        (
            "job 0: ",
            json.dumps({**document, "jobs": [{**first, "decisions": {}}, *document["jobs"][1:]]}),
        ),
    ]
    for why, bad in spoiled:
        path.write_text(bad)
        with pytest.raises(SpecError, match=why):
            prepare(space, tmp_path)
    draw = random.Random(0)
    for _ in range(150):
        at = draw.randrange(len(text))
        path.write_text(text[:at] + draw.choice(["", "}", "9", '"', "x", "null"]) + text[at + 1 :])
        try:
            found = prepare(space, tmp_path)
        except DiagnosticError:
            continue
        assert [j.number for j in found.jobs] == [j.number for j in jobs.jobs]
    path.write_text(text)
    arch = tmp_path / "jobs/2.json"
    held = arch.read_text()
    arch.write_text((tmp_path / "jobs/1.json").read_text())
    with pytest.raises(SpecError, match=r"job 2 is another architecture than in jobs\.json"):
        prepare(space, tmp_path)
    arch.write_text("{}")
    with pytest.raises(ArchitectureError):
        prepare(space, tmp_path)
    # One that is lost is known from the list.
    arch.unlink()
    assert prepare(space, tmp_path).jobs[2].architecture == jobs.jobs[2].architecture
    arch.write_text(held)
