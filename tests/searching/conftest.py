"""A tiny space of two streams and a list of videos."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tsdsl

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny import write_videos

    return write_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="session")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``spec(norm=True)``: the path of a space's file."""
    from tiny import write_space

    folder = tmp_path_factory.mktemp("specs")
    return lambda norm=False: write_space(folder / f"space_{norm}.tsnet", norm)


@pytest.fixture
def tiny(spec: Callable[..., Path]) -> Callable[..., tsdsl.Space]:
    """``tiny(norm=True, search__samples=2)``: the space."""

    def made(norm: bool = False, **settings: Any) -> tsdsl.Space:
        named = {name.replace("__", "."): value for name, value in settings.items()}
        return tsdsl.load(spec(norm), set=named)

    return made
