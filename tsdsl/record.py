"""Slotted records: cheap to define, where dataclasses would be a large part of the start-up time.

A frozen slotted dataclass takes most of a millisecond to define and every field of an instance a
call to create; a compiler has a hundred such classes and every run of the command line pays for
them. A `Record` class has the same look (annotations, defaults, keyword arguments, ``match``),
is frozen for the type checker (unless it is a `MutableRecord`), and costs a twentieth. Equality is
identity unless the class says ``eq=True``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast, dataclass_transform

T = TypeVar("T")


class _Factory:
    __slots__ = ("make",)

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


def factory(*, default_factory: Callable[[], T]) -> T:
    """A default that is made anew for each instance."""
    return cast(T, _Factory(default_factory))


class RecordType(type):
    """The metaclass that makes slots and an ``__init__`` from the annotations of a class."""

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], eq: bool = False
    ) -> RecordType:
        own = tuple(namespace.get("__annotations__", ()))
        inherited = tuple(f for b in bases for f in getattr(b, "__match_args__", ()))
        fields = inherited + own
        defaults = {f: namespace.pop(f) for f in own if f in namespace}
        for base in bases:
            defaults = {**getattr(base, "_defaults", {}), **defaults}
        namespace["__slots__"] = own
        namespace["__match_args__"] = fields
        namespace["_defaults"] = defaults
        if eq:
            namespace["__eq__"] = _equal
            namespace.setdefault("__hash__", _hash)
        if fields:
            namespace["__init__"] = _initialiser(fields, defaults)
        return super().__new__(mcs, name, bases, namespace)


class _Shown(metaclass=RecordType):
    def __repr__(self) -> str:
        fields: tuple[str, ...] = type(self).__dict__["__match_args__"]
        inside = ", ".join(f"{f}={getattr(self, f)!r}" for f in fields)
        return f"{type(self).__name__}({inside})"


@dataclass_transform(eq_default=False, frozen_default=True, field_specifiers=(factory,))
class Record(_Shown):
    """A record that does not change once it is made."""


@dataclass_transform(eq_default=False, field_specifiers=(factory,))
class MutableRecord(_Shown):
    """A record whose fields are assigned to."""


def replace(record: T, **changes: Any) -> T:
    """A copy of a record with some fields changed."""
    fields = cast(Any, record).__match_args__
    return type(record)(**{f: getattr(record, f) for f in fields} | changes)


def _initialiser(fields: tuple[str, ...], defaults: dict[str, Any]) -> Callable[..., None]:
    names: dict[str, Any] = {}
    parameters: list[str] = []
    lines: list[str] = []
    for field in fields:
        value = field
        if field in defaults:
            default = defaults[field]
            names[f"_{field}"] = default.make if isinstance(default, _Factory) else default
            parameters.append(f"{field}=_{field}")
            if isinstance(default, _Factory):
                value = f"_{field}() if {field} is _{field} else {field}"
        else:
            parameters.append(field)
        lines.append(f" self.{field} = {value}")
    text = f"def __init__(self, {', '.join(parameters)}):\n" + "\n".join(lines)
    exec(text, names)
    return cast(Callable[..., None], names["__init__"])


def _equal(self: Any, other: Any) -> bool:
    if type(other) is not type(self):
        return False
    fields: tuple[str, ...] = self.__match_args__
    return all(getattr(self, f) == getattr(other, f) for f in fields)


def _hash(self: Any) -> int:
    return hash(tuple(getattr(self, f) for f in self.__match_args__))
