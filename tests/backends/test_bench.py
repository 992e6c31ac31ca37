"""Benchmarks of networks as a library call. No test asserts a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tsdsl
from tsdsl.backends.bench import Bench, BenchReport, LazyNetwork, Quartiles, count_macs
from tsdsl.backends.timing import Setup
from tsdsl.diagnostics import SpecError

SPECS = Path(__file__).resolve().parents[2] / "specs"
CLIP = (3, 4, 8, 8)


class Tiny(nn.Module):
    """One convolution, which records its inputs."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, width, 1)
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "meta":
            self.seen.append(x)
        return self.conv(x)


class Two(nn.Module):
    def forward(self, pathways: list[Tensor]) -> Tensor:
        for at, pathway in enumerate(pathways):
            assert pathway.dim() > 1
            pathways[at] = pathway.mean()
        return pathways[0] + pathways[1]


class Sum(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Raises(nn.Module):
    def __init__(self, error: BaseException, after: int = 0) -> None:
        super().__init__()
        self.error, self.after = error, after
        self.weight = nn.Parameter(torch.zeros(7))

    def forward(self, x: Tensor) -> Tensor:
        self.after -= 1
        if self.after < 0:
            raise self.error
        return x


def quick(networks: Any, clip: Any = CLIP, **options: Any) -> BenchReport:
    return tsdsl.bench(networks, clip, **{"repeats": 4, "warmup": 0, **options})


def test_what_is_known_of_a_network() -> None:
    report = quick({"tiny": Tiny(), "wide": Tiny(16)}, batch=2)
    row = report.row("wide")
    assert row.inputs == ((2, *CLIP),)
    assert row.params == 16 * 3 + 16 and row.weights == 4 * row.params
    assert row.macs == 3 * 16 * 4 * 8 * 8
    assert row.peak is not None and row.peak >= 4 * 2 * 16 * 4 * 8 * 8
    assert row.failure is None and row.latency is not None and row.latency.median > 0
    assert len(row.latency.values) == 4
    assert row.clips_per_second == pytest.approx(2e9 / row.latency.median)
    assert row.ratio is not None and len(row.ratio.values) == 4
    assert report.row("tiny").ratio == Quartiles(1.0, 0.0, (1.0,) * 4)
    assert report.base == "tiny"
    assert report.setup["torch"] == torch.__version__ and report.setup["batch"] == 2


def test_a_spread() -> None:
    assert Quartiles.over([5.0, 1.0, 2.0, 100.0, 3.0]) == Quartiles(
        3.0, 3.0, (5.0, 1.0, 2.0, 100.0, 3.0)
    )


def test_ratios_of_made_up_samples() -> None:
    """The medians are 3 and 9; the ratios of the rounds are 2, 2, 5."""
    run = Bench(Setup.of(repeats=3, warmup=0))
    for name in ("a", "b", "untimed"):
        run.prepare(name, LazyNetwork(Tiny, CLIP))
    run._measured.samples = {"a": [1.0, 10.0, 3.0], "b": [2.0, 20.0, 15.0]}
    run._measured.visits = {"a": [1, 1, 1], "b": [1, 1, 1]}
    report = run.report()
    assert report.row("b").latency == Quartiles(15.0, 9.0, (2.0, 20.0, 15.0))
    assert report.row("b").ratio == Quartiles(2.0, 1.5, (2.0, 2.0, 5.0))
    assert report.row("b").clips_per_second == pytest.approx(1e9 / 15)
    assert report.row("untimed").latency is None and report.row("untimed").params


def test_a_networks_own_input() -> None:
    example = [torch.rand(1, 3, 2, 8, 8), torch.rand(1, 3, 8, 8, 8)]
    both = (torch.rand(4, 5), torch.arange(20).reshape(4, 5))
    report = quick({"two": (Two(), example), "sum": (Sum(), both)}, None, batch=4)
    assert report.row("two").inputs == ((4, 3, 2, 8, 8), (4, 3, 8, 8, 8))
    assert report.row("sum").inputs == ((4, 5), (4, 5))
    assert not [row for row in report.rows if row.failure]


def test_modules_that_are_given_stay_as_they_are() -> None:
    module = Tiny().train()
    before = module.conv.weight.clone()
    assert quick({"tiny": module}, dtype="bfloat16").row("tiny").failure is None
    assert module.training and module.seen == []
    assert module.conv.weight.dtype is torch.float32
    assert torch.equal(module.conv.weight, before)


def test_what_is_timed() -> None:
    made: list[Tiny] = []

    def make() -> Tiny:
        made.append(Tiny())
        return made[0]

    quick({"tiny": make}, dtype="bfloat16", channels_last=True)
    (module,) = made
    assert not module.training and len(module.seen) > 4
    (x,) = {id(x): x for x in module.seen}.values()
    assert x.dtype is torch.bfloat16 and x.is_inference() is False
    assert x.is_contiguous(memory_format=torch.channels_last_3d)
    assert module.conv.weight.is_contiguous(memory_format=torch.channels_last_3d)


def test_what_fails_is_a_row() -> None:
    def exits() -> nn.Module:
        raise SystemExit(3)

    def stops() -> nn.Module:
        raise BaseException("at once")

    report = quick(
        {
            "forward": Raises(KeyError("x")),
            "later": Raises(RuntimeError("no kernel\nat C++ line 7"), after=5),
            "exits": exits,
            "stops": stops,
            "memory": lambda: nn.Linear(10**7, 10**7),
            "number": lambda: 5,
            "shape": nn.Linear(5, 5),
            "batch": (Two(), [torch.rand(3, 1), torch.rand(3, 1)]),
            "text": (Two(), "clip"),
            "good": Tiny(),
        },
        batch=2,
    )
    said = {row.name: row.failure for row in report.rows}
    assert said.pop("shape") is not None
    assert said == {
        "forward": "KeyError: 'x'",
        "later": "no kernel",
        "exits": "SystemExit: 3",
        "stops": "BaseException: at once",
        "memory": "out of memory",
        "number": "the network is of type int, not a torch.nn.Module nor (module, example_input)",
        "batch": "the example input 3x1 holds 3 clips: give 1, or as many as the batch (2)",
        "text": "the example input is not a tensor, but str",
        "good": None,
    }
    assert report.base == "good" and report.row("good").latency is not None
    # What is known of a network before it fails is kept.
    assert report.row("forward").params == report.row("later").params == 7
    assert report.row("later").latency is None


def test_there_is_an_input_to_give() -> None:
    failure = quick({"tiny": Tiny()}, None).row("tiny").failure
    assert failure is not None and "give a pair (module, example_input)" in failure


def test_multiply_adds_of_a_module_are_those_of_its_spec() -> None:
    space = tsdsl.load(SPECS / "x3d_s.tsnet", set={"crop": 48})
    module = tsdsl.compile(space).eval()
    x = torch.rand(2, *space.input_shape)
    assert count_macs(module, (x,)) == space.flops()
    assert all(p.device.type == "cpu" for p in module.parameters())


def test_what_does_not_run_on_meta_is_not_counted() -> None:
    class Looks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    report = quick({"looks": Looks()})
    assert report.row("looks").macs is None and report.row("looks").latency is not None


def test_no_device() -> None:
    with pytest.raises(SpecError, match="cannot be used"):
        quick({"tiny": Tiny()}, device="cuda:99")


@pytest.mark.sweep
def test_torch_compile() -> None:
    """Compiling takes a minute of a C++ compiler."""
    report = quick({"tiny": Tiny()}, compiled=True)
    assert report.row("tiny").failure is None and report.setup["compile"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu() -> None:
    report = quick({"tiny": Tiny(), "big": lambda: nn.Linear(10**7, 10**7)}, device="cuda")
    row = report.row("tiny")
    assert row.latency is not None and row.peak is not None
    assert row.peak >= 4 * 8 * 4 * 8 * 8
    assert report.row("big").failure is not None
