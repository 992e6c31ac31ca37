"""The networks of `auto_tsnet_s.tsnet` and `coupled.tsnet` as model spaces of NNI.

There is no formula for the shapes of Conv3d (`nni/nas/profiler/pytorch/utils/shape_formula.py` of
microsoft/nni), so one is registered here, with "same" padding: shapes then depend on no kernel,
which keeps expressions small. Normalisations and activations, which cost nothing in multiply-adds,
are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nni
import torch
from described import Described
from nni.mutable import MutableExpression as Expression
from nni.nas.nn.pytorch import (
    LayerChoice,
    ModelSpace,
    MutableConv3d,
    MutableLinear,
    Repeat,
)
from nni.nas.profiler.pytorch.flops import FlopsResult, register_flops_formula
from nni.nas.profiler.pytorch.utils import MutableShape
from nni.nas.profiler.pytorch.utils.shape_formula import register_shape_inference_formula
from torch import nn

Shape = tuple[int, int, int]


def shape_of_conv(module: MutableConv3d, x: Any) -> MutableShape:
    batch, _, *sizes = x.real_shape
    strides = module.args.get("stride", 1)
    strides = (strides,) * 3 if isinstance(strides, int) else strides
    out = [-(-size // stride) for size, stride in zip(sizes, strides, strict=True)]
    return MutableShape(batch, module.args["out_channels"], *out)


def shape_of_pool(module: nn.Module, x: Any) -> MutableShape:
    return MutableShape(x.real_shape[0], x.real_shape[1], 1, 1, 1)


register_shape_inference_formula(MutableConv3d, shape_of_conv)
register_shape_inference_formula(nn.AdaptiveAvgPool3d, shape_of_pool)
# An integer like all others, since expectations do not mix integers with floats.
register_flops_formula(nn.AdaptiveAvgPool3d, lambda module, given, out: FlopsResult(0, 0))


def conv(
    given: Any, width: Any, kernel: Any = (1, 1, 1), stride: Shape = (1, 1, 1), groups: Any = 1
) -> MutableConv3d:
    if isinstance(kernel, tuple):
        padding: Any = tuple(k // 2 for k in kernel)
    else:
        halves = {k: tuple(n // 2 for n in k) for k in kernel.values}
        padding = Expression.switch_case(kernel, halves)
    return MutableConv3d(
        given, width, kernel, stride=stride, padding=padding, groups=groups, bias=False
    )


def rounded(wide: Any) -> Any:
    """Round to a multiple of 8, at least 8 and at least nine tenths of the value."""
    near = Expression.max(8, Expression.to_int(wide + 4) // 8 * 8)
    return Expression.condition(near < 0.9 * wide, near + 8, near)


class Excite(nn.Module):
    def __init__(self, width: Any, inner: Any) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool3d(1)
        self.squeeze = conv(width, inner)
        self.widen = conv(inner, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.widen(self.squeeze(self.pool(x)))


class Shortcut(nn.Module):
    """A projection where width or stride changes, else the identity. NNI has no module for it."""

    def __init__(self, given: Any, width: Any, stride: Shape) -> None:
        super().__init__()
        self.map = conv(given, width, stride=stride)
        self.given, self.width, self.strides = given, width, stride != (1, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.map(x)

    def _shape_forward(self, x: Any) -> MutableShape:
        return shape_of_conv(self.map, x)

    def _count_flops(self, given: Any, out: Any) -> FlopsResult:
        macs = self.given * self.width * out[2:].numel()
        if not self.strides:
            macs = (self.given != self.width) * macs
        return FlopsResult(macs, 0)


class Block(nn.Module):
    """The inverted bottleneck of `tsdsl/std/video.tsnet`."""

    def __init__(
        self, given: Any, width: Any, kernel: Any, expand: Any, stride: int, se: bool
    ) -> None:
        super().__init__()
        inner = Expression.to_int(width * expand)
        strides = (1, stride, stride)
        self.expand = conv(given, inner)
        self.depthwise = conv(inner, inner, kernel, strides, groups=inner)
        self.excite = Excite(inner, rounded(inner * 0.0625)) if se else None
        self.project = conv(inner, width)
        self.shortcut = Shortcut(given, width, strides)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.depthwise(self.expand(x))
        if self.excite is not None:
            h = self.excite(h)
        return self.project(h) + self.shortcut(x)


class Formula(nn.Module):
    """A part whose shape and cost are given as formulas, which NNI requires where there is no
    module."""

    def __init__(self, macs: Callable[[Any], Any] | None = None, every: int = 0) -> None:
        super().__init__()
        self.macs = macs
        self.every = every

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0

    def _shape_forward(self, x: Any) -> MutableShape:
        return x.real_shape

    def _count_flops(self, given: Any, out: Any) -> FlopsResult:
        return FlopsResult(self.macs(given[0]) if self.macs else 0, 0)


class First(Formula):
    """The first of two tensors."""

    def forward(self, pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return pair[0] + 0

    def _shape_forward(self, pair: Any) -> MutableShape:
        return pair[0].real_shape


class Sampled(Formula):
    """Every n-th frame."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, :: self.every] + 0

    def _shape_forward(self, x: Any) -> MutableShape:
        batch, channels, frames, *rest = x.real_shape
        return MutableShape(batch, channels, frames // self.every, *rest)


class Stacked(Formula):
    """Stacks n frames in the channels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[:, :, k :: self.every] for k in range(self.every)], 1)

    def _shape_forward(self, x: Any) -> MutableShape:
        batch, channels, frames, *rest = x.real_shape
        return MutableShape(batch, channels * self.every, frames // self.every, *rest)


class Pooled(Formula):
    """The mean of each channel: a vector."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3, 4))

    def _shape_forward(self, x: Any) -> MutableShape:
        return MutableShape(x.real_shape[0], x.real_shape[1])


def glore(shape: MutableShape) -> Any:
    channels, places = shape[1], shape[2:].numel()
    nodes, states = channels, 2 * channels
    return (
        places * channels * (2 * states + nodes)
        + 2 * places * states * nodes
        + states * nodes * (states + nodes)
    )


def nonlocal_block(shape: MutableShape) -> Any:
    channels, (frames, height, width) = shape[1], list(shape)[2:]
    places, seen = frames * height * width, frames * (height // 2) * (width // 2)
    inner = Expression.max(1, channels // 2)
    return 2 * channels * inner * (places + seen) + 2 * inner * places * seen


class Fusion(nn.Module):
    """The tensor that a fusion adds to the receiving stream: `t_conv`, `t_sample` and
    `t_to_channel`. It takes a pair, since a layer choice of NNI has one argument."""

    def __init__(self, way: str, source: Any, target: Any, every: int) -> None:
        super().__init__()
        if "t_conv" in way:
            self.over = conv(source, source, (5, 1, 1), (every, 1, 1))
        else:
            stacks = "t_to_channel" in way
            self.over = (Stacked if stacks else Sampled)(every=every)
            source = source * every if stacks else source
        self.map = conv(source, target)

    def forward(self, pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        target, source = pair
        return target + self.map(self.over(source))


class Spec:
    """Choices with the paths and options of the description."""

    def __init__(self, space: Described) -> None:
        self.decisions = {d.path: d for d in space.decisions()}
        self.values: dict[str, list[Any]] = {}

    def choice(self, path: str) -> Any:
        d = self.decisions[path]
        values = list(d.options)
        if d.kind == "dims":
            values = [tuple(int(n) for n in text.split("x")) for text in values]
        self.values[path] = values
        return nni.choice(path, values)

    def layers(self, path: str, made: Callable[[str], nn.Module]) -> LayerChoice:
        options = self.decisions[path].options
        layers = LayerChoice([made(option) for option in options], label=path)
        self.values[path] = list(layers.choice.values)
        return layers

    def sample(self, row: list[int]) -> dict[str, Any]:
        """The sample of NNI for option indices."""
        pairs = zip(self.decisions, row, strict=True)
        return {path: self.values[path][k] for path, k in pairs}

    def stem(self, width: Any) -> nn.Module:
        return nn.Sequential(
            conv(3, width, (1, 3, 3), (1, 2, 2)), conv(width, width, (5, 1, 1), groups=width)
        )

    def stage(self, path: str, given: Any, width: Any, se: bool) -> tuple[nn.Module, Any]:
        """The blocks of a stage, and the width of the last one. ``width``: None if each block has
        its own."""
        depths = self.decisions[f"{path}.depth"].options
        depth = self.choice(f"{path}.depth")
        widths = [
            self.choice(f"{path}[{k}].width") if width is None else width
            for k in range(max(depths))
        ]

        def block(k: int) -> nn.Module:
            return Block(
                widths[k - 1] if k else given,
                widths[k],
                self.choice(f"{path}[{k}].kernel"),
                self.choice(f"{path}[{k}].expand"),
                1 if k else 2,
                se and k % 2 == 0,
            )

        if width is None:
            width = Expression.switch_case(depth, {d: widths[d - 1] for d in depths})
        return Repeat(block, depth), width


class Coupled(ModelSpace):
    """`benchmarks/coupled.tsnet`."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        width = spec.choice("video.first")
        parts = [spec.stem(width)]
        for stage in ("s1", "s2", "s3", "s4"):
            part, width = spec.stage(f"video.{stage}", width, None, False)
            parts.append(part)
        self.parts = nn.Sequential(*parts, conv(width, 512), Pooled())
        self.head = nn.Sequential(MutableLinear(512, 2048), MutableLinear(2048, 400))

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        return self.head(self.parts(clip))


class AutoTSNetS(ModelSpace):
    """`specs/auto_tsnet_s.tsnet`."""

    EVERY = 4
    FUSED = ("stem", "s1", "s2", "s3")
    ATTENDED = ("s2", "s3", "s4")

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.streams = nn.ModuleDict()
        self.fusions = nn.ModuleDict()
        self.attentions = nn.ModuleDict()
        widths = {s: spec.choice(f"{s}.first") for s in ("sparse", "dense")}
        for stream, width in widths.items():
            self.streams[f"{stream} stem"] = spec.stem(width)
        self._fuse(spec, "stem", widths)
        for stage in ("s1", "s2", "s3", "s4"):
            for stream, given in widths.items():
                width = given if stage == "s1" else spec.choice(f"{stream}.{stage}.width")
                part, widths[stream] = spec.stage(f"{stream}.{stage}", given, width, True)
                self.streams[f"{stream} {stage}"] = part
            self._fuse(spec, stage, widths)
            if stage in self.ATTENDED:
                self.attentions[stage] = spec.layers(
                    f"attend.sparse.{stage}", lambda name: attention(name, widths["sparse"])
                )
        inner = {s: Expression.to_int(2.25 * width) for s, width in widths.items()}
        self.last = nn.ModuleDict(
            {s: nn.Sequential(conv(widths[s], inner[s]), Pooled()) for s in widths}
        )
        self.head = nn.Sequential(
            MutableLinear(inner["sparse"] + inner["dense"], 2048), MutableLinear(2048, 400)
        )

    def _fuse(self, spec: Spec, point: str, widths: dict[str, Any]) -> None:
        if point in self.FUSED:
            self.fusions[point] = spec.layers(
                f"fuse.dense->sparse.{point}",
                lambda name: (
                    First()
                    if name == "skip"
                    else Fusion(name, widths["dense"], widths["sparse"], self.EVERY)
                ),
            )

    def forward(self, sparse: torch.Tensor, dense: torch.Tensor) -> torch.Tensor:
        for point in ("stem", "s1", "s2", "s3", "s4"):
            sparse = self.streams[f"sparse {point}"](sparse)
            dense = self.streams[f"dense {point}"](dense)
            if point in self.FUSED:
                sparse = self.fusions[point]((sparse, dense))
            if point in self.ATTENDED:
                sparse = self.attentions[point](sparse)
        return self.head(torch.cat([self.last["sparse"](sparse), self.last["dense"](dense)], 1))


def attention(name: str, width: Any) -> nn.Module:
    if "v.se" in name:
        return Excite(width, rounded(width * 0.0625))
    if "v.glore" in name:
        return Formula(glore)
    return Formula(nonlocal_block) if "v.nonlocal" in name else Formula()
