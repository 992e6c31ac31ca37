"""The settings of sections: from expressions to the documents of `tsdsl.sema.sections`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from tsdsl.diagnostics import Label, Span, did_you_mean, nearest
from tsdsl.ir.resolve import moved
from tsdsl.ir.space import path_prefixes
from tsdsl.ir.values import Fault, Val
from tsdsl.record import MutableRecord
from tsdsl.sema import sections
from tsdsl.sema.builder.space_builder import ElaboratedSpace, SpaceBuilder
from tsdsl.sema.functions import show
from tsdsl.sema.modules import LoadedModule
from tsdsl.sema.scope import Env
from tsdsl.sema.setting_overrides import is_setting, override, section_of
from tsdsl.syntax import ast, printer

#: Where the parts of a section are written; with `NAME` at the end, where their name is.
Places = dict[tuple[Any, ...], Span]
NAME = "="


class Sections(MutableRecord):
    search: sections.Search | None = None
    train: sections.Train | None = None
    evaluations: tuple[sections.Evaluate, ...] = ()


def read_sections(
    tree: ast.Space,
    statements: Sequence[ast.Statement],
    builder: SpaceBuilder,
    space: ElaboratedSpace,
) -> Sections:
    """Validate the sections among the statements of a space, its base's included. Findings go to
    the builder's context."""
    name = tree.name
    reader = _Reader(builder, space, tree)
    result = Sections()
    evaluations: list[sections.Evaluate] = []
    written = [s for s in statements if isinstance(s, ast.Section)]
    if reader.train_is_overridden and not any(s.kind == "train" for s in written):
        written.append(ast.Section("train", None, (), "", name.span))
    for statement in written:
        document = reader.section(statement)
        if isinstance(document, sections.Search):
            result.search = document
        elif isinstance(document, sections.Train):
            result.train = document
        elif isinstance(document, sections.Evaluate):
            evaluations.append(document)
    result.evaluations = tuple(evaluations)
    reader.check_overrides(written, name)
    return result


class _Reader:
    def __init__(self, builder: SpaceBuilder, space: ElaboratedSpace, tree: ast.Space) -> None:
        self.tree = tree
        self.moves = {old: move.new for old, move in space.moves.items()}
        self.builder = builder
        self.context = builder.context
        self.space = space
        #: What ``--set`` gives settings, as modules of their own, by the identity of their text.
        self.given: dict[int, LoadedModule] = {}
        self.prefixes = {p for d in self.space.decisions for p in path_prefixes(d.path)}

    def section(self, section: ast.Section) -> BaseModel | None:
        places: Places = {(): section.name.span if section.name else section.span}
        values, fine = self._settings(section.settings, places, ())
        if section.kind == "search":
            assert section.name is not None
            values["algorithm"] = section.name.text
            places[("algorithm",)] = section.name.span
            model: type[BaseModel] = sections.Search
        elif section.kind == "train":
            model = sections.Train
            places[()] = Span(section.span.source, section.span.start, section.span.start + 5)
        else:
            assert section.name is not None
            model = sections.Evaluate
            values["name"] = section.name.text
        title = section.kind if model is not sections.Evaluate else f"evaluate.{values['name']}"

        def read(assign: ast.Assign, tree: ast.Module, at: tuple[Any, ...]) -> tuple[Any, bool]:
            self.given[id(tree.source)] = LoadedModule(tree)
            key = (*at, assign.name.text)
            places[key], places[(*key, NAME)] = assign.value.span, assign.name.span
            found = self._value(assign.value, places, key)
            return found, found is not _BROKEN

        given = self.builder.overrides.values
        fine = override(title, model, values, given, read, self.context, places[()]) and fine
        document = self._validate(model, values, places)
        if fine and isinstance(document, sections.Search):
            self._check_phases(section, document)
        return document if fine else None

    @property
    def train_is_overridden(self) -> bool:
        return any(key.startswith("train.") for key in self.builder.overrides.values)

    def check_overrides(self, written: Sequence[ast.Section], name: ast.Ident) -> None:
        """Report what ``--set`` says of sections that are not there."""
        known = [s.kind if s.kind != "evaluate" else f"evaluate.{_name(s)}" for s in written]
        for key in self.builder.overrides.values:
            if is_setting(key) and (section_of(key) not in known or key == section_of(key)):
                hint = "settings of sections are " + ", ".join(f"{s}.NAME" for s in known)
                self.context.error(
                    "E0508",
                    f"--set {key}: space '{name.text}' has no setting of that name",
                    name.span,
                    hint if known else "it has no section but 'train', which is always there",
                )

    # -------------------------------------------------------------- reading

    def _settings(
        self, settings: Sequence[ast.Setting], places: Places, at: tuple[Any, ...]
    ) -> tuple[dict[str, Any], bool]:
        values: dict[str, Any] = {}
        fine = True
        for setting in settings:
            match setting:
                case ast.Assign(name, value):
                    key = (*at, name.text)
                    if name.text in _STATED:
                        self.context.error(
                            "E0602",
                            f"'{name.text}' is not set with '='",
                            name.span,
                            f"write: {_STATED[name.text]}",
                        )
                        continue
                    if name.text in values:
                        self._twice(name, places[(*key, NAME)])
                        continue
                    places[key] = value.span
                    places[(*key, NAME)] = name.span
                    found = self._value(value, places, key)
                    fine = fine and found is not _BROKEN
                    values[name.text] = found
                case ast.Budget():
                    budget = self._budget(setting)
                    fine = fine and budget is not None
                    budgets = values.setdefault("budgets", [])
                    if budget is not None:
                        places[(*at, "budgets", len(budgets))] = setting.span
                        budgets.append(budget)
                case ast.Phase(name, inner):
                    phases = values.setdefault("phases", [])
                    key = (*at, "phases", len(phases))
                    first = next((p for p in phases if p["name"] == name.text), None)
                    if first is not None:
                        self._twice(name, places[(*at, "phases", phases.index(first))])
                        continue
                    places[key] = name.span
                    content, good = self._settings(inner, places, key)
                    fine = fine and good
                    phases.append({"name": name.text, **content})
                case ast.Streams() | ast.Learn() if _word(setting) in values:
                    word = _word(setting)
                    self._twice(ast.Ident(word, setting.span), places[(*at, word)])
                case ast.Streams(names):
                    places[(*at, "streams")] = setting.span
                    fine = all([self._known_stream(name) for name in names]) and fine
                    values["streams"] = [name.text for name in names]
                case ast.Learn(targets):
                    places[(*at, "learn")] = setting.span
                    fine = all([self._known_target(target) for target in targets]) and fine
                    values["learn"] = [self._today(target.text) for target in targets]
        return values, fine

    def _twice(self, name: ast.Ident, first: Span) -> None:
        self.context.error(
            "E0202",
            f"'{name.text}' is set twice",
            name.span,
            "remove one",
            [Label(first, "set here first")],
        )

    def _value(
        self, node: ast.Expr | ast.ValueRange | ast.RecordValue, places: Places, at: tuple[Any, ...]
    ) -> Any:
        scope = self.space.scope
        match node:
            case ast.ValueRange(low, high):
                limits = [self._value(low, places, (*at, 0)), self._value(high, places, (*at, 1))]
                return _BROKEN if _BROKEN in limits else limits
            case ast.RecordValue(fields):
                return self._fields(fields, places, at)
            case ast.Name(text) if scope.lookup(text) is None:
                return text
            case ast.Call(ast.Name(text), arguments) if scope.lookup(text) is None:
                from tsdsl.sema.functions import BUILTINS

                if text not in BUILTINS:
                    found = self._fields(arguments, places, at)
                    return _BROKEN if found is _BROKEN else {"kind": text, **found}
            case _:
                pass
        module = self.given.get(id(node.span.source))
        env = Env(scope, module) if module else self.builder.declarations.env(node.span, scope)
        val = self.builder.interpreter.plain(node, env, "a setting")
        if not val.is_constant:
            self.context.error("E0601", "a setting does not depend on a decision", node.span)
            return _BROKEN
        return _BROKEN if isinstance(val.value, Fault) else val.value

    def _fields(self, fields: Sequence[ast.Argument], places: Places, at: tuple[Any, ...]) -> Any:
        values: dict[str, Any] = {}
        for argument in fields:
            value = argument.value
            if argument.name is None or isinstance(value, ast.SetDomain | ast.RangeDomain):
                self.context.error(
                    "E0601", "give this by name, as in cosine(warmup_epochs=34)", argument.span
                )
                return _BROKEN
            key = (*at, argument.name.text)
            if argument.name.text in values:
                self._twice(argument.name, places[key])
                return _BROKEN
            places[key] = argument.span
            values[argument.name.text] = self._value(value, places, key)
        return _BROKEN if _BROKEN in values.values() else values

    def _budget(self, setting: ast.Budget) -> dict[str, Any] | None:
        parts: dict[str, Any] = {"cost": setting.cost.text}
        fine = True
        for key, limit in (("low", setting.low), ("high", setting.high)):
            parts[key] = self._limit(setting.cost.text, limit)
            fine = fine and parts[key] is not _BROKEN
        if setting.weight is not None:
            parts["weight"] = self._value(setting.weight, {}, ())
            fine = fine and parts["weight"] is not _BROKEN
        return parts if fine else None

    def _limit(self, cost: str, node: ast.Expr) -> Any:
        """One end of a budget: nanoseconds for latency, a number for everything else."""
        if isinstance(node, ast.Time):
            if cost in ("flops", "params"):
                message = f"{cost} are counted, '{printer.time(node.value)}' is a time"
                self.context.error("E0606", message, node.span, "write a number, as in 1.37G")
                return _BROKEN
            return node.value
        value = self._value(node, {}, ())
        if cost == "latency" and value is not _BROKEN and value != 0:
            message = "a latency needs a unit of time"
            hint = "write the limit with ns, us, ms or s: budget latency in 8ms..10ms"
            self.context.error("E0606", message, node.span, hint)
            return _BROKEN
        return value

    # -------------------------------------------------------------- checking

    def _known_stream(self, name: ast.Ident) -> bool:
        known_one = name.text in self.space.streams
        if not known_one:
            known = ", ".join(self.space.streams)
            self.context.error(
                "E0209",
                f"there is no stream '{name.text}'",
                name.span,
                did_you_mean(name.text, self.space.streams, f"the streams are: {known}"),
            )
        return known_one

    def _today(self, path: str) -> str:
        """A path, or the one that it has moved to."""
        return path if path in self.prefixes else moved(path, self.moves)

    def _known_target(self, target: ast.DecisionPath) -> bool:
        today = self._today(target.text)
        if today in self.prefixes:
            return True
        paths = [d.path for d in self.space.decisions]
        starts = dict.fromkeys(p.split(".")[0] for p in paths)
        given = self.builder.overrides.values
        if any(today in path_prefixes(moved(key, self.moves)) for key in given):
            # They are fixed.
            return True
        own, span = self.tree.span, target.span
        inside = span.source is own.source and own.start <= span.start <= own.end
        if self.tree.base is not None and not inside:
            # The base has them, and this space fixes them. It is checked as it is written for this.
            self.context.relies_on_base = True
            return True
        close = nearest(target.text, [*paths, *starts])
        hint = f"did you mean '{close}'?" if close else "decisions begin with: " + ", ".join(starts)
        if not paths:
            hint = "this space has no decisions"
        self.context.error("E0603", f"no decision begins with '{target.text}'", target.span, hint)
        return False

    def _check_phases(self, section: ast.Section, search: sections.Search) -> None:
        learned = {target for phase in search.phases for target in phase.learn}
        left = [d.path for d in self.space.decisions if learned.isdisjoint(path_prefixes(d.path))]
        if search.phases and left:
            shown = ", ".join(left[:4]) + (f" and {len(left) - 4} more" if len(left) > 4 else "")
            assert section.name is not None
            self.context.warn(
                "W0905",
                f"no phase learns {shown}",
                section.name.span,
                "they stay at their default; add them to a 'learn'",
            )

    def _validate(
        self, model: type[BaseModel], values: Mapping[str, Any], places: Places
    ) -> BaseModel | None:
        if _has_broken(values):
            return None
        try:
            return model.model_validate(_with_tuples(values))
        except ValidationError as error:
            for problem in error.errors(include_url=False):
                self._report(model, problem, places)
            return None

    def _report(self, model: type[BaseModel], problem: Any, places: Places) -> None:
        location = tuple(problem["loc"])
        span = places[()]
        for length in range(len(location), 0, -1):
            for candidate in _without_tags(location[:length]):
                if candidate in places:
                    span = places[candidate]
                    break
            else:
                continue
            break
        plain_location = _without_tags(location)[-1]
        name = str(plain_location[-1]) if plain_location else ""
        kind = problem["type"]
        if kind == "extra_forbidden":
            known = _keys(model, location[:-1])
            span = places.get((*location, NAME), span)
            self.context.error(
                "E0602",
                f"there is no setting '{name}' here",
                span,
                did_you_mean(name, known, "settings are: " + ", ".join(known)),
            )
        elif kind == "missing":
            self.context.error("E0604", f"the setting '{name}' is missing", span)
        else:
            given = problem.get("input")
            shown = f"'{name}' = {show(given)}: " if isinstance(given, str | int | float) else ""
            hint = None
            if kind in ("literal_error", "union_tag_invalid") and isinstance(given, str | dict):
                expected = problem.get("ctx", {}).get("expected_tags") or problem["ctx"]["expected"]
                word = given if isinstance(given, str) else str(cast(Any, given).get("kind"))
                options = [o.strip(" '") for o in expected.replace(" or ", ",").split(",")]
                shown = f"'{name}' = {word}: "
                hint = did_you_mean(word, options)
                message = "it is one of " + ", ".join(options)
            else:
                message = _WORDS.get(kind, problem["msg"].removeprefix("Value error, "))
                message = message.replace("Input should", "it should", 1)
                message = message[0].lower() + message[1:]
            self.context.error("E0605", f"{shown}{message}", span, hint)


_BROKEN: Any = Val((), ("broken",))

#: What a section says with a statement or its heading, and how.
_STATED = {
    "algorithm": "search parsec { ... }",
    "name": "phase NAME { ... } or evaluate NAME { ... }",
    "budgets": "budget flops in 1.37G..1.43G weight 0.2",
    "phases": "phase NAME { ... }",
    "streams": "streams sparse, dense",
    "learn": "learn sparse, fuse",
}


#: What is meant, where pydantic says it in the words of Python.
_WORDS = {
    "model_type": "it has several parts, as in (weights=0.4, arch=0.015)",
    "dict_type": "it has several parts, as in (weights=0.4, arch=0.015)",
    "bool_type": "it is true or false",
    "bool_parsing": "it is true or false",
    "int_type": "it is a whole number",
    "int_from_float": "it is a whole number",
    "float_type": "it is a number",
    "tuple_type": "it is a range, as in 182..228",
}


def _name(section: ast.Section) -> str:
    return section.name.text if section.name else ""


def _word(setting: ast.Streams | ast.Learn) -> str:
    return "streams" if isinstance(setting, ast.Streams) else "learn"


def _has_broken(value: Any) -> bool:
    if value is _BROKEN:
        return True
    if isinstance(value, dict):
        return any(map(_has_broken, cast(dict[str, Any], value).values()))
    return isinstance(value, list) and any(map(_has_broken, value))


def _with_tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _with_tuples(v) for k, v in cast(Mapping[str, Any], value).items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _without_tags(location: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """A location with and without the tags of unions that pydantic puts into it."""
    tags = {"sgd", "adam", "cosine", "constant", "adaptive", "Adaptive", "constrained-int"}
    return [location, tuple(part for part in location if part not in tags)]


def _keys(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """The settings of the document that a location leads to."""
    known: dict[str, type[BaseModel]] = {
        "phases": sections.Phase,
        "lr": sections.PhaseRates,
        "sgd": sections.Sgd,
        "adam": sections.Adam,
        "cosine": sections.Cosine,
        "constant": sections.Constant,
        "adaptive": sections.Adaptive,
        "Adaptive": sections.Adaptive,
    }
    for part in reversed(location):
        if part in known:
            model = known[part]
            break
    hidden = {"algorithm", "name", "kind", "budgets", "phases"}
    return [name for name in model.model_fields if name not in hidden]
