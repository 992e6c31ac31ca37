"""Runs the interactive sessions of a page, one after another, with shared names.

    python sessions.py PAGE

``...`` stands for any text in what a session prints. Exits with 1 if something else is printed.
"""

from __future__ import annotations

import doctest
import re
import sys
from pathlib import Path
from typing import Any

SESSION = re.compile(r"^```pycon\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(page: Path) -> int:
    """The number of examples that fail."""
    text = page.read_text(encoding="utf-8")
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    names: dict[str, Any] = {}
    for found in SESSION.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        test = doctest.DocTestParser().get_doctest(found[1], names, page.name, str(page), line)
        # Names of one session are there in the next one.
        test.globs = names
        runner.run(test, clear_globs=False)
    return runner.summarize().failed


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])) > 0)
