"""Networks built by hand, without the language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tsdsl.diagnostics import Source, Span
from tsdsl.ir.graph import BlockInfo
from tsdsl.ir.network import BlockCall, Body, Branch, Call, Network, OpCall, Tensor
from tsdsl.ops import BY_NAME

_SOURCE = Source("by_hand.tsnet", "")
_serial = 0

Make = Callable[..., Tensor]


def block_info(
    name: str, tensors: tuple[str, ...] = ("x",), params: tuple[str, ...] = (), doc: str = ""
) -> BlockInfo:
    """The definition of a block. Each has a path of its own."""
    global _serial
    _serial += 1
    return BlockInfo(name, doc, tensors, params, Span(_SOURCE, _serial, _serial))


class Hand:
    """Collects the calls of one body."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def op(self, name: str, *inputs: Tensor, at: str = "", hint: str = "", **args: Any) -> Tensor:
        op = BY_NAME[name]
        checked = op.Args(**args)
        output = Tensor(op.infer(checked, *(t.shape for t in inputs)), hint)
        path = tuple((at or name).split("."))
        self.calls.append(OpCall(path, op, checked, inputs, output))
        return output

    def block(
        self,
        info: BlockInfo,
        make: Make,
        *inputs: Tensor,
        at: str = "",
        hint: str = "",
        values: Mapping[str, Any] | None = None,
        **args: Any,
    ) -> Tensor:
        """Append a call of a block. ``make(hand, *formals, **args)`` writes its body and may set
        ``hand.locals``."""
        inner = Hand()
        inner.locals = {}
        formals = tuple(Tensor(t.shape, n) for t, n in zip(inputs, info.tensors, strict=True))
        result = make(inner, *formals, **args)
        output = Tensor(result.shape, hint)
        path = tuple((at or info.name).split("."))
        plain = {name: args[name] for name in info.params}
        body = Body(tuple(inner.calls), result)
        self.calls.append(BlockCall(path, info, plain, inner.locals, inputs, formals, body, output))
        return output

    locals: dict[str, Any]

    def choose(
        self,
        kind: Any,
        case: int,
        cases: int,
        make: Callable[[Hand], Tensor],
        at: str = "if",
        hint: str = "",
    ) -> Tensor:
        inner = Hand()
        inner.locals = getattr(self, "locals", {})
        result = make(inner)
        output = Tensor(result.shape, hint)
        body = Body(tuple(inner.calls), result)
        self.calls.append(Branch(tuple(at.split(".")), kind, case, cases, str(case), body, output))
        return output


def network(
    clip: tuple[int, ...], make: Callable[[Hand, Tensor], Tensor], name: str = "Test", **extra: Any
) -> Network:
    tensor = Tensor(clip, "clip")
    hand = Hand()
    result = make(hand, tensor)
    body = Body(tuple(hand.calls), result)
    return Network(
        name=name,
        doc=extra.get("doc", ""),
        clip=tensor,
        body=body,
        decisions=extra.get("decisions", {}),
        space_hash=extra.get("space_hash", ""),
        source_name=extra.get("source_name", ""),
    )


SE = block_info("squeeze_excite", ("x",), ("channels",), "Squeeze and excitation.")
STEM = block_info("x3d_stem", ("x",), ("width",), "The stem of X3D.")
MBCONV = block_info(
    "mbconv3d", ("x",), ("width", "kernel", "expand", "se", "stride"), "An inverted bottleneck."
)
FUSION = block_info("t_conv", ("dense", "sparse"), ("kernel",), "Time-strided convolution, summed.")
CONV5 = block_info("conv5", ("x",), ("width",), "A 1x1x1 convolution and a global average.")


def squeeze_excite(b: Hand, x: Tensor, channels: int) -> Tensor:
    b.locals["inner"] = inner = max(8, channels // 16)
    g = b.op("global_avg_pool", x, keep=True)
    g = b.op("relu", b.op("conv", g, at="conv1", out=inner, kernel=(1, 1, 1), bias=True))
    g = b.op("conv", g, at="conv2", out=x.shape[0], kernel=(1, 1, 1), bias=True)
    return b.op("mul", x, b.op("sigmoid", g))


def stem(b: Hand, x: Tensor, width: int) -> Tensor:
    x = b.op("conv", x, at="conv1", out=width, kernel=(1, 3, 3), stride=(1, 2, 2))
    x = b.op("conv", x, at="conv2", out=width, kernel=(5, 1, 1), groups=width)
    return b.op("relu", b.op("bn", x))


def mbconv(
    b: Hand,
    x: Tensor,
    width: int,
    kernel: tuple[int, int, int],
    expand: float,
    se: bool,
    stride: tuple[int, int, int],
) -> Tensor:
    b.locals["inner"] = inner = int(width * expand)
    one = (1, 1, 1)
    h = b.op("relu", b.op("bn", b.op("conv", x, at="conv1", out=inner, kernel=one), at="bn1"))
    h = b.op("conv", h, at="conv2", out=inner, kernel=kernel, stride=stride, groups=inner)
    h = b.op("bn", h, at="bn2", hint="h")
    g = b.choose(
        "if",
        0 if se else 1,
        2,
        lambda c: c.block(SE, squeeze_excite, h, channels=inner) if se else h,
        hint="g",
    )
    y = b.op("conv", b.op("swish", g), at="conv3", out=width, kernel=one)
    y = b.op("bn", y, at="bn3", init=0, hint="y")
    same = stride == one and x.shape[0] == width

    def project(c: Hand) -> Tensor:
        return c.op(
            "bn", c.op("conv", x, at="conv4", out=width, kernel=one, stride=stride), at="bn4"
        )

    s = b.choose("if", 0 if same else 1, 2, lambda c: x if same else project(c))
    return b.op("relu", b.op("add", y, s))


def fusion(b: Hand, dense: Tensor, sparse: Tensor, kernel: tuple[int, int, int]) -> Tensor:
    ratio = dense.shape[1] // sparse.shape[1]
    channels = dense.shape[0]
    y = b.op("conv", dense, at="conv1", out=channels, kernel=kernel, stride=(ratio, 1, 1))
    y = b.op("bn", y, at="bn1")
    y = b.op("bn", b.op("conv", y, at="conv2", out=sparse.shape[0], kernel=(1, 1, 1)), at="bn2")
    return b.op("add", sparse, y)


def conv5(b: Hand, x: Tensor, width: int) -> Tensor:
    x = b.op("relu", b.op("bn", b.op("conv", x, out=width, kernel=(1, 1, 1))))
    return b.op("global_avg_pool", x)


def two_stream(
    depths: tuple[int, ...] = (3, 5),
    widths: tuple[int, ...] = (16, 24),
    kernels: tuple[tuple[int, int, int], ...] = ((3, 3, 3),),
    crop: int = 32,
) -> Network:
    """Two streams of MBConv3d with fusion and a head: a small Auto-TSNet."""

    def stage(b: Hand, x: Tensor, at: str, width: int, depth: int) -> Tensor:
        for i in range(depth):
            kernel = kernels[i % len(kernels)]

            def make(c: Hand, i: int = i, x: Tensor = x, kernel: Any = kernel) -> Tensor:
                return c.block(
                    MBCONV,
                    mbconv,
                    x,
                    at=f"{at}.{i}",
                    width=width,
                    kernel=kernel,
                    expand=2.25,
                    se=i % 2 == 0,
                    stride=(1, 2, 2) if i == 0 else (1, 1, 1),
                )

            x = b.choose("depth", 1, 2, make, at=f"{at}.{i}")
        return b.choose("depth", 0, 2, lambda c: x, at=f"{at}.{depth}")

    def make(b: Hand, clip: Tensor) -> Tensor:
        sparse = b.op("time_sample", clip, at="sparse.sample", every=4)
        sparse = b.block(STEM, stem, sparse, at="sparse.stem", width=widths[0])
        dense = b.block(STEM, stem, clip, at="dense.stem", width=widths[0] // 4)
        sparse = b.block(
            FUSION, fusion, dense, sparse, at="fuse.dense_to_sparse.stem", kernel=(5, 1, 1)
        )
        for n, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            sparse = stage(b, sparse, f"sparse.s{n + 1}", width, depth)
            dense = stage(b, dense, f"dense.s{n + 1}", width // 4, depth)
            sparse = b.block(
                FUSION,
                fusion,
                dense,
                sparse,
                at=f"fuse.dense_to_sparse.s{n + 1}",
                kernel=(5, 1, 1),
            )
        x = b.op(
            "concat",
            b.block(CONV5, conv5, sparse, at="head.conv51", width=40),
            b.block(CONV5, conv5, dense, at="head.conv52", width=20),
        )
        x = b.op("relu", b.op("linear", x, at="head.linear1", out=64, bias=False))
        x = b.op("dropout", x, at="head.dropout", p=0.5)
        return b.op("linear", x, at="head.linear2", out=10)

    return network(
        (3, 8, crop, crop),
        make,
        name="TinyTwoStream",
        doc="Two small streams.",
        decisions={"sparse.s1.width": widths[0], "sparse.s1.depth": depths[0]},
        space_hash="0123abcd",
        source_name="specs/tiny.tsnet",
    )
