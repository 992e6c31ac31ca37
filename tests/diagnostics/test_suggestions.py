"""What "did you mean" costs: the work is counted, however many names are wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tsdsl
from tsdsl.data.lists import ListError, read_list
from tsdsl.diagnostics import Collector, nearest, suggestions
from tsdsl.ir import resolve

SPACE = """tsnet 1
space S {
  input clip(channels=3, frames=2, height=4, width=4)
  stream main(clip) { width ~ {4, 8}  stem conv(width, 1x1x1) }
  head main -> global_avg_pool -> linear(2)
}
"""
#: Far more than are shown.
MANY = 5_000
#: A `Collector` is full at twice what it shows; the finding that fills it is made too.
MOST = 2 * Collector.LIMIT + 1


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names for which a near one was looked for."""
    names: list[str] = []
    real = suggestions.get_close_matches

    def counted(name: str, *rest: Any, **options: Any) -> list[str]:
        names.append(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(suggestions, "get_close_matches", counted)
    return names


def load(tmp_path: Path) -> tsdsl.Space:
    path = tmp_path / "s.tsnet"
    path.write_text(SPACE)
    return tsdsl.load(path)


def test_unknown_decisions_of_an_architecture_file(
    tmp_path: Path, compared: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    placed: list[str] = []
    real: Callable[..., Any] = resolve.key_span

    def counted(source: Any, key: str) -> Any:
        placed.append(key)
        return real(source, key)

    monkeypatch.setattr(resolve, "key_span", counted)
    space = load(tmp_path)
    path = tmp_path / "arch.json"
    decisions = {"main.width": 4} | {f"main.widt{k}": 4 for k in range(MANY)}
    head = {"format": "tsnet-arch/1", "space": "S", "space_hash": space.hash}
    path.write_text(json.dumps(head | {"decisions": decisions}))
    with pytest.raises(tsdsl.ArchitectureError) as error:
        space.network(tsdsl.Architecture.load(path))
    found = error.value.diagnostics
    assert len(found) == Collector.LIMIT
    assert {d.code for d in found} == {"E0711"}
    assert found[0].help == "did you mean 'main.width'?"
    assert len(compared) <= MOST
    # Each look for the place of a key reads the whole file.
    assert len(placed) <= MOST


def test_unknown_decisions_of_a_distribution(tmp_path: Path, compared: list[str]) -> None:
    space = load(tmp_path)
    path = tmp_path / "d.json"
    space.distribution().save(path)
    document = json.loads(path.read_text())
    entry = document["decisions"]["main.width"]
    document["decisions"] = {f"main.widt{k}": entry for k in range(MANY)}
    path.write_text(json.dumps(document))
    with pytest.raises(tsdsl.SpecError) as error:
        tsdsl.Distribution.load(space.graph, path)
    assert len(error.value.diagnostics) == Collector.LIMIT
    assert len(compared) <= MOST


def test_unknown_classes_of_a_list(tmp_path: Path, compared: list[str]) -> None:
    path = tmp_path / "list.csv"
    path.write_text("".join(f"a{k}.mp4 swimm{k}\n" for k in range(MANY)))
    with pytest.raises(ListError) as error:
        read_list(path, classes=["swim", "run"])
    assert str(error.value).count("did you mean 'swim'?") == len(compared)
    assert len(compared) <= MOST
    assert f"{MANY - len(error.value.diagnostics) + 1} more lines are wrong" in str(error.value)


def many(line: str) -> str:
    return "\n".join(line.replace("NUMBER", str(k)) for k in range(MANY))


HEAD, BODY = SPACE.split("space S", 1)


@pytest.mark.parametrize(
    "text",
    [
        HEAD + many('import "std/vide" as vNUMBER') + "\nspace S" + BODY,
        SPACE + "space T extends S {\n" + many("stream mainNUMBER { width = 4 }") + "\n}\n",
        SPACE
        + "space T extends S {\n stream main {\n"
        + many("stage stemNUMBER { a = 1 }")
        + "\n}\n}\n",
        SPACE + "block b(x) {\n return concat(x" + many(", reluNUMBER(x)") + ")\n}\n",
        SPACE.replace("head", many("let aNUMBER = widthNUMBER") + "\nhead"),
    ],
    ids=["imports", "streams", "stages", "names of a block", "names of a space"],
)
def test_unknown_names_of_a_spec(tmp_path: Path, compared: list[str], text: str) -> None:
    path = tmp_path / "s.tsnet"
    path.write_text(text)
    assert len(tsdsl.check(path)) == Collector.LIMIT
    assert len(compared) <= MOST


def test_a_name_that_is_met_again(tmp_path: Path, compared: list[str]) -> None:
    """A block with one wrong argument, unrolled 300 times."""
    path = tmp_path / "s.tsnet"
    stage = "stage s1 { repeat 300 { use b(1) } }"
    block = "block b(x, n: int) { return x -> (if n == 1 then relu(wrong=1) else relu) }\n"
    path.write_text(SPACE.replace("stem conv(width, 1x1x1)", stage) + block)
    assert [d.code for d in tsdsl.check(path)] == ["E0306"]
    assert len(compared) <= 5


def test_long_names_are_no_typos(compared: list[str]) -> None:
    assert nearest("a" * 50_000, ["a" * 49_999, "b"]) is None
    assert nearest("aa", ["a" * 50_000, "aaa"]) == "aaa"
    assert compared == ["aa"]
