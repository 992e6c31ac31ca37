"""`make check` runs the tests of what changed, the nearest first, in bounded time."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import affected

ROOT = Path(__file__).resolve().parents[1]


def test_a_module_has_its_namesake_first_and_then_whoever_imports_it() -> None:
    chosen = affected.affected(ROOT, ["tsdsl/analysis/windows/cdf_bounds.py"])
    assert chosen[0] == "tests/analysis/test_cdf_bounds.py"
    # Reached through modules of `tsdsl` only.
    assert "tests/cli/test_space.py" in chosen
    assert "tests/syntax/test_lexer.py" not in chosen


def test_a_verb_that_is_imported_by_name_has_its_test() -> None:
    assert affected.affected(ROOT, ["tsdsl/cli/verbs/flops.py"])[0] == "tests/cli/test_flops.py"


def test_a_shared_helper_and_a_golden_have_the_tests_that_use_them() -> None:
    assert "tests/searching/test_searcher.py" in affected.affected(ROOT, ["tests/killing.py"])
    golden = next((ROOT / "tests" / "sema" / "corpus").glob("*.tsnet")).relative_to(ROOT)
    chosen = affected.affected(ROOT, [golden.as_posix()])
    assert chosen and all(path.startswith("tests/sema/") for path in chosen)


def test_pages_specs_and_grammar_have_theirs_and_what_was_deleted_has_none() -> None:
    for path, tests in (
        ("docs/guide.md", "tests/docs/test_docs.py"),
        ("specs/x3d_s.tsnet", "tests/specs/test_specs.py"),
        ("grammars/tsnet.lark", "tests/syntax/test_parser.py"),
    ):
        assert tests in affected.affected(ROOT, [path])
    assert affected.affected(ROOT, ["tests/test_deleted.py", "LICENSE"]) == []


def test_time_is_bounded_and_a_long_file_leaves_room_for_others() -> None:
    durations = {"a": (9, 50.0), "b": (9, 30.0), "c": (9, 10.0)}
    assert affected.within(["a", "b", "c", "new"], durations, 62.5) == ["a", "c", "new"]


def test_a_thousand_quick_tests_fit_if_nothing_changed() -> None:
    durations = json.loads((ROOT / "tests" / "durations.json").read_text(encoding="utf-8"))
    chosen = affected.quickest(durations)
    assert sum(durations[path][0] for path in chosen) >= 1000
    assert affected.within(chosen, durations, affected.SECONDS) == chosen


def test_changes_are_those_since_the_branch_left_main(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True)

    git("init", "-q", "-b", "main")
    for step, name in enumerate(("old.py", "committed.py", "staged.py", "untracked.py")):
        (tmp_path / name).write_text("")
        if step == 1:
            git("checkout", "-q", "-b", "topic")
        if step < 3:
            git("add", name)
        if step < 2:
            git("commit", "-q", "-m", name)
    assert affected.changed_files(tmp_path) == ["committed.py", "staged.py", "untracked.py"]
