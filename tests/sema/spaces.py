"""Random spaces as text: decisions of every kind in every place. Almost all of them are valid."""

from __future__ import annotations

from random import Random

BLOCKS = """
block double(x, width: int, kernel: dims = 1x3x3, act: op = relu, stride: dims = 1x1x1) {
  let inner = max(4, round8(width * 1.5))
  let h = x -> conv(inner, 1x1x1) -> bn -> act -> conv(width, kernel, stride=stride) -> bn
  let same = stride == 1x1x1 and x.channels == width
  return act(h + (if same then x else x -> conv(width, 1x1x1, stride=stride)))
}
block gate(x, reduction: int = 2, deep: bool = false) {
  let inner = max(1, div(x.channels, reduction))
  let pooled = x -> global_avg_pool(keep=true)
  let small = if deep then pooled -> conv(inner, 1x1x1) -> relu -> conv(inner, 1x1x1)
              else pooled -> conv(inner, 1x1x1)
  return x * (small -> relu -> conv(x.channels, 1x1x1) -> sigmoid)
}
block lateral(from, to, kernel: dims = 3x1x1) {
  let like = from -> max_pool(dims(div(from.frames, to.frames), 1, 1))
  return concat(to, like -> conv(to.channels, kernel))
}
"""


class Writer:
    """Writes one space. Everything is drawn from ``random``."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.strides: dict[str, str] = {}

    def maybe(self, share: float = 0.5) -> bool:
        return self.random.random() < share

    def domain(self, options: list[str]) -> str:
        some = self.random.sample(options, self.random.randint(1, min(3, len(options))))
        weighted = self.maybe(0.2)
        inside = ", ".join(f"{o}: {self.random.randint(1, 9)}" if weighted else o for o in some)
        default = f" default {self.random.choice(some)}" if self.maybe(0.2) else ""
        return "{" + inside + "}" + default

    def widths(self) -> str:
        if self.maybe(0.3):
            return f"{self.random.choice([4, 8])}..{self.random.choice([8, 12, 16])} step 4"
        return self.domain(["4", "6", "8", "12"])

    def kernels(self) -> str:
        return self.domain(["1x1x1", "1x3x3", "3x1x1", "3x3x3"])

    def call(self, width: str) -> str:
        """A call in a stage."""
        kind = self.random.randrange(6)
        if kind == 0:
            return f"conv({width}, {self.random.choice(['1x1x1', '1x3x3'])})"
        if kind == 1:
            return f"conv({width}, kernel ~ {self.kernels()})"
        if kind == 2:
            return f"double({width}, kernel ~ {self.kernels()}, act ~ {{relu, swish}})"
        if kind == 3:
            return f"double({width}, act=if index % 2 == 0 then relu else hardswish)"
        if kind == 4:
            return f"double(width ~ {self.widths()})"
        return f"double({width})"

    def follow(self) -> str:
        """A call that keeps the shape and takes no stride."""
        options = ["none", "gate", "gate(4)", "gate(reduction ~ {1, 2}, deep ~ {true, false})"]
        options += ["bn", "max_pool(1x3x3, stride=1x1x1, padding=0x1x1)"]
        some = self.random.sample(options, self.random.randint(2, 3))
        return "{" + ", ".join(some) + "}"

    def stage(self, name: str, base: str) -> list[str]:
        # Stages of the same name have the same extents in both streams, so that fusions fit.
        drawn = self.random.choice(["", "()", "(stride=1x2x2)", "(stride=1x1x1)"])
        stride = self.strides.setdefault(name, drawn)
        out = [f"    stage {name}{stride} {{"]
        width = base
        if self.maybe(0.6):
            out.append(f"      width ~ {self.widths()}")
            width = "width"
        if self.maybe(0.2):
            out.append(f"      let wide = {width} * 2")
            width = "wide"
        kind = self.random.randrange(4)
        low = 1 if stride == "(stride=1x2x2)" else self.random.randint(0, 1)
        if kind == 0:
            out.append(f"      use {self.call(width)}")
        elif kind == 1:
            out.append(f"      repeat {self.random.randint(1, 3)} {{ use {self.call(width)} }}")
        elif kind == 2:
            high = low + self.random.randint(0, 2)
            out.append(f"      repeat depth ~ {low}..{high} {{ use {self.call(width)} }}")
        else:
            inner = self.random.randint(0, 1)
            out += [
                f"      use {self.call(width)}",
                f"      repeat outer ~ {low}..{low + 1} {{",
                "        e ~ {4, 8}",
                f"        use {self.call('e')}",
                f"        repeat inner ~ {inner}..{inner + 1} {{ use {self.call('e')} }}",
                "      }",
            ]
        if self.maybe(0.4):
            out.append(f"      use extra ~ {self.follow()}")
        out.append("    }")
        return out

    def space(self) -> str:
        out = ["tsnet 1", BLOCKS, "space S {", "  param size = 8"]
        out.append("  input clip(channels=3, frames=4, height=size, width=size)")
        base = "8"
        if self.maybe():
            out.append(f"  base ~ {self.widths()}")
            base = "base"
        names = ["sparse", "dense"][: self.random.randint(1, 2)]
        stages = [f"s{at}" for at in range(self.random.randint(1, 2))]
        stem = self.maybe()
        for at, name in enumerate(names):
            out.append(f"  stream {name}(clip{', every=2' if at == 0 else ''}) {{")
            if stem:
                out.append(f"    stem conv({base}, kernel ~ {self.kernels()})")
            for stage in stages:
                out += self.stage(stage, base)
            out.append("  }")
        points = (["stem"] if stem else []) + stages
        if len(names) == 2 and self.maybe(0.5):
            out += [
                f"  fuse dense -> sparse after {self.random.choice(points)} ~ "
                "{skip, resample(kernel ~ {1x1x1, 3x1x1})}"
            ]
        if self.maybe(0.5):
            out.append(f"  attend {names[0]} after {self.random.choice(points)} ~ {self.follow()}")
        joined = "concat(" + ", ".join(f"{n} -> global_avg_pool" for n in names) + ")"
        body = joined if len(names) == 2 else f"{names[0]} -> global_avg_pool"
        out.append(f"  head {body} -> dropout(0.5) -> linear(5)")
        if self.maybe(0.3):
            limit = self.random.choice([3000, 20000])
            out.append(f'  require {names[0]}.out.channels * 100 <= {limit} else "thin"')
        if base == "base" and self.maybe(0.3):
            out.append("  require base < 16")
        out.append("}")
        text = "\n".join(out)
        return text.replace(
            "space S {",
            "block resample(from, to, kernel: dims) {\n"
            "  let fit = from -> max_pool(dims(div(from.frames, to.frames), "
            "div(from.height, to.height), div(from.width, to.width)))\n"
            "  return to + (fit -> conv(to.channels, kernel))\n}\n\nspace S {",
        )


def random_space(seed: int) -> str:
    """A space as text, equal for equal seeds."""
    return Writer(Random(seed)).space()
