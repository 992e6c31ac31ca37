"""From a space and an architecture to a network, as a module and as source that needs torch only.

python examples/compile_and_run.py
"""

from __future__ import annotations

import tempfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import torch
from torch import nn

import tsdsl

HERE = Path(__file__).resolve().parent


def load_class(path: Path, name: str) -> type[nn.Module]:
    """Import a class from a Python file, as any program would."""
    spec = spec_from_file_location("emitted", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    found: type[nn.Module] = getattr(module, name)
    return found


def main() -> None:
    # A smaller clip than the spec's 160 x 160: params can be set when a space is loaded.
    space = tsdsl.load(HERE / "two_stream.tsnet", set={"crop": 96})
    arch = space.sample(seed=3)
    print(
        f"{space.flops(arch) / 1e9:.3f} GFLOPs (multiply-adds), {space.params(arch):,} parameters"
    )

    with tempfile.TemporaryDirectory() as folder:
        arch.save(Path(folder) / "arch.json")
        arch = tsdsl.Architecture.load(Path(folder) / "arch.json")

        net = tsdsl.compile(space, frozen=arch).eval()
        source = Path(folder) / "model.py"
        source.write_text(tsdsl.emit(space, frozen=arch), encoding="utf-8")
        twin = load_class(source, space.name)().eval()
    twin.load_state_dict(net.state_dict())

    clip_NCTHW = torch.randn(1, *space.input_shape)
    with torch.no_grad():
        logits = net(clip_NCTHW)
        assert torch.equal(logits, twin(clip_NCTHW))
    print(f"logits {tuple(logits.shape)}; the emitted source gives the same bits")


if __name__ == "__main__":
    main()
