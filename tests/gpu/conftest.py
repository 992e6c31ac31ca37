"""The GPU side of everything that computes. Skipped, and nothing of it needed, without a GPU:

pytest tests/gpu -rs
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="needs a GPU"))


@pytest.fixture(autouse=True)
def float32_is_float32(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No TF32 and deterministic kernels, so that the networks are compared and not the kernels."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    flags = torch.backends.cudnn.flags(deterministic=True, benchmark=False, allow_tf32=False)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    with flags:
        yield
    torch.backends.cuda.matmul.allow_tf32 = before


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny import write_videos

    return write_videos(tmp_path_factory.mktemp("videos"))
