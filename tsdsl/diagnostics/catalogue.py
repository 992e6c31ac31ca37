"""Every code that a diagnostic can have, with a short title.

The one list of codes: a code is used in the sources if and only if it stands here
(`tests/diagnostics/test_catalogue.py`). The hundreds say what kind of finding it is:

E01 syntax, E02 names, E03 types and arguments, E04 shapes, E05 space, decisions and constraints,
E06 sections (search, train, evaluate), E07 architecture files, E08 files and limits, W09 warnings.
"""

from __future__ import annotations

SYNTAX = {
    "E0101": "characters that have no meaning",
    "E0102": "text that is not closed",
    "E0103": "not a number",
}

NAMES: dict[str, str] = {}

TYPES: dict[str, str] = {}

SHAPES: dict[str, str] = {}

SPACE: dict[str, str] = {
    "E0591": "the cost is outside the window that was asked for",
}

SECTIONS: dict[str, str] = {}

ARCHITECTURES: dict[str, str] = {}

FILES = {
    "E0801": "no such file",
    "E0802": "a directory where a file is expected",
    "E0803": "a file that cannot be read",
    "E0804": "a file that is too large",
    "E0805": "a file that is not text",
    "E0806": "a file that is not UTF-8",
    "E0807": "a file that cannot be written",
    "E0808": "a file that exists already",
}

WARNINGS: dict[str, str] = {}

#: Code -> short title.
CATALOGUE: dict[str, str] = {
    **SYNTAX,
    **NAMES,
    **TYPES,
    **SHAPES,
    **SPACE,
    **SECTIONS,
    **ARCHITECTURES,
    **FILES,
    **WARNINGS,
}
