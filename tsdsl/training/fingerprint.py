"""The identity of a run: a resumed run has to have the same one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

import tsdsl
from tsdsl.analysis.costs.cost import Cost
from tsdsl.data.lists import VideoList
from tsdsl.ir.architecture import Architecture
from tsdsl.sema.sections import Evaluate
from tsdsl.space import Space
from tsdsl.training.ranks import Ranks
from tsdsl.training.recipe import Recipe
from tsdsl.weights.weight_files import FORMAT


def of_list(videos: VideoList) -> dict[str, Any]:
    """Size and digest of a list: paths as written, labels, and names of classes."""
    digest = hashlib.blake2b(digest_size=16)
    for video in videos.videos:
        digest.update(f"{video.name}\0{video.label}\n".encode(errors="surrogateescape"))
    for name in videos.classes:
        digest.update(f"{name}\n".encode(errors="surrogateescape"))
    return {"videos": len(videos), "classes": len(videos.classes), "digest": digest.hexdigest()}


def of_training(
    recipe: Recipe, seed: int, videos: VideoList, val: VideoList | None, views: Evaluate | None
) -> dict[str, Any]:
    """The identity of a training without its network."""
    return {
        "recipe": recipe.as_json(),
        "seed": seed,
        "data": of_list(videos),
        "val": of_list(val) if val is not None else None,
        "evaluate": views.model_dump(mode="json") if val is not None and views else None,
    }


def of_tensors(net: nn.Module) -> str:
    """A digest of the names, shapes and types of a network's tensors. Their values do not enter."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in net.state_dict().items():
        digest.update(f"{name}\0{tuple(tensor.shape)}\0{tensor.dtype}\n".encode())
    return digest.hexdigest()


def of_weights_in(net: nn.Module) -> str:
    """A digest of the names and values of a network's tensors."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in net.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def of_cost(cost: Cost) -> str:
    """A digest of the values of a cost. Their order does not enter."""
    digest = hashlib.blake2b(digest_size=16)
    for line in sorted(f"{line}\n" for line in cost.identity()):
        digest.update(line.encode())
    return digest.hexdigest()


def conditions(ranks: Ranks, videos: VideoList) -> dict[str, Any]:
    """Conditions that may differ when a run is resumed. The result is then equal up to rounding."""
    device = ranks.device
    cuda = device.type == "cuda"
    return {
        "tsdsl": tsdsl.__version__,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if cuda else device.type,
        "world": ranks.world,
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
        "list": videos.source,
    }


def of_weights(
    name: str, space: Space | None, frozen: Mapping[str, Any] | None, videos: VideoList
) -> dict[str, str]:
    """Metadata for files of a network's weights."""
    from tsdsl.ir.arch_file import dump

    found = {"format": FORMAT, "space": name, "classes": json.dumps(list(videos.classes))}
    if space is not None:
        found["space_hash"] = space.hash
        if frozen:
            found["architecture"] = dump(Architecture(frozen, space.name, space.hash))
    return found
