"""What a space holds: its size, what its networks cost, some of them. No torch.

python examples/explore.py specs/auto_tsnet_s.tsnet
"""

from __future__ import annotations

import sys
from pathlib import Path

import tsdsl

HERE = Path(__file__).resolve().parent


def main(spec: Path) -> None:
    space = tsdsl.load(spec)
    print(f"{space.name}: {len(space.decisions)} decisions, {space.size:.3g} architectures")
    for decision in space.decisions[:5]:
        print(f"  {decision.path} ~ {', '.join(map(str, decision.options))}")

    bounds = space.bounds("macs")
    print(f"{bounds.min.value / 1e9:.2f} to {bounds.max.value / 1e9:.2f} GFLOPs (multiply-adds)")

    architectures = space.sample(5, seed=0)
    macs, params = space.flops(architectures), space.params(architectures)
    for number, (m, p) in enumerate(zip(macs, params, strict=True)):
        print(f"  sample {number}: {m / 1e9:.3f} G, {p / 1e6:.2f} M parameters")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "two_stream.tsnet")
