"""Invalid options of `tsdsl.train` and `tsdsl.search` are refused before anything is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tsdsl

Tiny = Callable[..., tsdsl.Space]


@pytest.mark.parametrize(
    ("option", "value", "least"),
    [
        ("log_every", 0, 1),
        ("micro_batch", 0, 1),
        ("micro_batch", -1, 1),
        ("evaluate_every", 0, 1),
        ("save_every", -1, 1),
        ("save_every", 1.5, 1),
        ("workers", -1, 0),
        ("seed", -1, 0),
    ],
)
def test_no_number(tiny: Tiny, videos: Path, option: str, value: Any, least: int) -> None:
    space = tiny()
    options = {option: value, "device": "cpu"}
    with pytest.raises(tsdsl.SpecError, match=f"{option} is .* whole number, {least} or more"):
        tsdsl.train(tsdsl.compile(space), videos, space, **options)
    if option != "evaluate_every":
        with pytest.raises(tsdsl.SpecError, match=f"{option} is .* whole number, {least} or more"):
            tsdsl.search(space, videos, **options)


def test_nothing_learns(tiny: Tiny, videos: Path) -> None:
    space = tiny()
    net = tsdsl.compile(space).requires_grad_(False)
    with pytest.raises(tsdsl.SpecError, match="no trainable weights"):
        tsdsl.train(net, videos, space, device="cpu")


def test_a_checkpoint_of_another_network(tiny: Tiny, videos: Path, tmp_path: Path) -> None:
    """The spec is the same; the network that was given is not."""
    space, other = tiny(), tiny(True)
    options: dict[str, Any] = {"device": "cpu", "folder": tmp_path, "resume": True}
    tsdsl.train(tsdsl.compile(space), videos, space, **options)
    with pytest.raises(tsdsl.SpecError, match="is not one of this network") as bad:
        tsdsl.train(tsdsl.compile(other), videos, space, **options)
    assert bad.value.diagnostics[0].code == "E0823"
