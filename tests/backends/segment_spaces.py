"""Small spaces with a ``concat``, one for each kind of operation that can follow it."""

from __future__ import annotations

from pathlib import Path

import tsdsl

#: Two streams without bias and normalisation, so that a stream whose stem is zero stays zero.
TWO = """tsnet 1
import "std/video" as v
space Two {{
  input clip(channels=3, frames=4, height=6, width=6)
  stream sparse(clip) {{
    stem conv(sparse_width, 1x3x3)
    stage s1 {{ use relu }}
  }}
  stream dense(clip) {{
    stem conv(dense_width, 1x3x3)
    stage s1 {{ use relu }}
  }}
  sparse_width ~ {{4, 8}}
  dense_width ~ {{2, 4}}
  {more}
  head {head}
}}
{blocks}
"""

#: Heads, with the blocks that they use; `{a}` and `{b}` are the streams in this order.
HEADS = {
    "linear": "concat({a} -> global_avg_pool, {b} -> global_avg_pool) -> linear(3)",
    "conv": "concat({a}, {b}) -> conv(5, 1x1x1) -> relu -> global_avg_pool -> linear(3)",
    "activation": "concat({a}, {b}) -> relu -> max_pool(1x2x2) -> dropout(0.0) -> conv(5, 1x1x1)"
    " -> global_avg_pool -> linear(3)",
    "nested": "concat(concat({a}, {b}), {a}) -> global_avg_pool -> linear(3)",
    "norm": "concat({a}, {b}) -> bn -> global_avg_pool -> linear(3)",
    "depthwise": "depthwise(concat({a}, {b})) -> global_avg_pool -> linear(3)",
    "doubled": "doubled(concat({a}, {b})) -> bn -> global_avg_pool -> linear(3)",
    "grouped": "grouped(concat({a}, {b})) -> global_avg_pool -> linear(3)",
    "gate": "gate(concat({a}, {b})) -> global_avg_pool -> linear(3)",
    "residual": "residual(concat({a}, {b})) -> global_avg_pool -> linear(3)",
    "sliced": "sliced(concat({a}, {b})) -> global_avg_pool -> linear(3)",
    "shuffled": "concat({a}, {b}) -> channel_shuffle(2) -> global_avg_pool -> linear(3)",
    "matrix": "concat({a} -> flatten, {b} -> flatten) -> linear(4) -> global_avg_pool -> linear(3)",
    "turned": "turned(concat({a} -> flatten, {b} -> flatten)) -> global_avg_pool -> linear(3)",
    "frames": "concat({a}, {b}) -> time_to_channel(2) -> conv(4, 1x1x1) -> global_avg_pool"
    " -> linear(3)",
}
BLOCKS = """
block depthwise(x) { return x -> conv(x.channels, 1x3x3, groups=x.channels) -> bn }
block doubled(x) { return x -> conv(2 * x.channels, 1x1x1, groups=x.channels) }
block grouped(x) { return x -> conv(x.channels, 1x1x1, groups=div(x.channels, 2)) }
block gate(x) {
  return x * (x -> global_avg_pool(keep=true) -> conv(3, 1x1x1, bias=true) -> relu
    -> conv(x.channels, 1x1x1, bias=true) -> sigmoid)
}
block residual(x) { return (x -> conv(6, 1x1x1) -> relu -> conv(x.channels, 1x1x1) -> bn) + x }
block sliced(x) {
  let half = div(x.channels, 2)
  let left = x -> channel_slice(0, half)
  return concat(left -> conv(4, 1x1x1), x -> channel_slice(half, x.channels))
}
block turned(x) { return matmul(x -> linear(4), x -> transpose) -> transpose -> linear(5) }
"""
ORDERS = (("sparse", "dense"), ("dense", "sparse"))


def two(folder: Path, kind: str, swapped: bool = False, more: str = "") -> tsdsl.Space:
    """A space with one of `HEADS`, with its streams in one order or the other."""
    a, b = ORDERS[swapped]
    head = HEADS[kind].format(a=a, b=b)
    path = folder / f"{kind}{int(swapped)}.tsnet"
    path.write_text(TWO.format(head=head, more=more, blocks=BLOCKS))
    return tsdsl.load(path)
