"""Makes pytorchvideo importable without torchvision, of which it needs one name at import time."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest

sys.path.insert(0, str(Path(__file__).parent))


def _stub() -> dict[str, ModuleType]:
    torchvision, ops = ModuleType("torchvision"), ModuleType("torchvision.ops")
    # Only detection heads use it, and the tests build none.
    ops.RoIAlign = type("RoIAlign", (), {})  # type: ignore[attr-defined]
    torchvision.ops = ops  # type: ignore[attr-defined]
    return {"torchvision": torchvision, "torchvision.ops": ops}


@pytest.fixture(scope="session", autouse=True)
def pytorchvideo() -> None:
    """Import what the tests build. The stub is removed after the import."""
    if "torchvision" in sys.modules:
        return
    stub = _stub()
    sys.modules.update(stub)
    try:
        with warnings.catch_warnings():
            # fvcore scripts a function on import, which torch deprecates.
            warnings.simplefilter("ignore", DeprecationWarning)
            import pytorchvideo.models.slowfast
            import pytorchvideo.models.x3d  # noqa: F401
    finally:
        for name in stub:
            del sys.modules[name]
