"""Matches the tensors of a file to those of a network by name, and reports everything that does not
fit.

Tensors are changed in these ways only:

- names of another code base are replaced by ours (`schemes`), and a common prefix is removed;
- sub-batch normalisation becomes normalisation;
- trailing axes of length 1 are added or removed (a linear layer and a 1x1x1 convolution);
- a counter of batches that the file lacks is 0;
- a normalisation that the other code base does not have becomes the identity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tsdsl.diagnostics import Diagnostic, did_you_mean
from tsdsl.record import Record
from tsdsl.weights.reading import StoredWeights, WeightsError
from tsdsl.weights.scheme import Scheme, recognised
from tsdsl.weights.schemes import (
    SCHEMES,
    SUB_BATCH_DROPPED,
    SUB_BATCH_NORM,
    SUB_BATCH_SIGNATURE,
    WRAPPERS,
)

#: Number of names that a message lists.
_SHOWN = 10
_COUNTER = "num_batches_tracked"


class MatchedTensors(Record):
    """Tensors by the names of a network."""

    tensors: dict[str, Tensor]
    #: The other code base whose names the file has; None for our names.
    scheme: Scheme | None
    #: Names of the network's tensors that are not loaded, because the caller excluded them.
    left_out: list[str]
    #: Names of the network's tensors that the file's code base does not have.
    filled: list[str]


def plain(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Scheme | None]:
    """Remove the prefixes of wrappers; returns the tensors and the scheme of their names, None for
    names that are not those of a known code base."""
    found = dict(tensors)
    scheme = recognised(found, SCHEMES)
    while scheme is None:
        prefix = next((w for w in WRAPPERS if all(key.startswith(w) for key in found)), None)
        if prefix is None or not found:
            return dict(tensors), None
        found = {key.removeprefix(prefix): tensor for key, tensor in found.items()}
        scheme = recognised(found, SCHEMES)
    layers = [key.removesuffix(SUB_BATCH_SIGNATURE) for key in found]
    layers = [layer for layer, key in zip(layers, found, strict=True) if layer != key]
    for layer in layers:
        for dropped in SUB_BATCH_DROPPED:
            found.pop(layer + dropped, None)
        for theirs, ours in SUB_BATCH_NORM:
            if layer + theirs in found and layer + ours not in found:
                found[layer + ours] = found.pop(layer + theirs)
    return found, scheme


def match_tensors(
    net: nn.Module, weights: StoredWeights, except_for: Sequence[str] = ()
) -> MatchedTensors:
    """The tensors of a network, which share memory with those of a file. Names in ``except_for``,
    and names below them, may be missing. Raises `WeightsError` with everything that does not fit.
    """
    own = net.state_dict()
    given, scheme, spelled = _by_our_names(own, weights.tensors)
    problems = []
    for prefix in except_for:
        if not any(_inside(name, [prefix]) for name in own):
            parts = dict.fromkeys(name.rpartition(".")[0] for name in own)
            hint = did_you_mean(prefix, parts)
            problems.append((f"the network has no '{prefix}' to leave out", hint))
    left_out = [name for name in own if _inside(name, except_for)]
    wanted = {name: tensor for name, tensor in own.items() if not _inside(name, except_for)}
    given = {name: tensor for name, tensor in given.items() if not _inside(name, except_for)}
    filled = _fill(net, wanted, given, scheme)
    problems += _differences(wanted, given, spelled)
    if problems:
        raise _misfit(problems, weights, scheme)
    tensors = {name: given[name].reshape(tensor.shape) for name, tensor in wanted.items()}
    return MatchedTensors(tensors, scheme, left_out, filled)


def export_tensors(net: nn.Module, scheme: Scheme) -> dict[str, Tensor]:
    """The tensors of a compiled network under the names of another code base. Normalisations that
    it does not have are left out if they are the identity. Raises `WeightsError` for tensors that
    it has no name for."""
    tensors = net.state_dict()
    gone = [
        norm
        for norm, conv in scheme.unnormalised_among(tensors)
        if _keeps_width(tensors.get(f"{conv}.weight"))
    ]
    for norm in gone:
        if not _is_identity(net.get_submodule(norm)):
            message = f"{scheme.name} has no {norm}, and this one is not the identity"
            raise WeightsError([Diagnostic("E0831", message)])
    names = [name for name in tensors if not _inside(name, gone)]
    theirs = {name: scheme.theirs(name) for name in names}
    nameless = [name for name in names if theirs[name] is None]
    if nameless:
        raise WeightsError(
            [Diagnostic("E0831", f"{scheme.name} has no name for {_list(nameless)}")]
        )
    return {name: tensors[ours] for ours, name in theirs.items() if name is not None}


def _by_our_names(
    own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], Scheme | None, dict[str, str]]:
    """Tensors by our names where they have one, the scheme, and a map from our names to the
    file's."""
    found, scheme = plain(tensors)
    if scheme is None and any(name in own for name in found):
        return found, None, {}
    if scheme is None:
        for wrapper in WRAPPERS:
            if all(name.startswith(wrapper) for name in found):
                found = {name.removeprefix(wrapper): t for name, t in found.items()}
        return found, None, {}
    given = {}
    spelled = {}
    for theirs, tensor in found.items():
        ours = scheme.ours(theirs)
        if ours is not None:
            given[ours] = tensor
            spelled[ours] = theirs
        else:
            # The file has the tensor under both names.
            given[f"{theirs} (once more)" if theirs in own else theirs] = tensor
    return given, scheme, spelled


def _fill(
    net: nn.Module,
    wanted: Mapping[str, Tensor],
    given: dict[str, Tensor],
    scheme: Scheme | None,
) -> list[str]:
    """Add the tensors that the other code base does not have to ``given``; returns their names."""
    if scheme is None:
        return []
    filled = []
    for norm, conv in scheme.unnormalised_among(wanted):
        names = [name for name in wanted if _inside(name, [norm])]
        if _keeps_width(given.get(f"{conv}.weight")) and not any(n in given for n in names):
            given.update(_identity(net.get_submodule(norm), norm))
            filled += names
    for name, tensor in wanted.items():
        # State dicts from before torch had counters, and those converted from Caffe2.
        variance = f"{name.removesuffix(_COUNTER)}running_var"
        if name.endswith(f".{_COUNTER}") and name not in given and variance in given:
            given[name] = torch.zeros_like(tensor, device="cpu")
            filled.append(name)
    return filled


def _identity(module: nn.Module, name: str) -> dict[str, Tensor]:
    """Parameters and statistics of a normalisation that is the identity."""
    assert isinstance(module, nn.modules.batchnorm._BatchNorm)
    ones = torch.ones(module.num_features, dtype=module.weight.dtype)
    return {
        f"{name}.weight": ones,
        f"{name}.bias": torch.zeros_like(ones),
        f"{name}.running_mean": torch.zeros_like(ones),
        f"{name}.running_var": ones - module.eps,
        f"{name}.{_COUNTER}": torch.zeros((), dtype=torch.int64),
    }


def _is_identity(module: nn.Module) -> bool:
    """Whether a normalisation is the identity, to the precision of float32."""
    assert isinstance(module, nn.modules.batchnorm._BatchNorm)
    parts = (module.weight, module.bias, module.running_mean, module.running_var)
    wanted = (1.0, 0.0, 0.0, 1.0 - module.eps)
    return all(
        part is not None and bool(((part.double() - value).abs() <= 1e-7).all())
        for part, value in zip(parts, wanted, strict=True)
    )


def _keeps_width(weight: Tensor | None) -> bool:
    return weight is not None and weight.ndim > 1 and weight.shape[0] == weight.shape[1]


def _differences(
    own: Mapping[str, Tensor], given: Mapping[str, Tensor], spelled: Mapping[str, str]
) -> list[tuple[str, str | None]]:
    """Everything that does not fit, as pairs of a message and a hint."""
    wrong: list[tuple[str, str | None]] = []
    missing = [name for name in own if name not in given]
    foreign = [name for name in given if name not in own]
    if missing:
        hint = None if spelled else did_you_mean(missing[0], foreign)
        wrong.append((f"the file lacks {_tensors(missing)} of the network: {_list(missing)}", hint))
    if foreign:
        shown = [f"{n} ({spelled[n]} in the file)" if n in spelled else n for n in foreign]
        hint = None if spelled else did_you_mean(foreign[0], missing or own)
        wrong.append(
            (f"the network has no place for {_tensors(shown)} of the file: {_list(shown)}", hint)
        )
    unlike = []
    for name, tensor in own.items():
        other = given.get(name)
        if other is None:
            continue
        if _trimmed(other.shape) != _trimmed(tensor.shape):
            unlike.append(f"{name} is {_shape(other)}, the network's is {_shape(tensor)}")
        elif other.is_floating_point() != tensor.is_floating_point() or other.is_complex():
            unlike.append(f"{name} is {_dtype(other)}, the network's is {_dtype(tensor)}")
    wrong += [(message, None) for message in unlike[:_SHOWN]]
    if len(unlike) > _SHOWN:
        wrong.append((f"{len(unlike) - _SHOWN} more tensors do not fit", None))
    if unlike and not missing and not foreign and (layer := _classifier(own, given)):
        hint = f"to train with other classes: --weights-except {layer}, except_for=['{layer}']"
        wrong[-1] = (wrong[-1][0], hint)
    return wrong


def _classifier(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str | None:
    """The only layer whose tensors do not fit, if they differ in the number of outputs alone."""
    unlike = [name for name in own if _trimmed(own[name].shape) != _trimmed(given[name].shape)]
    layers = {name.rpartition(".")[0] for name in unlike}
    same = all(own[n].shape[1:] == given[n].shape[1:] for n in unlike)
    return layers.pop() if same and len(layers) == 1 else None


def _misfit(
    problems: Sequence[tuple[str, str | None]], weights: StoredWeights, scheme: Scheme | None
) -> WeightsError:
    about = weights.about
    said = [f"{key} {about[key][:80]}" for key in ("space", "epoch") if key in about]
    if "architecture" in about:
        said.append("the architecture that 'tsdsl weights' shows")
    told = f"the file's weights are of {', '.join(said)}" if said else None
    if scheme is not None:
        told = f"the file's names are those of {scheme.name}"
    return WeightsError(
        Diagnostic("E0831", message, file=weights.source, help=hint or told)
        for message, hint in problems
    )


def _inside(name: str, prefixes: Sequence[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def _trimmed(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape without trailing axes of length 1."""
    found = tuple(shape)
    while found and found[-1] == 1:
        found = found[:-1]
    return found


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _tensors(names: Sequence[str]) -> str:
    return f"{len(names):,} tensors" if len(names) > 1 else "a tensor"


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(" ".join(name[:120].split()) for name in names[:_SHOWN]) + more


def numbers(tensors: Mapping[str, Tensor]) -> int:
    """Number of elements that training changes, which excludes running statistics."""
    statistics = ("running_mean", "running_var", _COUNTER)
    return sum(
        math.prod(tensor.shape)
        for name, tensor in tensors.items()
        if name.rpartition(".")[2] not in statistics
    )
