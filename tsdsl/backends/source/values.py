"""Expressions of a constructor for values: a constant, a parameter, or a formula of a parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from tsdsl.backends.source.groups import BlockGroup
from tsdsl.backends.source.naming import unique, variable
from tsdsl.backends.source.template import Instance
from tsdsl.backends.source.text import literal

Vector = Mapping[Instance, Any]

#: Largest factor of a product of a parameter.
LARGEST_FACTOR = 8


class Names(Protocol):
    """Finds expressions for values."""

    @property
    def channels(self) -> tuple[str, ...]: ...  # of the inputs

    def expression(self, vector: Vector, wish: str, fallback: str) -> str: ...


class Constants:
    """Writes every value as a constant, for a class with a single call."""

    @property
    def channels(self) -> tuple[str, ...]:
        return ()

    def expression(self, vector: Vector, wish: str, fallback: str) -> str:
        (value,) = vector.values()
        return literal(value)


class ConstructorScope:
    """The named values of a class, and the ones that become parameters of its constructor."""

    def __init__(self, group: BlockGroup) -> None:
        self._calls = group.calls
        self._named: dict[str, Vector] = {}
        self.uses_half = False
        formals = group.block.tensors
        for i, formal in enumerate(formals):
            name = "in_channels" if len(formals) == 1 else f"{variable(formal)}_channels"
            self._add(name, {c: call.formals[i].shape[0] for c, call in group.calls.items()})
        self._channels = tuple(self._named)
        for name in group.block.params:
            self._add(variable(name), {c: v.args.get(name) for c, v in group.calls.items()})
        first = next(iter(group.calls.values()))
        for name in first.locals:
            if all(name in call.locals for call in group.calls.values()):
                self._add(variable(name), {c: v.locals[name] for c, v in group.calls.items()})
        self._used: set[str] = set()

    def _add(self, name: str, vector: Vector) -> str:
        name = unique(name, self._named)
        self._named[name] = vector
        return name

    @property
    def channels(self) -> tuple[str, ...]:
        return self._channels

    @property
    def params(self) -> dict[str, dict[Instance, Any]]:
        """The parameters of the constructor, in the order in which the spec names them."""
        return {n: dict(v) for n, v in self._named.items() if n in self._used}

    def expression(self, vector: Vector, wish: str, fallback: str) -> str:
        """A value as an expression of the constructor's parameters.

        ``wish`` is the parameter that it probably is; ``fallback`` names a new parameter.
        """
        order = sorted(self._named, key=lambda name: name != wish)
        if _is_constant(vector):
            whole = len(vector) == len(self._calls)
            known = self._named.get(wish)
            if known and not whole and not _is_constant(known) and _agree(vector, known):
                return self._use(wish)
            return literal(next(iter(vector.values())))
        for name in order:
            if _agree(vector, self._named[name]):
                return self._use(name)
        for name in order:
            made = self._made(vector, name)
            if made:
                return made
        return self._use(self._add(variable(fallback), self._whole(vector)))

    def flag(self, vector: Vector, wish: str) -> str:
        """A condition as an expression. For calls that it does not apply to, it is False."""
        for name in self._named:
            if _agree(vector, self._named[name]):
                return self._use(name)
            if _agree({i: not value for i, value in vector.items()}, self._named[name]):
                return f"not {self._use(name)}"
        whole = {i: vector.get(i, False) for i in self._calls}
        return self._use(self._add(variable(wish), whole))

    def _whole(self, vector: Vector) -> Vector:
        """The value for all calls. A call without a value, which does not read it, gets its
        predecessor's, so that a stage has one value where possible."""
        last = next(iter(vector.values()))
        whole: dict[Instance, Any] = {}
        for i in self._calls:
            last = whole[i] = vector.get(i, last)
        return whole

    def _use(self, name: str) -> str:
        self._used.add(name)
        return name

    def _made(self, vector: Vector, name: str) -> str | None:
        """The value as a simple function of one parameter, or None."""
        known = {i: self._named[name][i] for i in vector}
        if all(_is_dims(v) for v in vector.values()) and all(_is_dims(v) for v in known.values()):
            if all(v == tuple(k // 2 for k in known[i]) for i, v in vector.items()):
                self.uses_half = True
                return f"_half({self._use(name)})"
            return None
        if not all(type(v) is int and v > 0 for v in (*vector.values(), *known.values())):
            return None
        for factor in range(2, LARGEST_FACTOR + 1):
            if all(v == factor * known[i] for i, v in vector.items()):
                return f"{factor} * {self._use(name)}"
            if all(v * factor == known[i] for i, v in vector.items()):
                return f"{self._use(name)} // {factor}"
        return None


def tagged_value(value: Any) -> tuple[str, Any]:
    """The value with its type, to distinguish 1, 1.0 and True."""
    return type(value).__name__, value


def _is_constant(vector: Vector) -> bool:
    return len({tagged_value(value) for value in vector.values()}) == 1


def _agree(vector: Vector, known: Vector) -> bool:
    return all(tagged_value(known[i]) == tagged_value(value) for i, value in vector.items())


def _is_dims(value: Any) -> bool:
    return isinstance(value, tuple) and len(tuple(_items(value))) == 3


def _items(value: Any) -> Iterator[Any]:
    yield from value
