"""Specs with blocks of one's own work like those with the standard library's; mistakes are values.

python examples/own_blocks.py
"""

from __future__ import annotations

from pathlib import Path

import tsdsl

HERE = Path(__file__).resolve().parent


def main() -> None:
    for name in ("ghost", "r2plus1d"):
        space = tsdsl.load(HERE / f"{name}.tsnet")
        print(f"{space.name}: {space.flops() / 1e9:.2f} GFLOPs, {space.params():,} parameters")

    # An invalid clip size: the error has every finding, with its place in the file.
    try:
        tsdsl.load(HERE / "ghost.tsnet", set={"crop": 0})
    except tsdsl.SpecError as error:
        print(error)


if __name__ == "__main__":
    main()
