"""Scores are read back as they were written."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tsdsl.data.video_problems import Problem
from tsdsl.diagnostics import FileError
from tsdsl.record import replace
from tsdsl.training.score_files import ScoresError, read_rows, read_scores, rows_of, write
from tsdsl.training.scores import MissingVideo, Scores


def drawn(n: int, k: int, missing: int = 2) -> Scores:
    rng = np.random.default_rng(n)
    p = rng.dirichlet(np.ones(k), n)
    paths = tuple(f'a, "{i}" \u00e9\udcff/v.mp4' for i in range(n + missing))
    bad = tuple(
        MissingVideo(i, paths[i], i % k, Problem(f"/x/{paths[i]}", "corrupt", "line\nbreak"))
        for i in range(missing)
    )
    names = tuple(f"class {c}" for c in range(k))
    labels = rng.integers(0, k, n)
    indices = np.arange(missing, n + missing)
    return Scores(p, labels, indices, paths[missing:], names, 3, bad)


@pytest.mark.parametrize("k", [1, 3, 12])
@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_rows(tmp_path: Path, k: int, suffix: str) -> None:
    scores = drawn(20, k)
    path = tmp_path / f"s{suffix}"
    if suffix == ".csv":
        # Bytes that are no text make a file that is not read as text: without them.
        plain = tuple(p.replace("\udcff", "") for p in scores.paths)
        bad = tuple(
            MissingVideo(m.index, m.path.replace("\udcff", ""), m.label, m.problem)
            for m in scores.missing
        )
        scores = replace(scores, paths=plain, missing=bad)
    write(scores, path)
    rows = read_rows(path)
    assert rows == list(rows_of(scores)) and len(rows) == 22
    assert [row.problem for row in rows[:3]] == ["corrupt", "corrupt", None]
    assert [row.predicted for row in rows[2:]] == scores.predicted_N.tolist()
    assert all(len(row.best) == min(5, k) for row in rows[2:])


def test_bytes_in_paths(tmp_path: Path) -> None:
    write(drawn(2, 3), tmp_path / "s.csv")
    assert b"\xff/v.mp4" in (tmp_path / "s.csv").read_bytes()


def test_all_probabilities(tmp_path: Path) -> None:
    scores = drawn(20, 7)
    write(scores, tmp_path / "s.npz")
    found = read_scores(tmp_path / "s.npz")
    assert np.array_equal(found.probabilities_NK, scores.probabilities_NK)
    assert found.as_json() == scores.as_json() and found.missing == scores.missing
    assert found.paths == scores.paths


def test_damaged_files(tmp_path: Path) -> None:
    write(drawn(20, 7), tmp_path / "s.npz")
    whole = (tmp_path / "s.npz").read_bytes()
    for content in (b"", b"text", whole[:100], whole[:-50], whole[: len(whole) // 2]):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(ScoresError, match="holds no scores"):
            read_scores(tmp_path / "bad.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    np.save(tmp_path / "array.npy", np.zeros(3))
    for name in ("other.npz", "array.npy"):
        with pytest.raises(ScoresError):
            read_scores(tmp_path / name)
    for name in ("none.npz", "."):
        with pytest.raises(FileError):
            read_scores(tmp_path / name)
    for name, text in (("s.jsonl", "[]\n"), ("s.jsonl", "{\n"), ("s.csv", "a,b\n"), ("s.csv", "")):
        (tmp_path / name).write_text(text)
        with pytest.raises(ScoresError):
            read_rows(tmp_path / name)


def test_arrays_that_do_not_belong_together(tmp_path: Path) -> None:
    write(drawn(20, 7), tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz") as held:
        arrays = dict(held)
    for name, value in (
        ("labels", np.full(20, 7)),
        ("labels", np.zeros(3, np.int64)),
        ("classes", np.array('["a"]')),
        ("paths", np.array("[]")),
        ("format_version", np.int64(2)),
    ):
        np.savez(tmp_path / "t.npz", **{**arrays, name: value})
        with pytest.raises(ScoresError):
            read_scores(tmp_path / "t.npz")


def test_sizes_are_checked_before_arrays_are_made(tmp_path: Path) -> None:
    """A file that claims 800 MB and has 8 bytes; one that has them, compressed to a thousandth;
    rows that are deeply nested."""
    claim = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (100_000_000,)}
    np.lib.format.write_array_header_1_0(claim, header)
    with zipfile.ZipFile(tmp_path / "claim.npz", "w") as file:
        file.writestr("format_version.npy", claim.getvalue() + bytes(8))
    np.savez_compressed(tmp_path / "packed.npz", format_version=np.zeros(10_000_000))
    for name in ("claim.npz", "packed.npz"):
        tracemalloc.start()
        with pytest.raises(ScoresError) as caught:
            read_scores(tmp_path / name)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert [d.code for d in caught.value.diagnostics] == ["E0826"]
        assert peak < 8 << 20
    (tmp_path / "deep.jsonl").write_text("[" * 100_000)
    with pytest.raises(ScoresError):
        read_rows(tmp_path / "deep.jsonl")
