"""Random and mutated texts: checking ends in findings only, and valid spaces add up.

160 of each by default, 8,000 with ``--sweep``.
"""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import pytest
from cases import cases
from spaces import random_space

from tsdsl import SpecError
from tsdsl.diagnostics import Collector, Source
from tsdsl.diagnostics.catalogue import CATALOGUE
from tsdsl.diagnostics.render import render_all
from tsdsl.sema.check import CheckedFile, check_text
from tsdsl.space import Space
from tsdsl.syntax.lexer import lex
from tsdsl.syntax.parser import parse

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = [
    *sorted(ROOT.glob("specs/*.tsnet")),
    *sorted(ROOT.glob("examples/*.tsnet")),
    ROOT / "tsdsl" / "std" / "video.tsnet",
]
#: Specs that take long to check are mutated less often.
QUICK = [path for path in SHIPPED if "auto_tsnet" not in path.name]
#: Seconds of CPU time after which a text counts as one whose check does not end.
SECONDS = 60

KEYWORDS = (
    "space block param input let stream stage stem use repeat fuse after attend head require else "
    "moved search train evaluate budget in weight phase streams learn if then or and not true "
    "false return default step extends import as tsnet"
)
NAMES = "none skip relu conv clip index width"
LITERALS = '0 1 8 1.5 25% 8ms 2s 1x3x3 0x0x0 1e300 9999999999 "a"'
SIGNS = '( ) { } [ ] , : . .. -> ~ = == < + - * / % // /// # @ " \\ é'
WORDS = [*f"{KEYWORDS} {NAMES} {LITERALS} {SIGNS}".split(), "\n"]


def mutated(text: str, random: Random) -> str:
    """A text with one to four random mistakes."""
    for _ in range(random.randint(1, 4)):
        tokens = lex(Source("a", text), Collector()).items
        kind = random.randrange(8)
        if kind == 0 or not tokens:
            at = random.randrange(len(text) + 1)
            junk = bytes(random.randrange(256) for _ in range(random.randint(1, 8)))
            text = text[:at] + junk.decode("latin-1") + text[at:]
            continue
        if kind == 1:
            text = text[: random.randrange(len(text) + 1)]
            continue
        first = random.choice(tokens)
        second = random.choice(tokens)
        if kind == 2:
            text = text[: first.start] + text[first.end :]
        elif kind == 3:
            text = text[: first.end] + " " + first.text + text[first.end :]
        elif kind == 4:
            text = text[: first.start] + random.choice(WORDS) + text[first.end :]
        elif kind == 5:
            text = text[: first.start] + second.text + text[first.end :]
        elif kind == 6:
            text = text[: first.start] + random.choice(WORDS) + " " + text[first.start :]
        else:
            low, high = sorted((first.start, second.start))
            if high - low < 400:
                text = text[:low] + text[high:]
    return text


def judged(text: str, path: Path) -> CheckedFile:
    """Check a text, and that its findings are well-formed."""
    began = time.process_time()
    checked = check_text(text, path.name, path)
    assert time.process_time() - began < SECONDS, "the check does not end"
    assert render_all(checked.diagnostics).count("\n") < 10_000
    for found in checked.diagnostics:
        assert found.code in CATALOGUE
        assert found.span is not None
        if found.span.source.name == path.name:
            assert 0 <= found.span.start <= found.span.end <= len(text)
    here = [d.span.start for d in checked.diagnostics if d.span and d.file_name == path.name]
    assert here == sorted(here)
    assert checked.has_errors or set(checked.spaces) == set(checked.names)
    return checked


def adds_up(space: Space, seed: int) -> None:
    """Architectures can be drawn, and cost the same frozen as by the tables."""
    archs = space.sample(3, seed=seed) if space.decisions else [space.architecture({})]
    macs, params = space.flops(archs), space.params(archs)
    for arch, by_table, weights in zip(archs, macs, params, strict=True):
        assert space.flops(arch) == by_table
        assert space.params(arch) == weights
    if space.decisions:
        assert space.bounds("macs").min.value <= min(macs)


#: Texts of one test.
CHUNK = 40
CHUNKS = cases(4, sweep=200)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_mutated_specs(chunk: int) -> None:
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        random = Random(seed)
        path = random.choice(SHIPPED if seed % 10 == 0 else QUICK)
        text = mutated(path.read_text(encoding="utf-8"), random)
        try:
            judged(text, path)
        except Exception as bad:
            raise AssertionError(f"seed {seed}, {path.name}") from bad


@pytest.mark.parametrize("chunk", CHUNKS)
def test_mutated_spaces(chunk: int, tmp_path: Path) -> None:
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        text = mutated(random_space(seed), Random(seed))
        try:
            checked = judged(text, tmp_path / "a.tsnet")
            for found in checked.spaces.values():
                adds_up(Space(found.graph, found.sections), seed)
        except Exception as bad:
            raise AssertionError(f"seed {seed}") from bad


@pytest.mark.parametrize("chunk", CHUNKS)
def test_random_spaces(chunk: int, tmp_path: Path) -> None:
    valid = 0
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        text = random_space(seed)
        checked = judged(text, tmp_path / "a.tsnet")
        if checked.has_errors:
            codes = {d.code for d in checked.diagnostics if d.severity == "error"}
            # A random space may have kernels that do not divide, or requirements that exclude all.
            assert codes <= {"E0505", "E0401"}, f"seed {seed}:\n{render_all(checked.diagnostics)}"
            continue
        valid += 1
        (found,) = checked.spaces.values()
        try:
            adds_up(Space(found.graph, found.sections), seed)
        except Exception as bad:
            raise AssertionError(f"seed {seed}") from bad
    assert valid >= CHUNK * 3 // 5


ALPHABETS = ["(){}[]", "abc ~={}\n", '"\\/ \n\t', "0123456789.xkM%eE+-_", "\x00é\u202e🙂a1"]


@pytest.mark.parametrize("chunk", CHUNKS)
def test_random_characters(chunk: int) -> None:
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        random = Random(seed)
        alphabet = random.choice(ALPHABETS)
        text = "tsnet 1\n" + "".join(random.choices(alphabet, k=random.randint(1, 300)))
        found = Collector()
        parsed = parse(Source("a", text), found)
        assert parsed.clean == (not len(found))


def test_findings_are_an_error_of_the_library(tmp_path: Path) -> None:
    import tsdsl

    (tmp_path / "a.tsnet").write_text("tsnet 1\nspace S { }\n")
    with pytest.raises(SpecError):
        tsdsl.load(tmp_path / "a.tsnet")
