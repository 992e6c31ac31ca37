"""Parameters and multiply-adds of the shipped specs, to the digits that are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from figures import FIXED, PYTORCHVIDEO_PARAMS, REFERENCES, SPECS, Reference

import tsdsl
from tsdsl.analysis.costs.items import cost_items
from tsdsl.ir.arch_file import dump


def load(name: str, **params: Any) -> tsdsl.Space:
    return tsdsl.load(SPECS / f"{name}.tsnet", set=params)


def giga(macs: int, like: str) -> str:
    """GMACs with as many digits as ``like`` has."""
    return f"{macs / 1e9:.{len(like.partition('.')[2])}f}"


@pytest.mark.parametrize("name", FIXED)
def test_fixed_networks(name: str) -> None:
    params, train_crop, at_train, test_crop, at_test, windowed = FIXED[name]
    space = load(name)
    assert space.input_shape[2:] == (train_crop, train_crop)
    assert space.params() == params
    assert giga(space.flops(), at_train) == at_train
    tested = load(name, crop=test_crop)
    assert tested.params() == params
    assert giga(tested.flops(), at_test) == at_test
    if windowed:
        original = load(name, crop=test_crop, head_pool_of_train_crop=True)
        assert original.params() == params
        assert giga(original.flops(), windowed) == windowed


@pytest.mark.parametrize("name", PYTORCHVIDEO_PARAMS)
def test_pytorchvideo_leaves_one_normalisation_out(name: str) -> None:
    space = load(name, pytorchvideo_shortcut=True)
    assert space.params() == PYTORCHVIDEO_PARAMS[name]
    assert space.flops() == load(name).flops()


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda r: f"{r.spec}-{r.name}")
def test_reference_architectures(reference: Reference, golden: Callable[[Path, str], None]) -> None:
    space = load(reference.spec)
    assert space.input_shape[2] < reference.crop, "a spec stands at its train crop"
    arch = space.architecture(reference.decisions)
    golden(
        reference.path,
        dump(tsdsl.Architecture(arch, space.name, space.hash, reference.provenance)),
    )
    loaded = tsdsl.Architecture.load(reference.path)
    assert loaded == arch
    assert f"{space.params(loaded) / 1e6:.3f}" == reference.mparams
    tested = load(reference.spec, crop=reference.crop)
    assert tested.hash == space.hash
    assert giga(tested.flops(loaded), reference.gmacs) == reference.gmacs


def test_the_sparse_stream_of_r2_alone() -> None:
    """At 160 its cost is inside the window of the supplement's table 1, 1.37 to 1.43 G."""
    assert stream_macs(load("auto_tsnet_s"), reference("auto_tsnet_s", "R2")) == 1_382_760_392


@pytest.mark.parametrize(
    ("spec", "name"), [("auto_tsnet_s", "R2"), ("auto_tsnet_m", "R2"), ("auto_tsnet_l", "R1")]
)
def test_one_architecture_passes_the_budgets_of_all_phases(spec: str, name: str) -> None:
    """The sparse stream alone, both streams, and both with attention: a search in phases can get
    from each window into the next."""
    space = load(spec)
    limits = space.graph.params
    chosen = reference(spec, name).decisions
    attended = chosen | {f"attend.sparse.{point}": "v.glore(1.0)" for point in ("s2", "s3", "s4")}
    alone = stream_macs(space, reference(spec, name))
    assert limits["sparse_low"] <= alone <= limits["sparse_high"]
    assert limits["fused_low"] <= space.flops(chosen) <= limits["fused_high"]
    assert limits["full_low"] <= space.flops(attended) <= limits["full_high"]


def reference(spec: str, name: str) -> Reference:
    return next(r for r in REFERENCES if (r.spec, r.name) == (spec, name))


def stream_macs(space: tsdsl.Space, member: Reference) -> int:
    """Multiply-adds of the sparse stream."""
    network = space.network(space.architecture(member.decisions))
    return sum(item.macs for item in cost_items(network) if item.path[0] == "sparse")
