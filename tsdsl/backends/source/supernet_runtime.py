"""The classes at the beginning of every emitted supernet. The part below the line is copied into
it.

It imports torch only. `tsdsl.backends.supernet_source` writes calls of what is defined here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

# ---------------------------------------------------------------- copied from here on

#: Axes of a table over options: for each variable, its index and its number of options.
On = tuple[tuple[int, int], ...]
#: Name, axes, shape and initialisation of a tensor. A buffer has no initialisation.
Held = tuple[str, str, tuple[int, ...], str | None]
#: Positions of channels: start and length of each run.
Runs = tuple[tuple[int, int], ...]
#: A part of a tensor: slices, followed by index selections along axes. None for the whole tensor.
Part = tuple[tuple[slice, ...], tuple[tuple[int, tuple[int, ...]], ...]] | None


def _entry(at: Sequence[int], on: On, table: Sequence[Any]) -> Any:
    """The entry of a row-major table for an architecture's options."""
    offset = 0
    for variable, size in on:
        if at[variable] < 0:
            return None
        offset = offset * size + at[variable]
    return table[offset]


class Op(nn.Module):
    """One operation of all architectures.

    Its tensors have the largest shapes that any architecture needs. Each architecture uses a part:
    the first channels, the centre of a kernel. ``make(*row)`` makes the layer of an architecture
    from its row of the table ``rows``. ``like`` is an operation whose tensors are shared.
    ``places`` is a table of the runs of channels that the layer reads and writes, for layers whose
    channels are not the first ones (behind a concatenation, each input has a segment of its own).
    """

    def __init__(
        self,
        make: Callable[..., nn.Module],
        rows: Sequence[Any] = ((),),
        on: On = (),
        tensors: Sequence[Held] = (),
        call: Callable[..., Tensor] | None = None,
        like: Op | None = None,
        places: tuple[On, Sequence[Any]] = ((), (None,)),
    ) -> None:
        super().__init__()
        self._make, self._rows, self._on, self._call = make, rows, on, call
        self._places = places
        self._layers: dict[Any, Any] = {}
        # Wrapped in a tuple, so that `nn.Module` does not register it as a submodule.
        self._like = () if like is None else (like,)
        self._tensors: tuple[Held, ...] = tuple(tensors) if like is None else like._tensors
        if like is not None:
            return
        for name, _, shape, start in tensors:
            if start is not None:
                self.register_parameter(name, nn.Parameter(torch.empty(shape)))
            elif shape:
                self.register_buffer(name, torch.empty(shape))
            else:
                self.register_buffer(name, torch.tensor(0, dtype=torch.int64))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        for name, _, _, start in self._tensors:
            tensor = getattr(self, name)
            if start == "he":
                nn.init.kaiming_normal_(tensor, mode="fan_out", nonlinearity="relu")
            elif start == "linear":
                nn.init.normal_(tensor, std=0.01)
            elif start == "ones" or name == "running_var":
                nn.init.ones_(tensor)
            else:
                nn.init.zeros_(tensor)

    def forward(self, at: Sequence[int], *inputs: Tensor) -> Tensor:
        """``at``: index of the option of each variable."""
        key = _entry(at, self._on, self._rows), _entry(at, *self._places)
        known = self._layers.get(key)
        if known is None:
            known = self._layers[key] = self._layer(*key)
        layer, parts = known
        holder = self._like[0] if self._like else self
        layer.training = holder.training
        try:
            for name, learned, part in parts:
                whole = getattr(holder, name)
                held = layer._parameters if learned else layer._buffers
                held[name] = _take(whole, part)
            found: Tensor = layer(*inputs) if self._call is None else self._call(layer, *inputs)
            if layer.training:
                for name, learned, part in parts:
                    if not learned and part is not None and part[1]:
                        # Write running statistics back that were updated in a copy.
                        with torch.no_grad():
                            getattr(holder, name)[list(part[1][0][1])] = layer._buffers[name]
            return found
        finally:
            for name, learned, _ in parts:
                (layer._parameters if learned else layer._buffers)[name] = None

    def _layer(self, row: Sequence[Any], places: Any) -> tuple[Any, list[Any]]:
        """The layer without tensors, and the part of each shared tensor that it uses."""
        with torch.device("meta"):
            layer = self._make(*row).requires_grad_(False)
        parts = [
            (name, start is not None, _part(axes, shape, getattr(layer, name).shape, places))
            for name, axes, shape, start in self._tensors
            if getattr(layer, name, None) is not None
        ]
        return layer, parts


def _part(axes: str, whole: Sequence[int], wanted: Sequence[int], places: Any) -> Part:
    """The part of a tensor that a smaller tensor is."""
    read, written = places or (None, None)
    slices, picks = [], []
    for number, (axis, size, length) in enumerate(zip(axes.split(), whole, wanted, strict=True)):
        runs = written if axis == "OUT" else read if axis in ("IN", "CHANNELS") else None
        if runs is None or sum(run[1] for run in runs) != length:
            runs = (((size - length) // 2 if axis in ("KT", "KH", "KW") else 0, length),)
        if len(runs) == 1:
            slices.append(slice(runs[0][0], sum(runs[0])))
        else:
            slices.append(slice(0, size))
            picks.append((number, tuple(p for start, n in runs for p in range(start, start + n))))
    if not picks and all(s == slice(0, n) for s, n in zip(slices, whole, strict=True)):
        return None
    return tuple(slices), tuple(picks)


def _take(whole: Tensor, part: Part) -> Tensor:
    if part is None:
        return whole
    found = whole[part[0]]
    for axis, index in part[1]:
        found = found.index_select(axis, torch.tensor(index, device=whole.device))
    return found


class Space(nn.Module):
    """A search space: its decisions, the variables that follow from them, and its requirements.

    ``decisions``: path, options, index of the default, and guards: tables with the entries for
    which the decision is active. ``variables``: index of a decision, or a table over earlier
    variables. ``requirements``: a table that must not be False, its guards, and the message if it
    is.
    """

    def __init__(
        self,
        decisions: Sequence[tuple[str, Sequence[Any], int, Sequence[Any]]],
        variables: Sequence[Any],
        requirements: Sequence[Any],
    ) -> None:
        super().__init__()
        self._decisions, self._variables = decisions, variables
        self._requirements = requirements
        self._ops: dict[str, Op] = {}

    def _add(self, path: str, op: Op) -> None:
        """Register an operation under its path, which is its name in the state dict."""
        *parents, name = path.split(".")
        at: nn.Module = self
        for parent in parents:
            if parent not in at._modules:
                at.add_module(parent, nn.Module())
            at = at._modules[parent]  # type: ignore[assignment]
        at.add_module(name, op)
        self._ops[path] = op

    def _options(self, architecture: Mapping[str, Any]) -> list[int]:
        """Index of the option of each variable. Raises `ValueError` for an architecture of another
        space."""
        unknown = set(architecture) - {path for path, _, _, _ in self._decisions}
        if unknown:
            raise ValueError(f"there is no decision '{min(unknown)}'")
        at: list[int] = []
        for variable in self._variables:
            if not isinstance(variable, int):
                value = _entry(at, *variable)
                at.append(-1 if value is None else value)
                continue
            path, options, default, guards = self._decisions[variable]
            if any(_entry(at, on, table) != case for on, table, case in guards):
                at.append(default)
                continue
            if path not in architecture:
                raise ValueError(f"no option for decision '{path}'")
            wanted = architecture[path]
            same = [
                k
                for k, option in enumerate(options)
                if option == wanted and isinstance(option, bool) == isinstance(wanted, bool)
            ]
            if not same:
                raise ValueError(f"{wanted!r} is not an option of '{path}': {options}")
            at.append(same[0])
        for on, table, guards, said in self._requirements:
            counts = all(_entry(at, *guard[:2]) == guard[2] for guard in guards)
            if counts and _entry(at, on, table) is False:
                raise ValueError(f"requirement not met: {said}")
        if -1 in at:
            raise ValueError("no architecture has these options together")
        return at
