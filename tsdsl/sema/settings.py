"""The settings of sections: from expressions to the documents of `tsdsl.sema.sections`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError

from tsdsl.diagnostics import Label, Span, did_you_mean, nearest
from tsdsl.ir.resolve import moved
from tsdsl.ir.space import path_prefixes
from tsdsl.ir.values import Fault, Val
from tsdsl.record import MutableRecord, Record, factory
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
    search: sections.SearchSettings | None = None
    train: sections.Train | None = None
    evaluations: tuple[sections.Evaluate, ...] = ()
    #: Where each cost that has a budget is named first.
    cost_spans: dict[str, Span] = factory(default_factory=dict[str, Span])


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
        if isinstance(document, sections.SearchSettings):
            result.search = document
            result.cost_spans = reader.cost_spans
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
        self.cost_spans: dict[str, Span] = {}
        #: What ``--set`` gives settings, as modules of their own, by the identity of their text.
        self.given: dict[int, LoadedModule] = {}
        self.prefixes = {p for d in self.space.decisions for p in path_prefixes(d.path)}

    def section(self, section: ast.Section) -> BaseModel | None:
        places: Places = {(): section.name.span if section.name else section.span}
        values, fine = self._settings(section.settings, places, ())
        if section.kind == "search":
            assert section.name is not None
            known = self._algorithm(section.name)
            if known is None:
                return None
            values["algorithm"] = section.name.text
            model: type[BaseModel] = known
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
        if fine and isinstance(document, sections.SearchSettings):
            self._check_phases(section, document)
        return document if fine else None

    def _algorithm(self, name: ast.Ident) -> type[sections.SearchSettings] | None:
        """The settings of the algorithm that a search section names."""
        known = {sections.name_of(each): each for each in sections.SEARCHES}
        if name.text not in known:
            self.context.error(
                "E0605",
                f"there is no search algorithm '{name.text}'",
                name.span,
                did_you_mean(name.text, known, "the algorithms are: " + ", ".join(known)),
            )
        return known.get(name.text)

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
                    budgets = values.setdefault("budgets", [])
                    budget = self._budget(setting, places, (*at, "budgets", len(budgets)))
                    fine = fine and budget is not None
                    if budget is not None:
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

    def _budget(
        self, setting: ast.Budget, places: Places, at: tuple[Any, ...]
    ) -> dict[str, Any] | None:
        cost = setting.cost.text
        if cost not in self.cost_spans:
            self.cost_spans[cost] = setting.cost.span
            self._check_spelling(setting.cost)
        places[at] = setting.span
        limits = {"low": setting.low, "high": setting.high}
        parts: dict[str, Any] = {"cost": cost}
        for key, limit in limits.items():
            places[(*at, key)] = limit.span
            parts[key] = self._limit(cost, limit)
        if setting.weight is not None:
            places[(*at, "weight")] = setting.weight.span
            parts["weight"] = self._value(setting.weight, places, (*at, "weight"))
        return None if _BROKEN in parts.values() else parts

    def _check_spelling(self, cost: ast.Ident) -> None:
        """Warn about a cost that is nearly a counted one. Other unknown names are left alone: only
        a cost table can define them, and a spec does not name its tables."""
        if cost.text in ("flops", "params", "latency"):
            return
        # Only here, as few specs have other costs: it imports numpy.
        from tsdsl.analysis.costs.named import misspelt_cost

        if meant := misspelt_cost(cost.text):
            message = f"'{cost.text}' is a cost only with a table for it (--costs)"
            self.context.warn("W0910", message, cost.span, f"did you mean '{meant}'?")

    def _limit(self, cost: str, node: ast.Expr) -> Any:
        """One end of a budget. A time is in nanoseconds; a latency has to be a time."""
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

    def _check_phases(self, section: ast.Section, search: sections.SearchSettings) -> None:
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
            problems = error.errors(include_url=False)
            for problem in problems:
                if not _is_of_other_member(model, problem, problems):
                    self._report(model, problem, places)
            return None

    def _report(self, section: type[BaseModel], problem: Any, places: Places) -> None:
        """A finding for one error of pydantic, in the words of the spec."""
        kind, location = problem["type"], tuple(problem["loc"])
        unknown = kind == "extra_forbidden"
        # The last part of a setting that does not exist leads to no field.
        field = _resolve(section, location[:-1] if unknown else location)
        written = (*field.written, location[-1]) if unknown else field.written
        starts = (written[:length] for length in range(len(written), 0, -1))
        span = next((places[start] for start in starts if start in places), places[()])
        names = [part for part in written if isinstance(part, str)]
        name = _PLAIN.get(names[-1], f"'{names[-1]}'") if names else ""
        if unknown:
            known = _settings_of(field.documents)
            self.context.error(
                "E0602",
                f"there is no setting {name} here",
                places.get((*written, NAME), span),
                did_you_mean(names[-1], known, "settings are: " + ", ".join(known)),
            )
            return
        if kind == "missing":
            self.context.error("E0604", f"the setting {name} is missing", span)
            return
        given = problem.get("input")
        shown = f"{name} = {show(given)}: " if isinstance(given, str | int | float) else ""
        hint = None
        tags = [tag for tag in map(_tag, field.documents) if tag]
        if kind in ("literal_error", "union_tag_invalid") and isinstance(given, str | dict):
            expected = problem.get("ctx", {}).get("expected_tags") or problem["ctx"]["expected"]
            word = given if isinstance(given, str) else str(cast(Any, given).get("kind"))
            options = [o.strip(" '") for o in expected.replace(" or ", ",").split(",")]
            shown = f"{name} = {word}: "
            hint = did_you_mean(word, options)
            message = "it is one of " + ", ".join(options)
        elif kind in ("union_tag_not_found", "model_attributes_type") and tags:
            shown = shown or f"{name}: "
            message = "it is one of " + ", ".join(tags)
            hint = f"write its settings in brackets behind it, as in {tags[0]}(...)"
        else:
            shown = shown or (f"{name}: " if kind in _WORDS else "")
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


#: Parts of statements that have no name of their own.
_PLAIN = {"low": "the lower end", "high": "the upper end"}

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


class _Field(Record):
    """What a location of pydantic leads to: the location as the spec has it, without the tags that
    pydantic puts into it for members of unions, and the classes of documents that can be there."""

    written: tuple[Any, ...]
    documents: tuple[type[BaseModel], ...]


def _resolve(section: type[BaseModel], location: tuple[Any, ...]) -> _Field:
    written: list[Any] = []
    documents: tuple[type[BaseModel], ...] = (section,)
    for part in location:
        if isinstance(part, int):
            written.append(part)
            continue
        owner = next((each for each in documents if part in each.model_fields), None)
        if owner is not None:
            written.append(part)
            documents = tuple(_documents(owner.model_fields[part].annotation))
        elif chosen := tuple(each for each in documents if part in (each.__name__, _tag(each))):
            documents = chosen
    return _Field(tuple(written), documents)


def _is_of_other_member(section: type[BaseModel], problem: Any, problems: Sequence[Any]) -> bool:
    """Whether a document was compared with a plain member of a union of both, as in
    ``samples = adaptive(factor=-1)``: then the document's own errors say what is wrong."""
    location = tuple(problem["loc"])
    is_tag = len(_resolve(section, location).written) < len(location)
    union = location[:-1]
    return (
        is_tag
        and isinstance(problem.get("input"), dict)
        and any(
            len(other["loc"]) > len(location) and tuple(other["loc"])[: len(union)] == union
            for other in problems
        )
    )


def _documents(annotation: Any) -> list[type[BaseModel]]:
    """The classes of documents in a type, as those of a union or of a tuple's items."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in get_args(annotation) for found in _documents(inner)]


def _tag(document: type[BaseModel]) -> str | None:
    kind = document.model_fields.get("kind")
    return None if kind is None else str(kind.default)


def _settings_of(documents: Sequence[type[BaseModel]]) -> list[str]:
    """The names of the settings that are written with ``=``."""
    names = dict.fromkeys(name for document in documents for name in document.model_fields)
    return [name for name in names if name not in {*_STATED, "kind"}]
