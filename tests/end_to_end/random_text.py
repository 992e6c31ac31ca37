"""Random spaces as text: streams of stages of blocks, with decisions of every kind."""

from __future__ import annotations

from random import Random

BLOCKS = """
block plain(x, width: int, kernel: dims = 3x3x3, act: op = relu, stride: dims = 1x1x1) {
  return x -> conv(width, kernel, stride=stride) -> bn -> act
}

block residual(x, width: int, expand: ratio, kernel: dims, gate: bool, stride: dims = 1x1x1) {
  let inner = int(width * expand)
  let h = x -> conv(inner, 1x1x1) -> bn -> relu -> conv(inner, kernel, stride=stride, groups=inner)
  let g = if gate then h * (h -> global_avg_pool(keep=true) -> conv(inner, 1x1x1) -> sigmoid) else h
  let y = g -> conv(width, 1x1x1) -> bn(init=0)
  let same = x.channels == width and stride == 1x1x1
  return y + (if same then x else x -> conv(width, 1x1x1, stride=stride) -> bn)
}

block choose(x, width: int, side: op, stride: dims = 1x1x1) {
  let h = x -> plain(width, 1x1x1, swish, stride)
  return if width >= 12 then h -> side else concat(h -> side, h)
}

block gated(x, squeeze: int) {
  return x * (x -> global_avg_pool(keep=true) -> conv(squeeze, 1x1x1) -> relu
    -> conv(x.channels, 1x1x1) -> sigmoid)
}

block joined(source, target) {
  return target + (source -> time_sample(source.frames / target.frames)
    -> conv(target.channels, 1x1x1))
}

block beside(source, target, width: int) {
  return concat(target, source
    -> conv(width, 3x1x1, stride=dims(source.frames / target.frames, 1, 1)))
}
"""
KERNELS = ["1x1x1", "1x3x3", "3x3x3", "3x1x1"]


def random_space(seed: int) -> str:
    """The text of a module with one random space, valid by construction."""
    return _Maker(Random(seed)).space()


class _Maker:
    def __init__(self, random: Random) -> None:
        self.random = random

    def space(self) -> str:
        r = self.random
        stages = r.randint(1, 3)
        strides = [r.choice(["1x1x1", "1x2x2"]) for _ in range(stages)]
        two = r.random() < 0.7
        lines = ["space Random {", "  param base: int = 8"]
        lines.append("  input clip(channels=3, frames=4, height=16, width=12)")
        for name, every in (("a", 2), ("b", 1)) if two else (("a", 1),):
            lines += self.stream(name, every, strides)
        points = ["stem", *(f"s{k}" for k in range(stages))]
        if two:
            lines.append(f"  fuse b -> a after {r.choice(points)} {self.fusion()}")
        if r.random() < 0.6:
            options = "{none, gated(squeeze ~ {4, 8}), gated(2)}"
            lines.append(f"  attend a after {r.choice(points)} ~ {options}")
        ends = (
            "concat(a -> global_avg_pool, b -> global_avg_pool)" if two else "a -> global_avg_pool"
        )
        lines.append(f"  head {ends} -> dropout(0.5) -> linear(5)")
        if r.random() < 0.5:
            lines.append("  require a.s0.out.channels <= a.stem.out.channels * 4")
        return "\n".join(["tsnet 1", *lines, "}", BLOCKS])

    def stream(self, name: str, every: int, strides: list[str]) -> list[str]:
        r = self.random
        stem = r.choice(
            [
                "plain(base, 1x3x3)",
                f"plain({self.width('width')}, kernel=1x3x3, act ~ {{relu, swish}})",
            ]
        )
        lines = [f"  stream {name}(clip, every={every}) {{", f"    stem {stem}"]
        for number, stride in enumerate(strides):
            lines += self.stage(number, stride)
        return [*lines, "  }"]

    def width(self, name: str) -> str:
        return self.random.choice(
            [f"{name} ~ 8..16 step 4", f"{name} ~ {{8: 2, 16: 1}} default 16", "8"]
        )

    def stage(self, number: int, stride: str) -> list[str]:
        r = self.random
        shared = r.random() < 0.5
        lines = [f"    stage s{number}(stride={stride}) {{"]
        if shared:
            lines.append("      width ~ 8..16 step 8")
        if r.random() < 0.4:
            lines.append(f"      use {self.block('width' if shared else '8')}")
        least = 1 if stride != "1x1x1" and len(lines) < 3 + shared - 1 else r.randint(0, 1)
        first = not any(line.strip().startswith("use") for line in lines)
        if first and stride != "1x1x1":
            least = 1
        count = r.choice([f"depth ~ {least}..{least + 2}", f"{least + 1}", f"depth = {least + 1}"])
        own = "width" if shared else self.width("width")
        lines.append(f"      repeat {count} {{ use {self.block(own)} }}")
        return [*lines, "    }"]

    def block(self, width: str) -> str:
        r = self.random
        kernels = "{" + ", ".join(r.sample(KERNELS, 2)) + "}"
        return r.choice(
            [
                f"plain({width}, kernel ~ {kernels})",
                f"residual({width}, expand ~ {{1.5, 2.0}}, kernel ~ {kernels}, gate=index > 0)",
                f"residual({width}, expand=2.0, kernel=1x3x3, gate ~ {{true, false}})",
                f"choose({width}, side ~ {{none, gated(4), conv(12, 1x1x1)}})",
            ]
        )

    def fusion(self) -> str:
        return self.random.choice(
            [
                "~ {joined, skip}",
                "= joined",
                "~ {joined, beside(width ~ {2, 4}), skip} default skip",
            ]
        )
