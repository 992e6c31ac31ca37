"""Uniform single-path training: what is drawn, the gradient of a step, and a whole search."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from searchers import searcher

import tsdsl
from tsdsl.data.lists import read_list
from tsdsl.diagnostics import SpecError
from tsdsl.searching.defaults import EVOLVE_BN_BATCHES
from tsdsl.searching.evolution.events import GenerationFinished
from tsdsl.searching.evolution.population import Settings
from tsdsl.searching.supernet_step import Clips
from tsdsl.searching.uniform.algorithm import CANDIDATES, DRAWN
from tsdsl.sema.sections import EvolutionSettings, UniformSettings
from tsdsl.training.checkpoint import Checkpoints
from tsdsl.weights.weight_files import load

#: Small enough to be scored in a moment.
SELECT = "evolution(population=4, generations=2, parents=2, bn_batches=2)"
SECTION = f"""search uniform {{
    batch = 4
    epochs = 2
    lr = 0.1
    select = {SELECT}
    budget flops in 120k..1M
  }}
"""
#: What depends on the clock.
CLOCK = ("time", "seconds", "waited", "told", "peak_memory")

Uniform = Callable[..., tsdsl.Space]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def uniform(spec: Callable[..., Path], tmp_path: Path) -> Uniform:
    """``uniform(norm=True, search__samples=2)``: the tiny space, searched uniformly."""

    def made(norm: bool = False, **settings: Any) -> tsdsl.Space:
        text = spec(norm).read_text()
        start, end = text.index("search parsec"), text.index("  train {")
        path = tmp_path / "uniform.tsnet"
        path.write_text(text[:start] + SECTION + text[end:])
        return tsdsl.load(
            path, set={name.replace("__", "."): value for name, value in settings.items()}
        )

    return made


def search(space: tsdsl.Space, videos: Path, folder: Path, **options: Any) -> Any:
    options = {"log_every": 1, "save_every": 1, "resume": True, "bn_batches": 2, **options}
    return tsdsl.search(space, videos, val=videos, device="cpu", folder=folder, **options)


def lines(path: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in each.items() if k not in CLOCK} for each in found]


# ---------------------------------------------------------------- steps


def test_architectures_are_drawn_uniformly(uniform: Uniform, videos: Path) -> None:
    """Chi-square over all 40 architectures, whose decisions depend on each other."""
    space = uniform(search__samples=4)
    algorithm = searcher(space, videos).algorithm
    drawn = [a for step in range(1800) for a in algorithm.propose(step)]
    counts = Counter(drawn)
    assert len(counts) <= space.size == 40
    expected = len(drawn) / space.size
    statistic = sum((counts[a] - expected) ** 2 / expected for a in counts)
    statistic += (space.size - len(counts)) * expected
    # 0.999 quantile of chi-square with 39 degrees of freedom.
    assert statistic < 72.1
    # The spec's weights would give 8 of the architectures, those of depth 1, half of all draws.
    assert sum(a["a.s1.depth"] == 1 for a in drawn) / len(drawn) < 0.3


def test_architectures_of_a_step_depend_on_seed_and_step_alone(
    uniform: Uniform, videos: Path
) -> None:
    space = uniform(search__samples=3)
    one, other = (searcher(space, videos).algorithm for _ in range(2))
    steps = [0, 1, DRAWN // 3 - 1, DRAWN // 3, 700]
    forwards = [list(one.propose(step)) for step in steps]
    assert forwards == [list(other.propose(step)) for step in reversed(steps)][::-1]
    assert all(len(each) == 3 for each in forwards)
    assert forwards != [list(searcher(space, videos, 1).algorithm.propose(s)) for s in steps]


@pytest.mark.parametrize("within", [True, False])
def test_draws_are_within_budgets_where_the_spec_says_so(
    uniform: Uniform, videos: Path, within: bool
) -> None:
    space = uniform(search__within_budgets=within)
    algorithm = searcher(space, videos).algorithm
    flops = np.array([space.flops(a) for step in range(300) for a in algorithm.propose(step)])
    inside = (flops >= 120e3) & (flops <= 1e6)
    assert inside.all() if within else not inside.all()


@pytest.mark.parametrize("micro_batch", [None, 2])
@pytest.mark.parametrize("samples", [1, 3])
def test_gradient_is_that_of_the_frozen_networks(
    uniform: Uniform, videos: Path, samples: int, micro_batch: int | None
) -> None:
    space = uniform(search__samples=samples)
    made = searcher(space, videos)
    supernet, algorithm = made.supernet.double(), made.algorithm
    algorithm._step.micro_batch = micro_batch
    # Without dropout; there is no batch normalisation.
    supernet.eval()
    generator = torch.Generator().manual_seed(0)
    clips = torch.randn(4, *space.input_shape, dtype=torch.float64, generator=generator)
    labels = torch.tensor([0, 1, 2, 1])
    architectures = algorithm.propose(5)
    result = algorithm.backpropagate(architectures, [Clips(clips, labels)], 5)
    ours = {name: p.grad for name, p in supernet.named_parameters()}
    # The same, as one loss of supernet passes that autograd goes through.
    for p in supernet.parameters():
        p.grad = None
    loss = sum(F.cross_entropy(supernet(clips, a), labels) for a in architectures) / samples
    loss.backward()
    assert result.loss == pytest.approx(loss.item(), abs=1e-12)
    for name, p in supernet.named_parameters():
        assert (ours[name] is None) == (p.grad is None), name
        if p.grad is not None:
            torch.testing.assert_close(ours[name], p.grad, rtol=0, atol=1e-12)
    if samples == 1:
        # And as the network that the architecture is, by itself.
        net = space.freeze(supernet, architectures[0]).double().eval()
        loss = F.cross_entropy(net(clips), labels)
        loss.backward()
        norm = torch.nn.utils.get_total_norm([p.grad for p in net.parameters()])
        assert result.gradient_norm == pytest.approx(float(norm), rel=1e-12)
        assert result.loss == pytest.approx(loss.item(), abs=1e-12)


def test_a_step_that_is_not_finite_changes_nothing(uniform: Uniform, videos: Path) -> None:
    made = searcher(uniform(True), videos)
    clips = Clips(torch.full((2, *made.space.input_shape), torch.nan), torch.tensor([0, 1]))
    before = {name: t.clone() for name, t in made.supernet.state_dict().items()}
    with pytest.raises(tsdsl.DiagnosticError, match="not finite"):
        made.algorithm.backpropagate(made.algorithm.propose(0), [clips], 0)
    assert all(torch.equal(t, before[k]) for k, t in made.supernet.state_dict().items())
    assert all(p.grad is None for p in made.supernet.parameters())


# ---------------------------------------------------------------- a whole search


def test_a_search_ends_with_the_best_candidate(
    uniform: Uniform, videos: Path, tmp_path: Path
) -> None:
    space, folder = uniform(True), tmp_path / "run"
    events: list[Any] = []
    done = search(space, videos, folder, on_event=events.append)
    assert not done.interrupted and done.met and 120e3 <= done.flops <= 1e6
    candidates = lines(folder / CANDIDATES)[1:]
    assert len(candidates) == 8 and all(120e3 <= each["macs"] <= 1e6 for each in candidates)
    best = max(candidates, key=lambda each: (each["top1"], -each["loss"]))
    assert best["decisions"] == dict(done.architecture)
    assert dict(tsdsl.Architecture.load(folder / "arch.json")) == dict(done.architecture)
    assert load(folder / "model.safetensors").about["architecture"]
    assert sum(isinstance(event, GenerationFinished) for event in events) == 2
    # Nothing that only a learned distribution has.
    assert not (folder / "alpha.jsonl").exists() and not (folder / "distribution.json").exists()
    step = next(each for each in lines(folder / "log.jsonl") if each["event"] == "step")
    assert {"loss", "samples", "gradient_norm", "lr"} <= step.keys()
    assert step.keys().isdisjoint({"entropy", "lr_arch", "arch_gradient_norm", "learned"})
    # Its supernet is one for `evolve`.
    found = tsdsl.evolve(
        space,
        folder / "supernet.safetensors",
        videos,
        videos,
        settings=Settings(2, 1, 1),
        bn_batches=1,
        device="cpu",
    )
    assert 120e3 <= found.flops <= 1e6


@pytest.mark.parametrize("stops", [[2, 5], ["select"]])
def test_a_resumed_search_ends_bit_for_bit_as_one_that_was_not_stopped(
    uniform: Uniform, videos: Path, tmp_path: Path, stops: list[Any]
) -> None:
    space = uniform(True, search__samples=2)
    search(space, videos, tmp_path / "straight")
    folder = tmp_path / "stopped"
    for stop in stops:
        seen: list[Any] = []

        def asked(stop: Any = stop, seen: list[Any] = seen) -> bool:
            if stop == "select":
                return (folder / CANDIDATES).exists() and len(lines(folder / CANDIDATES)) > 3
            return any(getattr(event, "step", 0) >= stop for event in seen)

        done = search(space, videos, folder, on_event=seen.append, stop=asked)
        assert done.interrupted and done.selected is None
        assert not (folder / "arch.json").exists()
    state, _ = Checkpoints(str(folder / "checkpoints")).newest()
    assert state is not None
    search(space, videos, folder)
    for name in ("supernet.safetensors", "model.safetensors"):
        one, other = (load(f / name).tensors for f in (folder, tmp_path / "straight"))
        assert all(torch.equal(t, other[key]) for key, t in one.items())
    for name in ("log.jsonl", CANDIDATES):
        assert lines(folder / name) == lines(tmp_path / "straight" / name)
    assert (folder / "arch.json").read_text() == (tmp_path / "straight/arch.json").read_text()


def test_scores_of_other_weights_do_not_count(
    uniform: Uniform, videos: Path, tmp_path: Path
) -> None:
    space, folder = uniform(True), tmp_path / "run"
    search(space, videos, folder)
    before = (folder / CANDIDATES).read_text()
    head, *scored = before.splitlines()
    spoiled = [json.dumps({**json.loads(line), "top1": 9.0}) for line in scored]
    (folder / CANDIDATES).write_text("\n".join([json.dumps({"supernet": "other"}), *spoiled]))
    search(space, videos, folder)
    assert lines(folder / CANDIDATES)[0] == json.loads(head)
    assert all(each["top1"] <= 1 for each in lines(folder / CANDIDATES)[1:])


# ---------------------------------------------------------------- what does not fit


def test_without_a_validation_list_nothing_begins(
    uniform: Uniform, videos: Path, tmp_path: Path
) -> None:
    with pytest.raises(SpecError) as error:
        tsdsl.search(uniform(), videos, device="cpu", folder=tmp_path / "run")
    (found,) = error.value.diagnostics
    assert found.code == "E0842" and found.help is not None and "--val" in found.help
    assert not (tmp_path / "run/log.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [({"cost_term": "exact"}, "--cost-term"), ({"terms": [object()]}, "terms")],
)
def test_arguments_without_an_effect_are_refused(
    uniform: Uniform, videos: Path, options: dict[str, Any], word: str
) -> None:
    with pytest.raises(SpecError, match=word):
        tsdsl.search(uniform(), videos, val=videos, device="cpu", **options)


def test_parsec_refuses_a_validation_list(tiny: Uniform, videos: Path) -> None:
    with pytest.raises(SpecError, match="'search parsec' has no use for a validation list"):
        tsdsl.search(tiny(), videos, val=videos, device="cpu")


def test_budgets_without_an_architecture_are_found_before_training(
    uniform: Uniform, videos: Path
) -> None:
    space = uniform()
    text = Path(space.graph.source).read_text().replace("120k..1M", "1..2")
    Path(space.graph.source).write_text(text)
    with pytest.raises(SpecError) as error:
        tsdsl.search(tsdsl.load(space.graph.source), videos, val=videos, device="cpu")
    assert error.value.diagnostics[0].code == "E0593"


def test_phases_are_refused(uniform: Uniform) -> None:
    space = uniform()
    phase = "phase p { learn a  epochs = 1  lr = (weights=0.1) }"
    text = Path(space.graph.source).read_text()
    text = text.replace("budget flops", f"{phase}\n    budget flops")
    Path(space.graph.source).write_text(text)
    (found,) = tsdsl.check(space.graph.source)
    assert found.code == "E0605" and "has no phases" in found.message


def test_settings_of_the_selection_are_those_of_evolve() -> None:
    section, settings = EvolutionSettings(), Settings()
    for name in ("population", "generations", "parents", "crossover", "mutation"):
        assert getattr(section, name) == getattr(settings, name), name
    assert section.bn_batches == EVOLVE_BN_BATCHES
    assert UniformSettings(algorithm="uniform", epochs=1, lr=0.1).samples == 1


def test_lists_may_be_given_as_objects(uniform: Uniform, videos: Path) -> None:
    known = read_list(videos)
    done = tsdsl.search(uniform(search__epochs=1), known, val=known, device="cpu", bn_batches=0)
    assert done.architecture
