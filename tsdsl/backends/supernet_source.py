"""A supernet as a Python module that imports nothing but torch.

The emitted ``forward`` follows the graph of the space as `tsdsl.backends.supernet` does: one line
for each operation, with the expression that it has in emitted networks, and a table that selects
its configuration by the architecture's options.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path as File
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError

from tsdsl.backends.channel_layouts import ChannelLayouts, Places
from tsdsl.backends.elastic import Elastic
from tsdsl.backends.source.expression import alias, fill
from tsdsl.backends.source.naming import class_name
from tsdsl.backends.source.quoting import comment, docstring, quoted
from tsdsl.backends.source.tables import escaped, long_call, tuple_text, value_text
from tsdsl.backends.source.text import call, flat, literal
from tsdsl.backends.supernet import read_by
from tsdsl.ir.graph import CallNode, Edge, Guard, Node, OpNode, Path, Region, Switch
from tsdsl.ir.naming import module_path
from tsdsl.ir.op import ModuleCall, ShapeError
from tsdsl.ir.ordering import TooCoupled
from tsdsl.ir.space import SpaceGraph
from tsdsl.ir.values import MAX_ENTRIES, Fault, TableTooLarge, Val, lift

_MARK = "# ---------------------------------------------------------------- copied from here on"
_IMPORTS = """from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn"""

#: Names that the emitted module defines or imports, and that are written like class names.
_OWN = frozenset(
    {"Op", "Space", "On", "Held", "Runs", "Part", "Callable", "Mapping", "Sequence", "Any"}
)
#: A value that no default is equal to.
_NONE = object()


class _Form(NamedTuple):
    """The torch code of an operation in one configuration. For an expression, ``target`` is empty
    and ``apply`` is the expression with its arguments filled in."""

    target: str
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...]
    apply: str
    #: Keyword arguments that have their default value.
    usual: frozenset[str] = frozenset()

    def without(self, names: Collection[str]) -> _Form:
        return self._replace(
            kwargs=tuple(pair for pair in self.kwargs if pair[0] not in names), usual=frozenset()
        )


def emit_supernet(space: SpaceGraph) -> str:
    """The source of a space's supernet. Raises `TooCoupled`, and what compiling the supernet
    raises."""
    writer = _SupernetWriter(space)
    writer.write()
    return writer.text()


class _SupernetWriter:
    def __init__(self, space: SpaceGraph) -> None:
        self.space = space
        self._layouts = ChannelLayouts(space)
        #: Source of a function, with ``{}`` for its name -> its name in the module.
        self._functions: dict[str, str] = {}
        self._ops: list[str] = []
        self._body: list[str] = []
        self._names: dict[Edge, str] = {}
        self._elastic: dict[Path, Elastic] = {}
        self._packages: set[str] = set()
        #: Number of operations written so far for each path.
        self._seen: dict[Path, int] = {}
        self._parameters = 0

    # ------------------------------------------------------------ the whole

    def write(self) -> None:
        layouts = self._layouts
        with torch.device("meta"):
            for path, configurations in layouts.configurations.items():
                if (made := Elastic(configurations, layouts.channel_counts(path))).whole:
                    self._elastic[path] = made
        self._parameters = sum(p.numel() for e in self._elastic.values() for p in e.parameters())
        self._names[self.space.clip] = "clip_NCTHW"
        self._region(self.space.root, (), 8, None)
        self._body.append(f"        return {self._names[self.space.root.result]}")

    def text(self) -> str:
        name = class_name(self.space.name, _OWN)
        runtime = (File(__file__).parent / "source/supernet_runtime.py").read_text("utf-8")
        packages = "\n".join(f"import {package}" for package in sorted(self._packages))
        imports = _IMPORTS.replace("import torch\n", f"{packages}\nimport torch\n".lstrip("\n"), 1)
        parts = [
            "\n".join(docstring(self._header(name))),
            imports,
            runtime.partition(_MARK)[2].strip(),
            *(text.format(function) for text, function in self._functions.items()),
            "\n".join(self._class(name)),
        ]
        if not any("F." in part for part in parts[3:]):
            parts[1] = parts[1].replace("import torch.nn.functional as F\n", "")
        docs, imports, runtime, *rest = parts
        return f"{docs}\n\n{imports}\n\n" + "\n\n\n".join([runtime, *rest]) + "\n"

    def _header(self, name: str) -> str:
        origin = comment(re.split(r"[/\\]", self.space.source)[-1])
        clip = " x ".join(map(str, self.space.clip.shape.value))
        lines = [
            f"{self.space.name}: the supernet of a space of video networks, generated by tsdsl"
            f"{f' from {origin}' if origin else ''}.",
        ]
        if self.space.doc.strip():
            lines += ["", self.space.doc.strip()]
        lines += [
            "",
            f"Decisions: {len(self.space.decisions)}",
            f"Parameters: {self._parameters:,}",
            f"Clip: {clip}",
            f"Space: {self.space.hash}",
            *([f"Layout: {digest}"] if (digest := self._layouts.digest) else []),
            "",
            f"    net = {name}()",
            '    net.load_state_dict(safetensors.torch.load_file("supernet.safetensors"))',
            '    logits = net(clip_NCTHW, json.load(open("arch.json"))["decisions"])',
        ]
        return "\n".join(lines)

    def _class(self, name: str) -> Iterator[str]:
        yield f"class {name}(Space):"
        said = (
            "``net(clip_NCTHW, architecture) -> logits_NK``. An architecture maps paths to options."
        )
        yield from docstring(said, 4)
        yield ""
        yield "    def __init__(self) -> None:"
        yield from long_call("        super().__init__(", *self._space())
        yield from self._ops
        yield ""
        arguments = "clip_NCTHW: Tensor, architecture: Mapping[str, Any]"
        yield f"    def forward(self, {arguments}) -> Tensor:"
        yield "        at = self._options(architecture)"
        yield "        op = self._ops"
        yield from self._body

    def _space(self) -> tuple[str, str, str]:
        """The arguments of ``Space``."""
        place = {d.variable.index: k for k, d in enumerate(self.space.decisions)}
        decisions = [
            tuple_text([quoted(d.path), value_text(d.options), str(d.default), _guards(d.guards)])
            for d in self.space.decisions
        ]
        variables = [
            str(place[v.index]) if v.definition is None else tuple_text(_table(v.definition))
            for v in self.space.variables
        ]
        requirements = [
            tuple_text([*_table(r.condition), _guards(r.guards), quoted(r.message or r.text)])
            for r in self.space.requirements
        ]
        return tuple_text(decisions), tuple_text(variables), tuple_text(requirements)

    # ------------------------------------------------------------ nodes

    def _region(self, region: Region, path: Path, indent: int, result: str | None) -> None:
        """Write a region. ``result`` is the variable for its result, or None for any. Variables
        that are not needed any more are deleted."""
        if result is not None and any(node.output is region.result for node in region.nodes):
            self._names[region.result] = result
        last: dict[Edge, int] = {}
        for at, node in enumerate(region.nodes):
            last.update(dict.fromkeys(read_by(node), at))
        own = {node.output for node in region.nodes}
        for at, node in enumerate(region.nodes):
            self._node(node, path, indent)
            over = [e for e, k in last.items() if k == at and e in own and e is not region.result]
            if over:
                self._let_go(indent, [self._names[edge] for edge in over])
        if result is not None and self._names[region.result] != result:
            self._line(indent, f"{result} = {self._names[region.result]}")

    def _node(self, node: Node, path: Path, indent: int) -> None:
        name = self._names.setdefault(node.output, f"x{len(self._names)}")
        if isinstance(node, OpNode):
            self._operation(node, path + node.path, name, indent)
        elif isinstance(node, CallNode):
            block = comment(node.block.name)
            self._line(indent, f"# {'.'.join(module_path(path + node.path))}: {block}")
            for formal, edge in zip(node.formals, node.inputs, strict=True):
                self._names[formal] = self._names[edge]
            self._region(node.body, path + node.path, indent, name)
        elif node.selector.is_constant:
            self._region(node.cases[int(node.selector.value)], path, indent, name)
        else:
            self._switch(node, path, name, indent)

    def _switch(self, node: Switch, path: Path, name: str, indent: int) -> None:
        cases = _indexed(node.selector)
        which = f"which{indent // 4}"
        self._line(indent, f"{which} = {_looked_up(cases)}")
        word = "if"
        for number, case in enumerate(node.cases):
            label = f"  # {comment(node.labels[number])}" if number < len(node.labels) else ""
            self._line(indent, f"{word} {which} == {number}:{label}")
            self._region(case, path, indent + 4, name)
            word = "elif"

    def _operation(self, node: OpNode, path: Path, name: str, indent: int) -> None:
        forms = _forms(node)
        found = [form for form in forms.distinct() if form is not None]
        inputs = [self._names[edge] for edge in node.inputs]
        if all(not form.target for form in found):
            if len(found) == 1:
                places = {str(k): x for k, x in enumerate(inputs)}
                self._line(indent, f"{name} = {fill(found[0].apply, places)}")
                return
            functions = {form: self._expression(form, len(inputs)) for form in found}
            chosen = Val(
                forms.variables,
                tuple(None if form is None else functions[form] for form in forms.entries),
            )
            picked = _looked_up(chosen, str)
            self._line(indent, f"{name} = {picked}({', '.join(inputs)})")
            return
        key = self._made(path, forms, found, len(inputs), self._layouts.of(node))
        self._line(indent, f"{name} = op[{quoted(key)}]({', '.join(['at', *inputs])})")

    def _made(
        self, path: Path, forms: Val, found: list[_Form], inputs: int, places: Val | None
    ) -> str:
        """Write the line that makes an operation, and the functions that it calls; returns its key
        in ``self._ops``. ``places``: layouts of the channels that it reads and writes, None if both
        are ranked."""
        usual = frozenset.intersection(*(form.usual for form in found))
        plain = {form: form.without(usual) for form in found}
        forms = Val(forms.variables, tuple(plain.get(form) for form in forms.entries))
        found = list(plain.values())
        self._packages |= {
            package
            for form in found
            if (package := form.target.rpartition(".")[0]) not in ("", "torch.nn")
        }
        alike = len({(f.target, f.apply, len(f.args), tuple(dict(f.kwargs))) for f in found}) == 1
        if alike:
            columns = list(zip(*(_values(form) for form in found), strict=True))
            vary = [k for k, column in enumerate(columns) if len(set(map(repr, column))) > 1]
            make = self._maker(found[0], vary)
            rows = {form: tuple(_values(form)[k] for k in vary) for form in found}
            apply = self._apply(found[0].apply, inputs)
        else:
            make, apply = self._makers(found, inputs)
            rows = {form: (k,) for k, form in enumerate(found)}
        table = Val(
            forms.variables, tuple(None if form is None else rows[form] for form in forms.entries)
        )
        on, entries = _table(table)
        arguments = [make]
        if forms.variables or rows[found[0]]:
            arguments += [f"rows={entries}", f"on={on}"]
        name = ".".join(module_path(path))
        number = self._seen[path] = self._seen.get(path, 0) + 1
        if number > 1:
            # An option with the same block as an earlier one shares its tensors.
            arguments.append(f"like=self._ops[{quoted(name)}]")
        elif path in self._elastic:
            held = [
                tuple_text(
                    [
                        quoted(t.name),
                        quoted(" ".join(t.axes)),
                        value_text(t.shape),
                        value_text(t.init),
                    ]
                )
                for t in self._elastic[path].whole.values()
            ]
            arguments.append(f"tensors={tuple_text(held)}")
        if apply is not None:
            arguments.append(f"call={apply}")
        if places is not None:
            arguments.append(f"places={tuple_text(_table(places, _runs))}")
        if number > 1:
            key = f"{name} ({number})"
            self._ops += long_call(f"        self._ops[{quoted(key)}] = Op(", *arguments)
            return key
        # The parenthesis of ``_add`` closes behind the last argument.
        lines = list(long_call(f"        self._add({quoted(name)}, Op(", *arguments))
        lines[-1] += ")"
        self._ops += lines
        return name

    # ------------------------------------------------------------ functions

    def _function(self, text: str, kind: str) -> str:
        """The name of a function of the module, which is written once."""
        if text not in self._functions:
            self._functions[text] = f"_{kind}{len(self._functions)}"
        return self._functions[text]

    def _maker(self, form: _Form, vary: list[int]) -> str:
        values = [literal(value) for value in _values(form)]
        parameters = [f"v{k}" for k in range(len(vary))]
        for parameter, k in zip(parameters, vary, strict=True):
            values[k] = parameter
        text = _constructor(form, values).replace("{", "{{").replace("}", "}}")
        head = f"def {{}}({', '.join(f'{p}: Any' for p in parameters)}) -> nn.Module:\n"
        return self._function(f"{head}    return {text}", "make")

    def _makers(self, found: list[_Form], inputs: int) -> tuple[str, str]:
        """Functions that make and call an operation whose configurations have different classes or
        calls."""
        makes, calls = [], []
        names = [f"x{k}" for k in range(inputs)]
        for k, form in enumerate(found):
            made = "nn.Identity()"
            if form.target:
                made = _constructor(form, [literal(value) for value in _values(form)])
            makes.append(f"    if form == {k}:\n        made: Any = {made}")
            places = {"module": "layer", **{str(n): x for n, x in enumerate(names)}}
            calls.append(f"    if layer.form == {k}:\n        return {fill(form.apply, places)}")
        make = "\n".join(
            ["def {}(form: int) -> nn.Module:", *map(escaped, makes), "    made.form = form"]
        )
        arguments = ", ".join(["layer: Any", *(f"{x}: Tensor" for x in names)])
        told = "\n".join([f"def {{}}({arguments}) -> Any:", *map(escaped, calls)])
        return self._function(f"{make}\n    return made", "make"), self._function(told, "call")

    def _apply(self, apply: str, inputs: int) -> str | None:
        if apply == "{module}({0})":
            return None
        names = [f"x{k}" for k in range(inputs)]
        places = {"module": "layer", **{str(k): x for k, x in enumerate(names)}}
        arguments = ", ".join(["layer: Any", *(f"{x}: Tensor" for x in names)])
        body = escaped(f"    return {fill(apply, places)}")
        return self._function(f"def {{}}({arguments}) -> Any:\n{body}", "call")

    def _expression(self, form: _Form, inputs: int) -> str:
        names = [f"x{k}" for k in range(inputs)]
        body = escaped(f"    return {fill(form.apply, {str(k): x for k, x in enumerate(names)})}")
        arguments = ", ".join(f"{x}: Tensor" for x in names)
        return self._function(f"def {{}}({arguments}) -> Tensor:\n{body}", "take")

    def _let_go(self, indent: int, names: list[str]) -> None:
        start = f"{' ' * indent}del "
        if self._body and self._body[-1].startswith(start):
            names = [*self._body.pop().removeprefix(start).split(", "), *names]
        self._line(indent, f"del {', '.join(names)}")

    def _line(self, indent: int, text: str) -> None:
        self._body.append(" " * indent + text)


# ---------------------------------------------------------------- forms


def _forms(node: OpNode) -> Val:
    """A table of `_Form`, with None where no architecture has the operation."""
    names = list(node.args)

    def form(*values: Any) -> _Form | None:
        args, shapes = values[: len(names)], values[len(names) :]
        try:
            own = node.op.Args(**dict(zip(names, args, strict=True)))
            made = node.op.module(own, *shapes)
        except (ValidationError, ShapeError):
            # The operation refuses these arguments or shapes: no architecture combines them.
            return None
        if isinstance(made, ModuleCall):
            usual = (k for k, v in made.kwargs.items() if made.defaults.get(k, _NONE) == v)
            apply = made.apply or "{module}({0})"
            return _Form(
                made.target, made.args, tuple(made.kwargs.items()), apply, frozenset(usual)
            )
        filled = {name: literal(value) for name, value in made.args.items()}
        kept = {str(k): f"__{k}__" for k in range(len(shapes))}
        text = fill(made.expression, {**filled, **kept})
        for k, mark in kept.items():
            text = text.replace(mark, f"{{{k}}}")
        return _Form("", (), (), text)

    vals = [*node.args.values(), *(edge.shape for edge in node.inputs)]
    try:
        return _without_faults(lift(form, *vals))
    except TableTooLarge as wide:
        names = [v.name for v in wide.variables]
        raise TooCoupled(names, wide.size, MAX_ENTRIES, "table") from None


def _without_faults(val: Val) -> Val:
    entries = tuple(None if isinstance(entry, Fault) else entry for entry in val.entries)
    return Val(val.variables, entries)


def _values(form: _Form) -> list[Any]:
    return [*form.args, *(value for _, value in form.kwargs)]


def _constructor(form: _Form, values: Sequence[str]) -> str:
    count = len(form.args)
    named = dict(zip(dict(form.kwargs), values[count:], strict=True))
    return flat(call(alias(form.target), *values[:count], **named))


# ---------------------------------------------------------------- text


def _indexed(val: Val) -> Val:
    """A selector as case numbers."""
    entries = (None if isinstance(e, Fault) or e is None else int(e) for e in val.entries)
    return Val(val.variables, tuple(entries))


def _looked_up(val: Val, write: Callable[[Any], str] = literal) -> str:
    """An expression that looks up the entry of a table."""
    if not val.variables:
        return write(val.entries[0])
    if len(val.variables) == 1 and val.entries == tuple(range(len(val.entries))):
        return f"at[{val.variables[0].index}]"
    on, entries = _table(val, write)
    return f"_entry(at, {on}, {entries})"


def _table(val: Val, write: Callable[[Any], str] | None = None) -> list[str]:
    """Source of a table's axes and of its entries."""
    on = tuple_text([tuple_text([str(v.index), str(len(v))]) for v in val.variables])
    plain = _without_faults(val)
    written = write or value_text
    return [on, tuple_text(["None" if e is None else written(e) for e in plain.entries])]


def _runs(places: Places) -> str:
    """Source of the runs of the channels that an operation reads and writes."""
    return value_text(tuple(None if layout is None else layout.runs for layout in places))


def _guards(guards: Sequence[Guard]) -> str:
    return tuple_text([tuple_text([*_table(g.selector), str(g.case)]) for g in guards])
