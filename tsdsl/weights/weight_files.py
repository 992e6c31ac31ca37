"""Writes safetensors files of weights, and loads files of weights into a network."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence

import safetensors.torch
import torch
from torch import Tensor, nn

from tsdsl.diagnostics import Diagnostic
from tsdsl.files import PathLike, write_atomic
from tsdsl.weights.matching import match_tensors
from tsdsl.weights.reading import StoredWeights, WeightsError, load

__all__ = [
    "FORMAT",
    "LoadedWeights",
    "StoredWeights",
    "WeightsError",
    "about_layout",
    "check_layout",
    "classes_of",
    "load",
    "load_into",
    "load_weights",
    "save",
    "save_torch",
    "save_weights",
]

#: The value of ``about["format"]`` in files that tsdsl writes.
FORMAT = "tsnet-weights/1"


class LoadedWeights(StoredWeights):
    """The weights that a network has been given, by the network's names."""

    #: Name of the scheme of another code base, as ``pyslowfast-x3d``; empty for our names.
    scheme: str = ""
    #: Names of the network's tensors that were left as they were.
    left_out: tuple[str, ...] = ()
    #: Names of the network's tensors that the file's code base does not have. They have been set to
    #: values that change nothing.
    filled: tuple[str, ...] = ()


def save(path: PathLike, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
    """Write a safetensors file atomically and sync it to the disk. Tensors that share memory are
    written separately. Raises `FileError`."""
    plain = {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
    }
    data = safetensors.torch.save(plain, dict(about))
    # The library writes metadata in random order. It is sorted, so that equal runs write equal
    # bytes. Offsets of tensors count from the end of the header.
    size = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:size])
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    head = len(text).to_bytes(8, "little") + text
    write_atomic(path, [head, memoryview(data)[size:]], sync=True)


def save_torch(path: PathLike, tensors: Mapping[str, Tensor]) -> None:
    """Write a file in the form of PySlowFast and pytorchvideo: ``torch.save`` of the tensors under
    ``model_state``. Raises `FileError`."""
    # Copies, since a view would be saved with its whole storage.
    plain = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    buffer = io.BytesIO()
    torch.save({"model_state": plain}, buffer)
    write_atomic(path, buffer.getvalue(), sync=True)


def load_into(
    net: nn.Module, weights: PathLike | StoredWeights, *, except_for: Sequence[str] = ()
) -> LoadedWeights:
    """Load weights into a network: a file of tsdsl, or a checkpoint of the same network in
    PySlowFast or pytorchvideo (`tsdsl.weights.schemes`).

    - ``net``: the network, or a `Supernet`. Names and shapes in the file have to be exactly the
      network's; otherwise nothing is changed.
    - ``weights``: the file, or weights that were read from one.
    - ``except_for``: names of modules that keep their weights, as ``["head.x3d_head.linear"]`` for
      a network with another number of classes.

    Returns the loaded tensors by name, with what the file says about itself (``about``). Raises
    `FileError`, and `WeightsError` with everything that differs.

        >>> net = tsdsl.compile(space, frozen=arch)
        >>> tsdsl.save_weights(net, "net.safetensors", epoch="3")
        >>> tsdsl.load_weights(net, "net.safetensors").about["epoch"]
        '3'
    """
    found = weights if isinstance(weights, StoredWeights) else load(weights)
    if found.tensors.keys() == net.state_dict().keys():
        # Checked before shapes are compared, since other segments may be the reason for other
        # shapes.
        check_layout(net, found.about, found.source)
    fit = match_tensors(net, found, except_for)
    check_layout(net, found.about, found.source)
    net.load_state_dict(fit.tensors, strict=not fit.left_out)
    return LoadedWeights(
        tensors=fit.tensors,
        about=found.about,
        source=found.source,
        container=found.container,
        scheme=fit.scheme.name if fit.scheme else "",
        left_out=tuple(fit.left_out),
        filled=tuple(fit.filled),
    )


#: The name under which `tsdsl` exports it.
load_weights = load_into


def save_weights(net: nn.Module, path: PathLike, **about: str) -> None:
    """Write the `state_dict` of a network as a safetensors file, whole or not at all.

    - ``net``: the network. ``path``: the file.
    - ``about``: further facts to write into it, as ``epoch="3"``.

    Raises `FileError`.

        >>> tsdsl.save_weights(tsdsl.compile(space, frozen=arch), "net.safetensors")
    """
    save(path, net.state_dict(), {"format": FORMAT, **about_layout(net), **about})


def about_layout(net: nn.Module) -> dict[str, str]:
    """Metadata about the positions of channels in a supernet's weights (`tsdsl.ir.layout`). Empty
    where channels are ranked everywhere, as in files of earlier versions."""
    from tsdsl.backends.supernet import Supernet

    digest = net._layouts.digest if isinstance(net, Supernet) else ""
    return {"layout": digest} if digest else {}


def check_layout(
    net: nn.Module, about: Mapping[str, str], source: str, hint: str | None = None
) -> None:
    """Raise `WeightsError` for weights of a supernet whose channels have other positions than this
    one's. Their shapes can be equal."""
    from tsdsl.backends.supernet import Supernet

    if not isinstance(net, Supernet) or "architecture" in about:
        # Of weights of one architecture, names and shapes say enough.
        return
    own, given = net._layouts.digest, about.get("layout", "")
    if own == given:
        return
    if not given:
        message = (
            "these weights do not say that each input of a 'concat' has a segment of its own, as in"
            " this supernet: files from before that shared weights between the inputs"
        )
    else:
        message = (
            "in these weights, the inputs of a 'concat' have other segments than in this supernet:"
            " they are of a space with other widths"
        )
    hint = hint or "train a new supernet with 'tsdsl search'"
    raise WeightsError([Diagnostic("E0834", message, file=source, help=hint)])


def classes_of(about: Mapping[str, str]) -> list[str] | None:
    """The names of classes that came with weights."""
    try:
        found = json.loads(about.get("classes", "null"))
    except (ValueError, RecursionError):
        return None
    if isinstance(found, list) and all(isinstance(name, str) for name in found):
        return found
    return None
