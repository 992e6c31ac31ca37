"""Lines of `.tsnet` parsed in a second: the standard library and the specs, many times over."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

from tsdsl.diagnostics import Collector, Source
from tsdsl.syntax.parser import parse

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 15
AIM = 8000


def main() -> None:
    files = [
        *sorted((ROOT / "tsdsl" / "std").glob("*.tsnet")),
        *sorted((ROOT / "specs").glob("*.tsnet")),
    ]
    texts = [file.read_text(encoding="utf-8") for file in files]
    lines = sum(text.count("\n") for text in texts)
    parse(Source("warm-up", texts[0]), Collector())
    took = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        for file, text in zip(files, texts, strict=True):
            found = Collector()
            parse(Source(file.name, text), found)
            assert not found.has_errors, file
        took.append(time.perf_counter() - start)
    rate = lines / median(took)
    print(f"{lines} lines in {len(files)} files: {rate:,.0f} lines/s (at least {AIM:,})")


if __name__ == "__main__":
    main()
