"""Reads pickles as data: plain values, and the names and arguments of what they would call.

The standard unpickler calls functions, and allocates what a length claims; torch's restricted one,
too, makes a ``bytearray(10**10)`` before it refuses it. This reader interprets the opcodes that
``torch.save`` writes and keeps calls as data, so that its memory grows with the bytes read only.

Non-goals: classes, instances with state, protocol 0. An unknown opcode ends the reading.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

#: Bytes of the longest pickle. Tensors are outside of it: a checkpoint with 2,000 tensors has 0.3
#: MiB.
MAX_BYTES = 32 << 20
#: Largest number of operations of a pickle. A tensor takes about 20.
MAX_OPERATIONS = 2_000_000


class PickleFault(Exception):
    """The bytes are not a pickle, or not one that ``torch.save`` writes."""


class Foreign(PickleFault):
    """The pickle names something other than tensors and plain values: ``module.name``."""


class PickledName(NamedTuple):
    """A class or function that a pickle names."""

    path: str


class PickledCall(NamedTuple):
    """A call of a function, which has not been made."""

    path: str
    args: tuple[Any, ...]


class StorageReference(NamedTuple):
    """A reference to something outside of the pickle: a storage."""

    key: Any


#: Functions that return a dict, whose entries the pickle sets afterwards.
_DICTS = {"collections.OrderedDict", "collections.Counter"}
_SCALARS = (str, int, float, bool, bytes, type(None))
_MARK = object()


def unpickle(file: BinaryIO, allowed: Callable[[str], bool]) -> Any:
    """Read the pickle at a file's position and leave the position behind it.

    The value is made of dicts, lists, tuples, numbers and texts; everything else stands in it as a
    `PickledName`, a `PickledCall` or a `StorageReference`. Dict entries whose key is no plain value
    are left out. Raises `Foreign` for a name that is not ``allowed``, `PickleFault` for anything
    else that cannot be read.
    """
    machine = _Machine(allowed)
    bounded: Any = _Bounded(file)
    for count, (name, argument) in enumerate(_operations(bounded)):
        if count > MAX_OPERATIONS:
            raise PickleFault(f"it has more than {MAX_OPERATIONS:,} operations")
        machine.step(name, argument)
    return machine.pop()


def _operations(file: Any) -> Iterator[tuple[str, Any]]:
    """Name and argument of each operation of a pickle. Raises `PickleFault` for bytes that are not
    a pickle, for which `pickletools` raises ValueError or OverflowError."""
    operations = pickletools.genops(file)
    while True:
        try:
            code, argument, _ = next(operations)
        except StopIteration:
            return
        except (ValueError, OverflowError) as bad:
            raise PickleFault(str(bad)[:160]) from None
        yield code.name, argument


class _Bounded:
    """A view of a file that returns at most `MAX_BYTES`. It has no ``tell``, which `pickletools`
    would call for each operation."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = MAX_BYTES

    def read(self, size: int) -> bytes:
        return self._taken(self._file.read(min(size, self._left + 1)))

    def readline(self) -> bytes:
        return self._taken(self._file.readline(self._left + 1))

    def _taken(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise PickleFault(f"it has more than {MAX_BYTES >> 20} MiB beside its numbers")
        return data


class _Machine:
    """The stack and the memo of an unpickler."""

    def __init__(self, allowed: Callable[[str], bool]) -> None:
        self._allowed = allowed
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise PickleFault("it takes a value from an empty stack")
        return self._stack.pop()

    def _top(self, kind: type) -> Any:
        if not self._stack or type(self._stack[-1]) is not kind:
            raise PickleFault(f"it changes something that is not a {kind.__name__}")
        return self._stack[-1]

    def _since_mark(self) -> list[Any]:
        for at in range(len(self._stack) - 1, -1, -1):
            if self._stack[at] is _MARK:
                found = self._stack[at + 1 :]
                del self._stack[at:]
                return found
        raise PickleFault("it takes a value from an empty stack")

    def _name(self, path: str) -> PickledName:
        path = path.replace("__builtin__.", "builtins.", 1)
        if not self._allowed(path):
            raise Foreign(path)
        return PickledName(path)

    def step(self, code: str, argument: Any) -> None:
        """Execute one operation."""
        push = self._stack.append
        match code:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                push(_MARK)
            case "NONE":
                push(None)
            case "NEWTRUE" | "NEWFALSE":
                push(code == "NEWTRUE")
            case "EMPTY_TUPLE":
                push(())
            case "EMPTY_LIST":
                push([])
            case "EMPTY_DICT":
                push({})
            case "EMPTY_SET":
                push(PickledCall("builtins.set", ()))
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                push(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8":
                push(argument)
            case "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8":
                push(argument)
            case "SHORT_BINSTRING" | "BINSTRING":
                # Strings of Python 2, which `pickletools` decodes as Latin-1.
                push(argument.encode("latin-1").decode("utf-8"))
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self.pop()
                push(self._memo[argument])
            case "MEMOIZE":
                self._memo[len(self._memo)] = self.pop()
                push(self._memo[len(self._memo) - 1])
            case "BINGET" | "LONG_BINGET":
                if argument not in self._memo:
                    raise PickleFault("it reads a memo entry that was never set")
                push(self._memo[argument])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [self.pop() for _ in range(int(code[-1]))]
                push(tuple(reversed(items)))
            case "TUPLE":
                push(tuple(self._since_mark()))
            case "APPEND":
                item = self.pop()
                self._top(list).append(item)
            case "APPENDS":
                items = self._since_mark()
                self._top(list).extend(items)
            case "SETITEM":
                value, key = self.pop(), self.pop()
                self._set([key, value])
            case "SETITEMS":
                self._set(self._since_mark())
            case "GLOBAL":
                push(self._name(argument.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                name, module = self.pop(), self.pop()
                push(self._name(f"{module}.{name}"[:400]))
            case "REDUCE" | "NEWOBJ":
                args, function = self.pop(), self.pop()
                if type(function) is not PickledName or type(args) is not tuple:
                    raise PickleFault("it calls something that is not a function")
                push({} if function.path in _DICTS else PickledCall(function.path, args))
            case "BUILD":
                # The state of a parameter or an OrderedDict: attributes without tensors.
                self.pop()
            case "BINPERSID":
                push(StorageReference(self.pop()))
            case _:
                raise PickleFault(f"torch.save does not write the operation {code}")

    def _set(self, items: list[Any]) -> None:
        if len(items) % 2:
            raise PickleFault("it has a key without a value")
        held = self._top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Hashing nested tuples can take exponential time.
            if isinstance(key, _SCALARS):
                held[key] = value
