"""X3D and SlowFast R50 with the parameter names of PySlowFast, which cannot be installed.

Written from the facts of its structure (names of modules, shapes, order of layers) in
facebookresearch/SlowFast: slowfast/models, configs/Kinetics/X3D_*.yaml, SLOWFAST_*_R50.yaml. The
head pools over everything and gives logits.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Norm = Callable[[int], nn.Module]


class SubBatchNorm(nn.Module):
    """Its own parameters, and statistics in two layers without parameters; ``bn`` is used in
    evaluation."""

    def __init__(self, channels: int, splits: int = 2) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.bn = nn.BatchNorm3d(channels, affine=False)
        self.split_bn = nn.BatchNorm3d(channels * splits, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        shape = (-1, 1, 1, 1)
        return self.bn(x) * self.weight.view(shape) + self.bias.view(shape)


def conv(cin: int, cout: int, kernel: tuple[int, int, int], stride=1, groups=1) -> nn.Conv3d:
    padding = tuple(size // 2 for size in kernel)
    return nn.Conv3d(cin, cout, kernel, stride, padding, groups=groups, bias=False)


class SE(nn.Module):
    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv3d(channels, inner, 1)
        self.fc2 = nn.Conv3d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3, 4), keepdim=True)
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(pooled))))


class Branch(nn.Module):
    """1. a_bn, ReLU; b_bn, (SE), ReLU or swish; c_bn."""

    def __init__(self, a: nn.Conv3d, b: nn.Conv3d, c: nn.Conv3d, norm: Norm, se: int | None):
        super().__init__()
        self.a, self.a_bn = a, norm(a.out_channels)
        self.b, self.b_bn = b, norm(b.out_channels)
        if se:
            self.se = SE(b.out_channels, se)
        self.c, self.c_bn = c, norm(c.out_channels)
        self.swish = se is not None

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.a_bn(self.a(x)))
        x = self.b_bn(self.b(x))
        if hasattr(self, "se"):
            x = self.se(x)
        x = F.silu(x) if self.swish else F.relu(x)
        return self.c_bn(self.c(x))


class Block(nn.Module):
    def __init__(self, cin: int, cout: int, stride: int, branch2: Branch, norm: Norm) -> None:
        super().__init__()
        if cin != cout or stride != 1:
            self.branch1 = conv(cin, cout, (1, 1, 1), (1, stride, stride))
            self.branch1_bn = norm(cout)
        self.branch2 = branch2

    def forward(self, x: Tensor) -> Tensor:
        short = self.branch1_bn(self.branch1(x)) if hasattr(self, "branch1") else x
        return F.relu(short + self.branch2(x))


class Stage(nn.Module):
    """Blocks ``pathway{p}_res{i}``."""

    def __init__(self, *pathways: list[Block]) -> None:
        super().__init__()
        self.depth = len(pathways[0])
        for at, blocks in enumerate(pathways):
            for index, block in enumerate(blocks):
                self.add_module(f"pathway{at}_res{index}", block)

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        found = []
        for at, x in enumerate(xs):
            for index in range(self.depth):
                x = getattr(self, f"pathway{at}_res{index}")(x)
            found.append(x)
        return found


# ---------------------------------------------------------------- X3D


class X3DStem(nn.Module):
    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.conv_xy = conv(3, 24, (1, 3, 3), (1, 2, 2))
        self.conv = conv(24, 24, (5, 1, 1), groups=24)
        self.bn = norm(24)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(self.conv_xy(x))))


class X3DHead(nn.Module):
    def __init__(self, norm: Norm, classes: int) -> None:
        super().__init__()
        self.conv_5 = conv(192, 432, (1, 1, 1))
        self.conv_5_bn = norm(432)
        self.lin_5 = conv(432, 2048, (1, 1, 1))
        self.projection = nn.Linear(2048, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv_5_bn(self.conv_5(x))).mean((2, 3, 4), keepdim=True)
        return self.projection(F.relu(self.lin_5(x)).permute(0, 2, 3, 4, 1)).flatten(1)


class X3D(nn.Module):
    #: Width, squeezed width and unscaled depth of res2 to res5.
    STAGES = ((24, 8, 1), (48, 8, 2), (96, 16, 5), (192, 32, 3))

    def __init__(self, depth: float, norm: Norm = nn.BatchNorm3d, classes: int = 400) -> None:
        super().__init__()
        self.s1 = nn.Module()
        self.s1.pathway0_stem = X3DStem(norm)
        before = 24
        for at, (width, squeezed, repeats) in enumerate(self.STAGES, 2):
            inner = int(2.25 * width)
            blocks = []
            for index in range(int(-(-repeats * depth // 1))):
                stride = 1 if index else 2
                branch = Branch(
                    conv(before, inner, (1, 1, 1)),
                    conv(inner, inner, (3, 3, 3), (1, stride, stride), groups=inner),
                    conv(inner, width, (1, 1, 1)),
                    norm,
                    # Every second block, from the first one on.
                    0 if index % 2 else squeezed,
                )
                blocks.append(Block(before, width, stride, branch, norm))
                before = width
            self.add_module(f"s{at}", Stage(blocks))
        self.head = X3DHead(norm, classes)

    def forward(self, clip_NCTHW: Tensor) -> Tensor:
        xs = [self.s1.pathway0_stem(clip_NCTHW)]
        for stage in (self.s2, self.s3, self.s4, self.s5):
            xs = stage(xs)
        return self.head(xs[0])


# ---------------------------------------------------------------- SlowFast


class ResNetStem(nn.Module):
    def __init__(self, width: int, frames: int, norm: Norm) -> None:
        super().__init__()
        self.conv = conv(3, width, (frames, 7, 7), (1, 2, 2))
        self.bn = norm(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool3d(F.relu(self.bn(self.conv(x))), (1, 3, 3), (1, 2, 2), (0, 1, 1))


class Fuse(nn.Module):
    def __init__(self, width: int, kernel: int, alpha: int, norm: Norm) -> None:
        super().__init__()
        self.conv_f2s = conv(width, 2 * width, (kernel, 1, 1), (alpha, 1, 1))
        self.bn = norm(2 * width)

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        slow, fast = xs
        return [torch.cat([slow, F.relu(self.bn(self.conv_f2s(fast)))], 1), fast]


class SlowFast(nn.Module):
    """ResNet-50 with beta = 1/8; the convolutions of the fusion double the channels."""

    DEPTHS = (3, 4, 6, 3)
    #: Temporal kernel size of convolution a in the slow and fast pathways.
    FRAMES = ((1, 3), (1, 3), (3, 3), (3, 3))

    def __init__(
        self, alpha: int, kernel: int, norm: Norm = nn.BatchNorm3d, classes: int = 400
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.s1 = nn.Module()
        self.s1.pathway0_stem = ResNetStem(64, 1, norm)
        self.s1.pathway1_stem = ResNetStem(8, 5, norm)
        self.s1_fuse = Fuse(8, kernel, alpha, norm)
        befores = [64 + 16, 8]
        for at, (depth, frames) in enumerate(zip(self.DEPTHS, self.FRAMES, strict=True)):
            width = 256 * 2**at
            pathways = [
                self._blocks(befores[0], width, depth, frames[0], 2 if at else 1, norm),
                self._blocks(befores[1], width // 8, depth, frames[1], 2 if at else 1, norm),
            ]
            self.add_module(f"s{at + 2}", Stage(*pathways))
            befores = [width + width // 4, width // 8]
            if at < 3:
                self.add_module(f"s{at + 2}_fuse", Fuse(width // 8, kernel, alpha, norm))
        self.head = nn.Module()
        self.head.projection = nn.Linear(2048 + 256, classes)

    @staticmethod
    def _blocks(
        before: int, width: int, depth: int, frames: int, stride: int, norm: Norm
    ) -> list[Block]:
        blocks = []
        for index in range(depth):
            step = 1 if index else stride
            branch = Branch(
                conv(before, width // 4, (frames, 1, 1)),
                conv(width // 4, width // 4, (1, 3, 3), (1, step, step)),
                conv(width // 4, width, (1, 1, 1)),
                norm,
                None,
            )
            blocks.append(Block(before, width, step, branch, norm))
            before = width
        return blocks

    def forward(self, clip_NCTHW: Tensor) -> Tensor:
        slow = self.s1.pathway0_stem(clip_NCTHW[:, :, :: self.alpha])
        xs = self.s1_fuse([slow, self.s1.pathway1_stem(clip_NCTHW)])
        xs = self.s2_fuse(self.s2(xs))
        xs = self.s3_fuse(self.s3(xs))
        xs = self.s4_fuse(self.s4(xs))
        xs = self.s5(xs)
        return self.head.projection(torch.cat([x.mean((2, 3, 4)) for x in xs], 1))
