"""`find` against enumeration, and at scale."""

from __future__ import annotations

import subprocess
import sys
from random import Random

import pytest
from random_spaces import SPAN, Maker, chain, decisions_of, enumerated, holds

from tsdsl.diagnostics import Diagnostic
from tsdsl.ir import solve
from tsdsl.ir.graph import Edge, walk
from tsdsl.ir.solve import Evidence, Solver, find
from tsdsl.ir.values import Fault, constant, lift, of_variable


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("cells", [solve.MAX_CELLS, 4], ids=["eliminated", "tried"])
def test_find_agrees_with_enumeration(
    seed: int, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solve, "MAX_CELLS", cells)
    space, found = enumerated(seed)
    solver = Solver(space.variables, space.decisions, space.requirements)
    assert (solver.base() in found) if found else (solver.base() is None)
    random = Random(seed)
    placed = list(walk(space.root))
    vals = [p.node.output.shape for p in placed]
    vals += [val for p in placed for val in p.node.args.values()]
    vals += [of_variable(v) for v in space.variables]
    for _ in range(15):
        evidence: list[Evidence] = []
        for val in random.sample(vals, random.choice((1, 2, 3))):
            wanted = random.choice(val.entries)
            evidence.append((val, lambda e, wanted=wanted: e == wanted))
        if random.random() < 0.5:
            for guard in random.choice(placed).guards:
                evidence.append((guard.selector, lambda e, case=guard.case: e == case))
        right = [at for at in found if all(test(val.at(at)) for val, test in evidence)]
        answer = solver.find(evidence)
        assert (answer in right) if right else (answer is None)


@pytest.mark.parametrize("seed", range(20))
def test_options_are_those_of_some_architecture(seed: int) -> None:
    space, found = enumerated(seed)
    solver = Solver(space.variables, space.decisions, space.requirements)
    for decision in space.decisions:
        used = {decisions_of(space, at).get(decision.path) for at in found} - {None}
        usable = {decision.options[k] for k in solver.options(decision.variable)}
        assert usable == used


def test_the_witness_is_near_the_defaults() -> None:
    space = chain(blocks=8, stages=2, requirement=False)
    kernel = space.decisions[2]
    found = find(space, [(of_variable(kernel.variable), lambda e: e == (3, 3, 3))])
    assert found is not None
    moved = [d.path for d in space.decisions if found[d.variable.index] != d.default]
    assert moved == [kernel.path]


def test_faults_are_evidence_and_satisfy_nothing_else() -> None:
    maker = Maker()
    width = maker.decide("width", "int", (4, 8, 12))
    fault = Fault(Diagnostic("E0401", "no such width", SPAN))
    shape = lift(lambda w: fault if w == 8 else (w, 1, 1, 1), width)
    derived = maker.derive("shape", shape)
    later = lift(lambda s: s[0] * 2, derived)
    maker.require(lift(lambda w: w > 4, width), "width > 4")
    clip = Edge(constant((3, 2, 6, 6)))
    space = maker.space(clip, (), clip)
    assert find(space, [(shape, lambda e: e == fault)]) == [1, -1]
    assert find(space, [(width, lambda e: e == 12)]) == [2, 1]
    assert find(space, [(later, lambda e: True)]) == [2, 1]
    assert find(space, [(later, lambda e: e == 8)]) is None
    assert find(space, [(width, lambda e: e == 8), (later, lambda e: True)]) is None


def test_a_space_without_architectures() -> None:
    maker = Maker()
    width = maker.decide("width", "int", (4, 8))
    maker.decide("other", "int", (1, 2))
    maker.require(lift(lambda w: w > 8, width), "width > 8")
    clip = Edge(constant((3, 2, 6, 6)))
    space = maker.space(clip, (), clip)
    assert find(space, []) is None
    assert find(space, [(of_variable(space.variables[1]), lambda e: True)]) is None


def test_a_chain_of_80_blocks() -> None:
    space = chain(80)
    last = list(walk(space.root))[-1].node.inputs[0].shape
    solver = Solver(space.variables, space.decisions, space.requirements)
    for width in (72, 80, 96):
        found = solver.find([(last, lambda e, width=width: e[0] == width)])
        assert found is not None
        assert last.at(found)[0] == width
        assert all(holds(r, found) for r in space.requirements)
    assert solver.find([(last, lambda e: e[0] == 64)]) is None


def test_no_numpy() -> None:
    program = "import sys, tsdsl.ir.solve, tsdsl.ir.freeze; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
