"""A search as library code: videos, a supernet, an architecture within a budget, its network.

python examples/search.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import tsdsl
from tsdsl.data.synth import SynthOptions, synthesise
from tsdsl.searching.searcher import PhaseFinished, SearchStepDone

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "build/search")
synthesise(folder / "videos", SynthOptions(glyphs=2, motions=2, clips=96))

spec = Path(__file__).with_name("glyphs_space.tsnet")
space = tsdsl.load(spec, set={"classes": 4})
print(f"{space.size:,} architectures, {space.count(flops=(5e6, 7e6)):,} of them in the budget")


def tell(event: object) -> None:
    if isinstance(event, SearchStepDone) and event.step % 10 == 0:
        print(f"step {event.step}: {event.phase}, loss {event.loss:.3f}")
    elif isinstance(event, PhaseFinished):
        print(f"phase {event.phase}: {dict(event.architecture)}")


done = tsdsl.search(
    space, folder / "videos/train.csv", folder=folder / "run", resume=True, on_event=tell
)
print(f"{done.flops:,} multiply-adds, within the budget: {done.met}")
net = tsdsl.compile(space, frozen=done.architecture)  # plain PyTorch
tsdsl.load_weights(net, folder / "run/model.safetensors")
