"""Runs a network that `tsdsl compile -o model.py` wrote, on a random clip. Imports torch only.

python examples/run_compiled.py model.py 3 16 160 160
"""

import runpy
import sys
import time

import torch
from torch import nn


def main(path: str, *shape: str) -> None:
    # The network is the last class of the file; the blocks that it is made of come first.
    defined = [v for v in runpy.run_path(path).values() if isinstance(v, type)]
    network = [c for c in defined if issubclass(c, nn.Module) and c is not nn.Module][-1]
    torch.manual_seed(0)
    net = network().eval()
    clip_NCTHW = torch.randn(1, *map(int, shape))
    start = time.perf_counter()
    with torch.inference_mode():
        logits = net(clip_NCTHW)
    took = time.perf_counter() - start
    params = sum(p.numel() for p in net.parameters())
    print(f"{network.__name__}: {params:,} parameters")
    print(f"clip {tuple(clip_NCTHW.shape)} -> logits {tuple(logits.shape)} in {took:.2f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
