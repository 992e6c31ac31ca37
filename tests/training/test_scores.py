"""Scores, against counting by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tsdsl.data.video_problems import Problem
from tsdsl.training.scores import LEAST, MissingVideo, Scores, class_names


def drawn(n: int, k: int, seed: int, ties: bool = False) -> Scores:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k))
    if ties:
        logits = np.round(logits)
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    return made(p, rng.integers(0, k, n))


def made(p: np.ndarray, labels: np.ndarray, missing: tuple[MissingVideo, ...] = ()) -> Scores:
    n, k = p.shape
    paths = tuple(f"{i}.mp4" for i in range(n))
    names = class_names([], k)
    return Scores(p.astype(float), labels.astype(np.int64), np.arange(n), paths, names, 1, missing)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("n", "k"), [(200, 7), (50, 3), (1, 1), (30, 40)])
def test_against_counting(n: int, k: int, ties: bool) -> None:
    scores = drawn(n, k, n + k, ties)
    rows = list(zip(scores.probabilities_NK.tolist(), scores.labels_N.tolist(), strict=True))
    # Sorted by probability, then by the class's number.
    orders = [sorted(range(k), key=lambda c, p=p: (-p[c], c)) for p, _ in rows]
    places = [order.index(label) for order, (_, label) in zip(orders, rows, strict=True)]
    assert scores.ranks_N.tolist() == places
    assert scores.predicted_N.tolist() == [order[0] for order in orders]
    assert scores.best(5).tolist() == [order[:5] for order in orders]
    assert scores.top1 == pytest.approx(sum(p == 0 for p in places) / n)
    assert scores.top5 == pytest.approx(sum(p < 5 for p in places) / n)
    assert scores.log_loss == pytest.approx(sum(-math.log(p[y]) for p, y in rows) / n)
    shares = []
    for c in range(k):
        own = [p for p, (_, y) in zip(places, rows, strict=True) if y == c]
        assert scores.counts_K[c] == len(own)
        if own:
            shares.append(sum(p == 0 for p in own) / len(own))
            assert scores.accuracy_K[c] == pytest.approx(shares[-1])
        else:
            assert math.isnan(scores.accuracy_K[c])
    assert scores.mean_class_accuracy == pytest.approx(sum(shares) / len(shares))
    confusion = scores.confusion_KK
    assert confusion.sum() == n and np.trace(confusion) == places.count(0)
    for c in range(k):
        for d in range(k):
            pairs = [y == c and o[0] == d for o, (_, y) in zip(orders, rows, strict=True)]
            assert confusion[c, d] == sum(pairs)


def test_ties_go_to_the_lower_class() -> None:
    scores = made(np.full((6, 6), 1 / 6), np.arange(6))
    assert scores.predicted_N.tolist() == [0] * 6
    assert (scores.top1, scores.top5) == (1 / 6, 5 / 6)


def test_a_probability_of_nothing() -> None:
    scores = made(np.array([[1.0, 0.0]]), np.array([1]))
    assert scores.log_loss == pytest.approx(-math.log(LEAST)) and scores.log_loss < 104


def test_missing_videos_are_counted() -> None:
    missing = MissingVideo(2, "x.mp4", 1, Problem("/x.mp4", "empty", ""))
    scores = made(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1]), (missing,))
    assert (len(scores), scores.total) == (2, 3)
    assert (scores.top1, scores.top1_of_all) == (0.5, pytest.approx(1 / 3))
    document = json.loads(json.dumps(scores.as_json(), allow_nan=False))
    assert document["format_version"] == 1
    assert (document["videos"], document["scored"]) == (3, 2)
    assert document["missing"] == [{"path": "x.mp4", "label": 1, "kind": "empty", "detail": ""}]
    assert document["confusion"] == [[0, 0, 1], [1, 0, 1]]


def test_json_has_no_nan() -> None:
    scores = made(np.array([[0.9, 0.1]]), np.array([0]))
    document = json.loads(json.dumps(scores.as_json(), allow_nan=False))
    assert [c["top1"] for c in document["classes"]] == [1.0, None]
