"""``tsdsl weights``: the content of a file of weights, and whether it fits a network."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

import tsdsl
from tsdsl.cli.colour import colour_option
from tsdsl.cli.open_spec import (
    NetworkOptions,
    frozen_field,
    say_filled,
    settings_field,
    space_field,
)
from tsdsl.cli.option_groups import OptionGroup, option, takes
from tsdsl.cli.output import aligned, check_outputs, data, note
from tsdsl.cli.quantities import several
from tsdsl.cli.run_options import needs_training
from tsdsl.diagnostics import ArchitectureError, Source
from tsdsl.diagnostics.render import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from tsdsl.weights.weight_files import LoadedWeights, StoredWeights

#: Suffixes of files written with `torch.save`, with the state dict under ``model_state``.
TORCH = (".pyth", ".pth", ".pt")
#: What ``--as`` takes; a test compares it with the schemes.
NAMES = ("pyslowfast-x3d", "pyslowfast-slowfast", "pytorchvideo-x3d", "pytorchvideo-slowfast")
#: Characters shown of each metadata value of the file.
_SHOWN = 70

EPILOG = """\b
Examples:
  tsdsl weights runs/first/best.safetensors
  tsdsl weights x3d_s.pyth --json                # names, shapes and types of all tensors
  tsdsl weights x3d_s.pyth --spec specs/x3d_s.tsnet -o x3d_s.safetensors
  tsdsl weights best.safetensors --spec specs/x3d_s.tsnet --as pytorchvideo-x3d -o best.pyth
"""


class FittedNetworkOptions(OptionGroup):
    """The network that the weights must fit, if one is given."""

    spec: str | None = option(
        "--spec", type=click.Path(), metavar="SPEC", help="The network that the weights must fit."
    )
    frozen: str | None = frozen_field
    settings: dict[str, Any] = settings_field
    space_name: str | None = space_field

    @property
    def is_given(self) -> bool:
        return bool(self.frozen or self.settings or self.space_name)

    def of(self, spec: str) -> NetworkOptions:
        return NetworkOptions(
            file=spec, frozen=self.frozen, settings=self.settings, space_name=self.space_name
        )


@click.command(epilog=EPILOG)
@click.argument("file", type=click.Path(), metavar="FILE")
@takes(network=FittedNetworkOptions)
@click.option(
    "--as",
    "scheme_name",
    type=click.Choice(NAMES),
    help="Write the parameter names of another code base; those of the network if left out.",
)
@click.option(
    "-o",
    "output",
    type=click.Path(),
    metavar="OUT",
    help="Write the weights: .safetensors, or .pyth, .pth, .pt in torch's format.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@colour_option
def command(
    file: str,
    network: FittedNetworkOptions,
    scheme_name: str | None,
    output: str | None,
    as_json: bool,
) -> int:
    """Inspect weights, and convert them for a network.

    FILE is a safetensors file or a torch checkpoint; code in a checkpoint is never run. With
    --spec, its tensors must be exactly those of the network, by name and shape; the names of
    PySlowFast and pytorchvideo are recognised. The architecture is that of --frozen, or the one
    that the weights were trained with.
    """
    spec = network.spec
    if spec is None and (network.is_given or scheme_name or output):
        raise click.UsageError("--frozen, --set, --space, --as and -o are for --spec SPEC")
    if scheme_name and not output:
        raise click.UsageError("--as is for -o OUT")
    if output and os.path.splitext(output)[1] not in (".safetensors", *TORCH):
        kinds = ", ".join((".safetensors", *TORCH))
        raise click.UsageError(f"'{output}' does not end in one of {kinds}")
    check_outputs([output], [file, spec, network.frozen])
    needs_training()
    from tsdsl.weights.weight_files import load, load_into

    held = load(file)
    space = arch = loaded = None
    if spec is not None:
        space, arch = network.of(spec).open_for(held)
        net = tsdsl.compile(space, frozen=arch)
        loaded = load_into(net, held)
        if output is not None:
            _write(net, loaded, space, arch, scheme_name, output)
    found = _described(held, loaded, space)
    data(json.dumps(found, indent=2) if as_json else _text(found))
    if loaded is not None:
        say_filled(loaded)
    if output is not None:
        note(f"wrote {visible(output)}")
    return 0


def _write(
    net: nn.Module,
    loaded: LoadedWeights,
    space: tsdsl.Space,
    arch: tsdsl.Architecture | None,
    scheme_name: str | None,
    output: str,
) -> None:
    from tsdsl.ir.arch_file import dump
    from tsdsl.weights.matching import export_tensors
    from tsdsl.weights.schemes import SCHEMES
    from tsdsl.weights.weight_files import FORMAT, save, save_torch

    kept = {"classes", "epoch", "step"}
    about = {key: value for key, value in loaded.about.items() if key in kept}
    tensors: Mapping[str, Tensor] = loaded.tensors
    if scheme_name is not None:
        scheme = next(scheme for scheme in SCHEMES if scheme.name == scheme_name)
        tensors = export_tensors(net, scheme)
    else:
        about |= {"format": FORMAT, "space": space.name, "space_hash": space.hash}
        if arch is not None:
            about["architecture"] = dump(tsdsl.Architecture(arch, space.name, space.hash))
    if output.endswith(".safetensors"):
        save(output, tensors, about)
    else:
        save_torch(output, tensors)


def _described(
    held: StoredWeights, loaded: LoadedWeights | None, space: tsdsl.Space | None
) -> dict[str, Any]:
    from tsdsl.weights.matching import numbers, plain
    from tsdsl.weights.weight_files import FORMAT

    tensors, scheme = plain(held.tensors)
    names = scheme.name if scheme else None
    if names is None and (loaded is not None or held.about.get("format") == FORMAT):
        names = "tsnet"
    floating = {name: t for name, t in held.tensors.items() if t.is_floating_point()}
    return {
        "format_version": 1,
        "file": held.source,
        "container": held.container,
        "names": names,
        "parameters": numbers(tensors),
        "bytes": sum(t.numel() * t.element_size() for t in held.tensors.values()),
        "not_finite": [name for name, t in floating.items() if not bool(t.isfinite().all())],
        "about": dict(held.about),
        "network": loaded and {"space": space and space.name, "filled": list(loaded.filled)},
        "tensors": [
            {"name": name, "shape": list(t.shape), "dtype": str(t.dtype).removeprefix("torch.")}
            for name, t in held.tensors.items()
        ],
    }


def _text(found: dict[str, Any]) -> str:
    types: dict[str, int] = {}
    for tensor in found["tensors"]:
        types[tensor["dtype"]] = types.get(tensor["dtype"], 0) + 1
    counted = ", ".join(f"{count} of {name}" for name, count in types.items())
    rows = [
        ["container", found["container"]],
        ["names", found["names"] or "unknown"],
        ["parameters", f"{found['parameters']:,}"],
        ["tensors", f"{len(found['tensors']):,} ({counted}), {found['bytes'] / 2**20:,.1f} MiB"],
    ]
    for key, value in sorted(found["about"].items()):
        text = visible(value)
        if key == "architecture":
            text = _architecture(value)
        rows.append([visible(key)[:30], text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."])
    if found["not_finite"]:
        bad = found["not_finite"]
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        rows.append(["not finite", visible(", ".join(bad[:3])) + more])
    if found["network"]:
        rows.append(["fits", found["network"]["space"]])
    return aligned(rows)


def _architecture(text: str) -> str:
    from tsdsl.ir.arch_file import parse

    try:
        return several(len(parse(Source("weights", text))), "decision")
    except ArchitectureError:
        return "cannot be read"
