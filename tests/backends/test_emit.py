"""Emitted source: complete, readable, deterministic, and what the graph says."""

from __future__ import annotations

import copy
import importlib.util
import inspect
import io
import keyword
import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
import torch
from checks import assert_sound, expected_parameters, scrambled
from networks import MBCONV, STEM, Hand, block_info, mbconv, network, stem, two_stream
from torch import nn

from tsdsl.backends.emit import emit, emit_module
from tsdsl.backends.network_module import build
from tsdsl.ir.naming import MODULE_ATTRIBUTES, module_name
from tsdsl.ir.network import Network, Tensor

GOLDEN = Path(__file__).parent / "golden"


def two_kinds() -> Network:
    """Calls of one block whose structures differ."""
    info = block_info("bottleneck", ("x",), ("act",))

    def body(b: Hand, x: Tensor, act: str) -> Tensor:
        x = b.op("conv", x, out=6, kernel=(3, 1, 1))
        return b.op(act, x)

    def make(b: Hand, x: Tensor) -> Tensor:
        for i, act in enumerate(("relu", "swish", "relu", "swish", "swish", "swish")):
            x = b.block(info, body, x, at=f"s.m.{i}", act=act)
        return x

    return network((3, 4, 8, 8), make)


def options() -> Network:
    """Choices between operations: containers are named after the chosen operation."""
    glore = block_info("glore", ("x",), ())

    def body(b: Hand, x: Tensor) -> Tensor:
        a = b.op("flatten", b.op("conv", x, at="conv1", out=4, kernel=(1, 1, 1), bias=True))
        c = b.op("flatten", b.op("conv", x, at="conv2", out=3, kernel=(1, 1, 1), bias=True))
        v = b.op("matmul", a, b.op("transpose", c, at="transpose1"), at="matmul1", hint="v")
        v = b.op("relu", b.op("linear", v, out=4))
        y = b.op("matmul", v, b.op("softmax", c, axis="positions"), at="matmul2")
        y = b.op("unflatten", y, x)
        y = b.op("conv", y, at="conv3", out=x.shape[0], kernel=(1, 1, 1))
        return b.op("add", x, b.op("bn", y, init=0))

    def make(b: Hand, x: Tensor) -> Tensor:
        x = b.block(STEM, stem, x, at="slow.stem", width=6)
        x = b.choose(
            "option", 1, 3, lambda c: c.block(glore, body, x, at="attend.slow.stem.glore"), "glore"
        )
        y = b.choose(
            "option", 2, 3, lambda c: c.op("identity", x, at="attend.slow.s1.none"), "none"
        )
        y = b.choose("option", 0, 2, lambda c: y, "skip")
        y = b.choose(
            "option", 0, 2, lambda c: c.op("max_pool", y, at="slow.s1.0.max_pool", kernel=(1, 2, 2))
        )
        y = b.op("time_to_channel", y, at="slow.s1.1.time_to_channel", n=2)
        y = b.op("channel_shuffle", y, at="slow.s1.2.channel_shuffle", groups=3)
        y = b.op("softmax", y, at="slow.s1.3.softmax", axis="positions")
        y = b.op("linear", y, at="slow.s1.4", out=5)
        return b.op("softmax", b.op("global_avg_pool", y, at="head.g"), at="head.softmax")

    return network((3, 4, 8, 8), make, name="options")


def awkward() -> Network:
    """Names with a meaning in Python or torch, and text that could break out of quotes."""
    doc = 'Ends in a quote: "' + "\n\n" + 'Backslashes \\n \\u0041 \\ and """quotes""" and \x00.\\'
    names = ("type", "class", "forward", "keys", "training", "_modules", "__init__", "é", "self")

    def make(b: Hand, clip: Tensor) -> Tensor:
        x = clip
        for at, name in enumerate((*names, "torch", "Tensor", "nn", "F", "Test", "print", "x")):
            info = block_info(name, ("F", "self"), ("torch", "nn"), doc if at % 2 else name)

            def body(
                b: Hand, first: Tensor, second: Tensor, at: int = at, name: str = name, **args: int
            ) -> Tensor:
                b.locals["in"] = args["nn"] + 1
                y = b.op("conv", first, at="conv", out=args["nn"] + 1, kernel=(1, 1, 1), hint="nn")
                y = b.op("relu", y, at=f"{name}.a")
                y = b.op("bn", y, at=name if at % 2 else f"{name}2.b.c", init=0, hint="class")
                s = b.op("conv", second, at="items", out=args["nn"] + 1, kernel=(1, 1, 1), hint="F")
                return b.op("add", b.op("add", y, s, hint="self"), s)

            where = f"{name}.{name}"
            y = b.block(info, body, x, clip, at=f"{where}.0", hint=name, torch=3, nn=4)
            x = b.block(info, body, y, clip, at=f"{where}.2", hint=name, torch=4, nn=5 + at)
        return b.op("global_avg_pool", x)

    made = network((2, 2, 4, 4), make, name="class", doc=doc, decisions={"a": '"""\\', "b": doc})
    return made


def no_parameters() -> Network:
    info = block_info("skip_block", ("x",), ())

    def make(b: Hand, clip: Tensor) -> Tensor:
        x = b.block(info, lambda b, x: x, clip, at="s.0")
        x = b.block(info, lambda b, x: x, x, at="s.1")
        return b.op("global_avg_pool", x)

    return network((2, 2, 4, 4), make)


def functional_values() -> Network:
    """Operations without weights whose arguments differ between calls."""
    info = block_info("sampler", ("x",), ("every", "low"))

    def body(b: Hand, x: Tensor, every: int, low: int) -> Tensor:
        y = b.op("time_sample", x, every=every)
        z = b.op("channel_slice", y, at="slice1", start=low, stop=2 * low + 1)
        z = b.op("relu", z)
        w = b.op("channel_slice", y, at="slice2", start=0, stop=low + 1)
        unused = b.op("mul", y, y)
        b.op("relu", unused, at="relu9")
        b.op("bn", y, at="unused")
        return b.op("add", z, b.op("tanh", w))

    def make(b: Hand, clip: Tensor) -> Tensor:
        x = b.block(info, body, clip, at="a", every=2, low=3)
        x = b.block(info, body, x, at="b", every=4, low=1)
        return x

    return network((9, 8, 4, 4), make)


def nested_choice() -> Network:
    """An ``if`` within an ``if``, both with two non-empty cases."""
    info = block_info("maybe", ("x",), ("outer", "inner"))

    def body(b: Hand, x: Tensor, outer: bool, inner: bool) -> Tensor:
        def second(c: Hand, y: Tensor) -> Tensor:
            if inner:
                return c.op("conv", y, at="conv2", out=x.shape[0], kernel=(1, 1, 1))
            return c.op("relu", y, at="relu2")

        def first(c: Hand) -> Tensor:
            y = c.op("conv", x, at="conv1", out=x.shape[0], kernel=(3, 1, 1))
            if outer:
                y = c.op("bn", y, at="bn1", hint="x")
                z = c.choose("if", int(inner), 2, lambda d: second(d, y), hint="z")
                return c.op("add", z, y, at="add1")
            return y

        def other(c: Hand) -> Tensor:
            y = c.op("bn", x, at="bn2")
            y = c.op("conv", y, at="conv3", out=x.shape[0], kernel=(1, 3, 1))
            return c.op("add", c.op("conv", y, at="conv4", out=x.shape[0], kernel=(1, 1, 3)), x)

        y = b.choose("if", int(outer), 2, first if outer else other)
        return b.op("relu", b.op("add", y, x, at="add2"))

    def make(b: Hand, x: Tensor) -> Tensor:
        x = b.block(info, body, x, at="a", outer=True, inner=True)
        x = b.block(info, body, x, at="b", outer=True, inner=False)
        return b.block(info, body, x, at="c", outer=False, inner=False)

    return network((4, 3, 4, 4), make)


def unread() -> Network:
    """A tensor that only one case reads is computed in the other one, too, since it is counted."""
    info = block_info("unread", ("x",), ("use",))

    def body(b: Hand, x: Tensor, use: bool) -> Tensor:
        y = b.op("conv", x, out=4, kernel=(3, 1, 1))
        return b.choose("if", int(use), 2, lambda c: c.op("relu", y) if use else x)

    def make(b: Hand, x: Tensor) -> Tensor:
        return b.block(info, body, b.block(info, body, x, at="a", use=True), at="b", use=False)

    return network((4, 3, 4, 4), make)


NETWORKS = {
    "two_stream": two_stream,
    "searched": lambda: two_stream(kernels=((3, 3, 3), (1, 3, 3), (3, 5, 5))),
    "one_block": lambda: two_stream(depths=(1, 2)),
    "two_kinds": two_kinds,
    "options": options,
    "awkward": awkward,
    "no_parameters": no_parameters,
    "functional_values": functional_values,
    "nested_choice": nested_choice,
    "unread": unread,
}


@pytest.fixture(params=NETWORKS, ids=str)
def made(request: pytest.FixtureRequest) -> Network:
    return NETWORKS[request.param]()


def load(text: str, folder: Path) -> Any:
    """Load the emitted text from a file."""
    file = folder / "emitted_model.py"
    file.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("emitted_model", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_module_and_source_compute_what_the_network_says(made: Network) -> None:
    assert_sound(made)


def test_ruff_finds_nothing_in_a_source(made: Network, tmp_path: Path) -> None:
    file = tmp_path / "model.py"
    file.write_text(emit(made), encoding="utf-8")
    rules = ["--isolated", "--line-length", "100"]
    ruff = [sys.executable, "-m", "ruff"]
    select = ["--select", "E,F,I,B,UP,SIM"]
    checked = subprocess.run(
        [*ruff, "check", *rules, *select, file], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout
    formatted = subprocess.run(
        [*ruff, "format", "--diff", *rules, file], capture_output=True, text=True
    )
    assert formatted.returncode == 0, formatted.stdout


def test_equal_networks_have_equal_sources(made: Network, request: pytest.FixtureRequest) -> None:
    assert emit(made) == emit(made)


def test_same_for_another_hash_seed() -> None:
    program = "from networks import two_stream; from tsdsl.backends.emit import emit; import sys;"
    program += "print(emit(two_stream()), 'torch' in sys.modules)"
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), str(Path(__file__).parent)])
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    assert found.pop().endswith(" False\n"), "emitting needs no torch"


def test_stands_alone(tmp_path: Path) -> None:
    """The file runs where tsdsl is not installed."""
    emitted = emit_module(two_stream())
    (tmp_path / "model.py").write_text(emitted.text)
    program = (
        "import sys; sys.modules['tsdsl'] = None; sys.modules['pydantic'] = None;"
        f"import torch, model; m = model.{emitted.class_name}().eval();"
        "print(tuple(m(torch.zeros(1, 3, 8, 32, 32)).shape))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "(1, 10)\n"


def test_file_and_built_module_agree(made: Network, tmp_path: Path) -> None:
    emitted = emit_module(made)
    torch.manual_seed(3)
    theirs: nn.Module = getattr(load(emitted.text, tmp_path), emitted.class_name)()
    torch.manual_seed(3)
    mine = build(made)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    for key, value in mine.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[key]), f"{key} starts differently"
    mine, theirs = scrambled(mine), scrambled(theirs)
    theirs.load_state_dict(mine.state_dict())
    clip = torch.randn(1, *made.clip.shape, dtype=torch.float64)
    assert torch.equal(mine(clip), theirs(clip))


def test_copies_compute_the_same(made: Network) -> None:
    module = build(made).eval()
    clip = torch.randn(1, *made.clip.shape)
    expected = module(clip)
    assert torch.equal(copy.deepcopy(module)(clip), expected)
    assert torch.equal(pickle.loads(pickle.dumps(module))(clip), expected)
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=False)(clip), expected)


def test_no_reference_to_tsdsl() -> None:
    module = build(two_stream())
    for part in module.modules():
        assert not type(part).__module__.startswith("tsdsl."), type(part)
    assert "import tsdsl" not in emit(two_stream())


def test_source_is_found() -> None:
    module = build(two_stream())
    assert inspect.getsource(type(module)).startswith("class TinyTwoStream(nn.Module):")
    try:
        module(torch.zeros(1, 4, 8, 32, 32))
    except RuntimeError as error:
        shown = "".join(traceback.format_exception(error))
        assert "x = self.conv1(x)" in shown
    else:
        raise AssertionError("a clip of 4 channels passed")


def test_equal_networks_share_classes() -> None:
    assert type(build(two_stream())) is type(build(two_stream()))
    assert type(build(two_stream())) is not type(build(two_stream(widths=(16, 32))))


def test_initialisation() -> None:
    torch.manual_seed(0)
    made = two_stream(widths=(64, 128))
    state = build(made).state_dict()
    seen: set[str] = set()
    for path, call in made.ops():
        for param in call.params:
            value = state[".".join((*path, param.name))]
            seen.add(param.init)
            if param.init == "zeros":
                assert not value.any()
            elif param.init == "ones":
                assert bool((value == 1).all())
            elif value.numel() > 2000:
                out, taps = value.shape[0], value[0, 0].numel()
                std = 0.01 if param.init == "linear" else (2 / (out * taps)) ** 0.5
                assert abs(float(value.std()) / std - 1) < 0.1
                assert abs(float(value.mean())) < 0.1 * std
    assert seen == {"he", "zeros", "ones", "linear"}


def test_default_device_and_dtype() -> None:
    with torch.device("meta"):
        assert all(p.is_meta for p in build(two_stream()).parameters())
    torch.set_default_dtype(torch.float64)
    try:
        assert all(p.dtype is torch.float64 for p in build(two_stream()).parameters())
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_module_can_be_traced_for_other_sizes() -> None:
    """torch's tracer can follow the module, and it accepts other clip sizes."""
    made = options()
    module = scrambled(build(made))
    clip = torch.randn(1, *made.clip.shape, dtype=torch.float64)
    exported = torch.export.export(module, (clip,)).module()
    torch.testing.assert_close(exported(clip), module(clip))
    assert module(torch.randn(3, 3, 8, 12, 10, dtype=torch.float64)).shape == (3, 5)


def test_every_parameter_gets_a_gradient() -> None:
    module = build(two_stream())
    loss = module(torch.randn(2, 3, 8, 32, 32)).square().sum()
    loss.backward()
    assert all(p.grad is not None for p in module.parameters())


def test_names_of_modules_are_not_shadowed() -> None:
    """The list of reserved attributes is complete for the installed version of torch."""
    theirs = {
        name
        for kind in (nn.Module(), nn.ModuleDict(), nn.Sequential())
        for name in dir(kind)
        if not name.startswith("_")
    }
    assert theirs <= MODULE_ATTRIBUTES


def test_module_names_are_one_to_one() -> None:
    names = ["type", "type_", "type__", "_x", "underscore_x", "underscoreunderscore_x", "x_"]
    names += [
        "é",
        "_ue9_",
        "x_ue9_",
        "xé",
        "x_u5f_ue9_",
        "__x",
        "_",
        "__",
        "class",
        "class_",
        "None",
    ]
    names += [
        "zero_grad",
        "zero_grad_",
        "requires_grad",
        "requires_grad_",
        "conv1",
        "to",
        "0",
        "12",
    ]
    found = [module_name(name) for name in names]
    assert len(set(found)) == len(names)
    assert module_name("conv1") == "conv1"
    assert module_name("12") == "12"
    for name in found:
        assert name.isdigit() or (name.isidentifier() and not keyword.iskeyword(name))
        assert not name.startswith("_")
        assert not hasattr(nn.ModuleDict(), name), name


def test_escaped_keys() -> None:
    keys = expected_parameters(awkward())
    assert "type_.type_.0.conv.weight" in keys
    assert "underscore_modules.underscore_modules.2.items_.weight" in keys


@pytest.mark.parametrize("name", ["two_stream", "searched", "nested_choice", "options"])
def test_a_source_looks_as_its_golden_does(name: str) -> None:
    """Golden files of emitted source, to be read after each change (TSDSL_UPDATE_GOLDENS=1
    pytest)."""
    file = GOLDEN / f"{name}.py.txt"
    text = emit(NETWORKS[name]())
    if os.environ.get("TSDSL_UPDATE_GOLDENS"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == text


def test_a_block_alone() -> None:
    """Constants are inlined in a block that is used once."""

    def make(b: Hand, clip: Tensor) -> Tensor:
        values: dict[str, Any] = {"kernel": (3, 3, 3), "expand": 2.0, "stride": (1, 1, 1)}
        return b.block(MBCONV, mbconv, clip, at="block", width=3, se=False, **values)

    text = emit(network((3, 4, 8, 8), make))
    assert "def __init__(self) -> None:" in text
    assert "self.conv2 = nn.Conv3d(6, 6, 3, padding=1, groups=6, bias=False)" in text
    assert " if " not in text.split("class MBConv3d")[1]
