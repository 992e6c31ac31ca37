"""Writes what the documentation has from the code: tables of `language.md`, the reference of
`api.md`, and the JSON schemas.

    python docs/generate.py

A table stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``. A test fails where a file
is not what this would write.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tsdsl.analysis.costs.cost_file import CostDocument
from tsdsl.diagnostics import Collector, Source
from tsdsl.ir.arch_file import ArchitectureDocument
from tsdsl.ir.op import Op
from tsdsl.ops import OPS
from tsdsl.sema import sections, signatures
from tsdsl.sema.document import SpecDocument
from tsdsl.sema.functions import BUILTINS, show
from tsdsl.sema.modules import STD
from tsdsl.syntax import printer
from tsdsl.syntax.parser import parse
from tsdsl.syntax.tables import load

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))
from api_reference import reference  # noqa: E402

DIALECT = "https://json-schema.org/draft/2020-12/schema"

#: What an operation takes and gives. A map is [C, T, H, W], a matrix [C, P], a vector [C].
SHAPES = {
    "conv": "map -> [out, ...]; each size is floor((n + 2 padding - dilation (kernel - 1) - 1) / "
    "stride) + 1; `groups` divides C and `out`",
    "bn": "any, unchanged",
    "relu": "any, unchanged",
    "swish": "any, unchanged",
    "sigmoid": "any, unchanged",
    "gelu": "any, unchanged",
    "hardswish": "any, unchanged",
    "tanh": "any, unchanged",
    "max_pool": "map -> map; sizes as `conv`; the padding is at most half of the kernel",
    "avg_pool": "map -> map; sizes as `conv`; the padding is at most half of the kernel",
    "global_avg_pool": "map or matrix -> [C]; with `keep` [C, 1, 1, 1] or [C, 1]",
    "dropout": "any, unchanged",
    "linear": "any [C, ...] -> [out, ...]",
    "softmax": 'any, unchanged; over "positions" no vector',
    "add": "two of one shape, or one of them [C, 1, ...] (not a vector) -> the larger",
    "mul": "two of one rank; per axis equal, or 1 in one of them -> the larger",
    "concat": "one or more, equal apart from the channels -> their channels one after another",
    "matmul": "[A, K], [K, B] -> [A, B]",
    "transpose": "[A, B] -> [B, A]",
    "flatten": "[C, T, H, W] -> [C, T H W]",
    "unflatten": "[C, P] and a map with T H W = P -> [C, T, H, W]",
    "time_sample": "map -> [C, T / every, H, W]; `every` divides T, `start` is below it",
    "time_to_channel": "map -> [n C, T / n, H, W]; `n` divides T",
    "channel_slice": "any [C, ...] -> [stop - start, ...]; 0 <= start < stop <= C",
    "channel_shuffle": "any, unchanged; `groups` divides C",
    "identity": "any, unchanged",
}

#: What a setting means, and whose its default is: of the supplement of Auto-TSNet (S), of FP-NAS
#: (F), of SPOS (P), assumed (A), or none is needed.
SETTINGS: dict[type[BaseModel], dict[str, tuple[str, str]]] = {
    sections.ParsecSettings: {
        "batch": ("clips of a step", "A"),
        "weights": ("optimiser of the weights", "S"),
        "samples": ("architectures drawn per step", "S"),
        "temperature": ("divides the log-likelihood of a batch", "A"),
        "likelihood": ("the log-likelihood of a batch is the sum or the mean of its clips'", "A"),
        "baseline": ("subtract 1 / K from the weights of the samples", "A"),
        "joint_from": (
            "epoch of the search, from 1, from which a block's decisions are joint; 0: never",
            "A",
        ),
        "data": ("weights and distribution learn from the same clips, or from half each", "A"),
        "arch": ("optimiser of the distribution", "S"),
    },
    sections.UniformSettings: {
        "batch": ("clips of a step", "A"),
        "weights": ("optimiser of the weights", "A"),
        "samples": ("architectures of a step, of which the mean loss is trained", "P"),
        "within_budgets": ("draw the architectures of a step within the budgets", "A"),
        "epochs": ("how long", ""),
        "lr": ("learning rate of the weights; it falls by half a cosine", ""),
        "select": ("how the architecture is selected at the end", "P"),
    },
    sections.EvolutionSettings: {
        "population": ("candidates of a generation", "P"),
        "generations": ("number of generations, the random first one included", "P"),
        "parents": ("how many of the best so far have children", "P"),
        "crossover": ("share of a generation that has two parents", "P"),
        "mutation": ("probability that a decision of a mutation changes", "P"),
        "fitness": ("top-1, then the lower cross-entropy; or the latter alone", "P"),
        "bn_batches": ("training batches for a candidate's running statistics", "A"),
    },
    sections.ParsecPhase: {
        "epochs": ("how long", ""),
        "lr": ("learning rates: `(weights=0.4, arch=0.015)`", ""),
        "warmup": ("share of the epochs that trains weights only", "S"),
    },
    sections.Train: {
        "init": ("initialisation", "S"),
        "optimizer": ("optimiser", "S"),
        "lr": ("learning rate", "S"),
        "schedule": ("of the learning rate; the default is `cosine(warmup_epochs=34)`", "S"),
        "epochs": ("how long", "S"),
        "batch": ("clips of a step", "S"),
        "label_smoothing": ("share of the target that is spread over all classes", "A"),
        "mixed_precision": ("compute in 16 bits where it is safe", "A"),
        "ema": ("decay of a running mean of the weights; 0: none", "A"),
        "clip_gradient": ("largest norm of the gradient; 0: any", "A"),
        "augment": ("policy, drawn once for all frames of a clip", "A"),
        "flip": ("mirror half of the clips", "A"),
        "jitter": ("the short side is drawn from this range of pixels: `182..228`", ""),
        "crop": ("side of the random crop in pixels, at most the smallest short side", ""),
    },
    sections.Evaluate: {
        "clips": ("clips of a video, at equal distances", "S"),
        "crops": ("crops of a clip: 1 or 3 views", "A"),
        "crop": ("side of a crop in pixels", ""),
        "short_side": ("short side of a frame in pixels; left out, the crop", "A"),
    },
    sections.Sgd: {
        "momentum": ("", "S"),
        "weight_decay": ("", "S"),
        "nesterov": ("", "A"),
    },
    sections.Adam: {
        "beta1": ("", "A"),
        "beta2": ("", "A"),
        "weight_decay": ("", "S"),
    },
    sections.Cosine: {
        "warmup_epochs": ("linear warm-up, before half a period down to 0", "A"),
        "warmup_start": ("share of the rate at the first step", "A"),
    },
    sections.Constant: {
        "warmup_epochs": ("linear warm-up, then no change", "A"),
        "warmup_start": ("share of the rate at the first step", "A"),
    },
    sections.Adaptive: {"factor": ("samples per nat of the distribution's entropy", "F")},
}
#: Fields that are written as statements or headings.
STATED = {"algorithm", "name", "kind", "budgets", "phases", "streams", "learn"}
HEADINGS: dict[type[BaseModel], str] = {
    sections.ParsecSettings: "search parsec",
    sections.UniformSettings: "search uniform",
    sections.EvolutionSettings: "evolution",
    sections.ParsecPhase: "phase",
    sections.Train: "train",
    sections.Evaluate: "evaluate",
    sections.Sgd: "sgd",
    sections.Adam: "adam",
    sections.Cosine: "cosine",
    sections.Constant: "constant",
    sections.Adaptive: "adaptive",
}


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(header), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


# ------------------------------------------------------------------------------------------ tables


def operations() -> str:
    rows = [[f"`{op.name}`", _arguments(op), SHAPES[op.name], _does(op)] for op in OPS]
    return table(["operation", "arguments", "shape", "what it does"], rows)


def _arguments(op: type[Op]) -> str:
    parts: list[str] = []
    kinds = {p.name: p.type for p in signatures.of_op(op)}
    for name, field in op.Args.model_fields.items():
        default = ""
        if not field.is_required():
            default = " = left out" if field.default is None else f" = {show(field.default)}"
        parts.append(f"`{name}: {kinds[name]}{default}` {field.description}")
    return "<br>".join(parts) or "none"


def _does(op: type[Op]) -> str:
    """The first paragraph of the documentation, in one line."""
    first = (op.__doc__ or "").strip().partition("\n\n")[0]
    return " ".join(first.split()).replace("``", "`")


def functions() -> str:
    rows = []
    for name, (low, high, _, does) in BUILTINS.items():
        given = str(low) if low == high else f"{low} to {high}"
        rows.append([f"`{name}`", given, does])
    return table(["function", "arguments", "gives"], rows)


def library() -> str:
    rows: list[list[str]] = []
    for path in sorted(STD.glob("*.tsnet")):
        tree = parse(Source(path.name, path.read_text(encoding="utf-8")), Collector()).module
        for block in tree.blocks:
            formals = ", ".join(map(_formal, block.formals))
            first = " ".join(block.doc.partition("\n\n")[0].split())
            rows.append([f"`std/{path.stem}`", f"`{block.name.text}({formals})`", first])
    return table(["module", "block", "what it is"], rows)


def _formal(formal: Any) -> str:
    text = str(formal.name.text)
    if formal.type is not None:
        text += f": {formal.type.text}"
    if formal.default is not None:
        text += f" = {printer.expression(formal.default)}"
    return text


def settings() -> str:
    parts: list[str] = []
    for model, known in SETTINGS.items():
        fields = [name for name in model.model_fields if name not in STATED]
        if fields != list(known):
            raise ValueError(f"SETTINGS of {model.__name__}: {list(known)} are not {fields}")
        schema = model.model_json_schema()
        rows = []
        for name in fields:
            does, source = known[name]
            field = schema["properties"][name]
            rows.append([f"`{name}`", _values(field, schema), _default(model, name), source, does])
        parts.append(
            f"**`{HEADINGS[model]}`**\n\n"
            + table(["setting", "values", "default", "", "meaning"], rows)
        )
    return "\n\n".join(parts)


def _values(field: dict[str, Any], schema: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        kind = schema["$defs"][name]["properties"].get("kind")
        if kind is None:
            return "`(" + ", ".join(f"{p}=..." for p in schema["$defs"][name]["properties"]) + ")`"
        return f"`{kind['const']}(...)`"
    for key in ("anyOf", "oneOf"):
        if key in field:
            found = [_values(part, schema) for part in field[key] if part.get("type") != "null"]
            return " or ".join(found)
    if "enum" in field:
        return ", ".join(f"`{word}`" for word in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if field.get("type") == "array":
        return "a range of ints"
    if field.get("type") == "boolean":
        return "`true`, `false`"
    noun = {"integer": "int", "number": "number"}[field["type"]]
    limits = [
        f"{word} {field[key]:,}"
        for key, word in (
            ("exclusiveMinimum", "above"),
            ("minimum", "from"),
            ("exclusiveMaximum", "below"),
            ("maximum", "to"),
        )
        if key in field
    ]
    return " ".join([noun, *limits])


def _default(model: type[BaseModel], name: str) -> str:
    field = model.model_fields[name]
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        return f"`{getattr(value, 'kind')}`"  # noqa: B009
    return f"`{value if isinstance(value, str) else show(value)}`"


def limits() -> str:
    from tsdsl.analysis.costs import cost_file
    from tsdsl.diagnostics import Collector
    from tsdsl.ir import arch_file, op, solve, values
    from tsdsl.sema import context, modules, reachability
    from tsdsl.sema import functions as arithmetic
    from tsdsl.sema.builder import draft, stages, streams
    from tsdsl.sema.interpreter import application, options
    from tsdsl.syntax import parser as parsing
    from tsdsl.syntax import tree_builder

    rows = [
        ("bytes of a spec", modules.MAX_BYTES, "E0804"),
        ("bytes of an `arch.json`", arch_file.MAX_BYTES, "E0804"),
        ("bytes of a cost table", cost_file.MAX_BYTES, "E0804"),
        ("a value of a cost table", cost_file.MAX_VALUE, "E0724"),
        ("findings that are shown", Collector.LIMIT, ""),
        ("depth of brackets", parsing.MAX_BRACKETS, "E0108"),
        ("depth of an expression", tree_builder.MAX_DEPTH, "E0108"),
        ("imports one inside the other", modules.MAX_CHAIN, "E0211"),
        ("files in all", modules.MAX_FILES, "E0211"),
        ("blocks that call each other, deep", application.MAX_CALLS, "E0207"),
        ("blocks of one repeat", stages.MAX_REPEAT, "E0511"),
        ("fusions that are made from each other in a chain", streams.MAX_CHAIN, "E0511"),
        ("operations of a space", draft.MAX_NODES, "E0511"),
        ("work to elaborate a space, in entries of tables", context.MAX_WORK, "E0511"),
        ("options of a decision", options.MAX_OPTIONS, "E0503, E0511"),
        ("combinations that one value may depend on", values.MAX_ENTRIES, "E0512"),
        ("cells of a table when a requirement is solved", solve.MAX_CELLS, "E0592"),
        (
            "cells of all tables of a check, after which it is incomplete",
            reachability.MAX_CELLS,
            "W0906",
        ),
        ("extent of an axis", op.MAX_EXTENT, "E0309, E0401"),
        ("size of a whole number that is computed", arithmetic.MAX_INT, "E0406"),
    ]
    return table(["what", "at most", "past it"], [[a, f"{b:,}", c] for a, b, c in rows])


def words() -> str:
    return ", ".join(f"`{word}`" for word in sorted(load().keywords)) + "."


TABLES: dict[str, Callable[[], str]] = {
    "operations": operations,
    "functions": functions,
    "library": library,
    "settings": settings,
    "limits": limits,
    "words": words,
}
#: Pages with generated parts, and the parts of each.
PAGES = {"language.md": TABLES, "api.md": {"reference": reference}}

_REGION = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: Path) -> str:
    """The text of a page with its generated parts made anew."""
    parts = PAGES[page.name]
    text = page.read_text(encoding="utf-8")
    return _REGION.sub(lambda m: f"{m[1]}\n{parts[m[2]]()}\n\n{m[3]}", text)


# ----------------------------------------------------------------------------------------- schemas


def spec_schema() -> dict[str, Any]:
    """What ``tsdsl check --dump`` prints."""
    return {"$schema": DIALECT, **SpecDocument.model_json_schema(mode="serialization")}


def arch_schema() -> dict[str, Any]:
    """What is read as an architecture file."""
    return {"$schema": DIALECT, **ArchitectureDocument.model_json_schema()}


def cost_schema() -> dict[str, Any]:
    """What is read as a cost table."""
    return {"$schema": DIALECT, **CostDocument.model_json_schema()}


def outputs() -> dict[Path, str]:
    """Every file that this writes, and its text."""
    schemas = {"spec": spec_schema(), "arch": arch_schema(), "cost": cost_schema()}
    return {
        **{DOCS / name: filled(DOCS / name) for name in PAGES},
        **{
            DOCS / "schema" / f"{name}.json": json.dumps(schema, indent=2) + "\n"
            for name, schema in schemas.items()
        },
    }


def main() -> None:
    for path, text in outputs().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
