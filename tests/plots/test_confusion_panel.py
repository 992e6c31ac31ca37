"""The confusion matrix of few and of many classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tsdsl import plots
from tsdsl.plots.confusion_panel import MistakesPanel, confusions
from tsdsl.training.scores import Scores


def drawn(n: int, k: int, seed: int = 0, right: float = 0.7, name: str = "class") -> Scores:
    """Random scores. One class in eight is never shown."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k - k // 8, n)
    predicted = np.where(rng.random(n) < right, labels, rng.integers(0, k, n))
    p = np.eye(k)[predicted]
    names = tuple(f"{name} {i}" for i in range(k))
    return Scores(p, labels, np.arange(n), ("v.mp4",) * n, names, 1)


@pytest.mark.parametrize("k", [1, 2, 4, 24, 50, 400])
def test_any_number_of_classes(k: int) -> None:
    scores = drawn(20 * k, k)
    ax = confusions(scores, "Net")
    shown = ax.images[0].get_array()
    assert shown is not None and shown.shape == (k, k)
    counts = scores.confusion_KK
    has = counts.sum(axis=1) > 0
    expected = counts[has] / counts[has].sum(axis=1, keepdims=True)
    expected[counts[has] == 0] = -1
    np.testing.assert_allclose(np.asarray(shown[has]), expected)
    assert shown.mask[~has].all() if (~has).any() else True
    numbers = {int(text.get_text()) for text in ax.texts if text.get_text().isdigit()}
    assert numbers == (set(counts[counts > 0].tolist()) if k <= 24 else set())
    named = [label.get_text() for label in ax.get_yticklabels()]
    assert (named == list(scores.classes)) is (k <= 50)


def test_the_largest_mistakes_are_named() -> None:
    scores = drawn(400, 6, right=0.3)
    found = MistakesPanel.of(scores)
    counts = scores.confusion_KK
    np.fill_diagonal(counts, 0)
    pairs = sorted(counts[counts > 0].tolist(), reverse=True)
    assert [count for _, _, count, _ in found.found] == pairs[:12]
    assert found.others == len(pairs) - len(found.found)
    one, other, count, videos = found.found[0]
    at = scores.classes.index(one), scores.classes.index(other)
    assert counts[at] == count and videos == scores.counts_K[at[0]]


def test_names_of_any_kind(tmp_path: Path) -> None:
    scores = drawn(60, 4, right=0.2, name="a name $x$ that\nis <long> & said twice, twice")
    for suffix in plots.FORMATS:
        plots.save(plots.confusion(scores, "$Net$ <&>"), tmp_path / f"c{suffix}")
    text = (tmp_path / "c.svg").read_text(encoding="utf-8")
    assert "<title>Classes and what they are taken for: $Net$ &lt;&amp;&gt;" in text
    assert "of 60 right" not in text and "right" in text


def test_without_mistakes_there_is_one_panel() -> None:
    assert len(plots.confusion(drawn(20, 3, right=1.0)).axes) == 1
    assert len(plots.confusion(drawn(20, 3, right=0.0)).axes) == 2


def test_the_same_bytes() -> None:
    one, other = (plots.render(plots.confusion(drawn(900, 70), "Net"), ".svg") for _ in range(2))
    assert one == other
