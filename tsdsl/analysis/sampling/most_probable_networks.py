"""The most probable architectures that are distinct networks."""

from __future__ import annotations

from tsdsl.analysis.costs.assignments import assignments
from tsdsl.analysis.distribution import DistributionLike
from tsdsl.analysis.elimination.no_architecture import mostly_alike
from tsdsl.analysis.networks import first_of_each, network_keys
from tsdsl.analysis.sampling.most_probable import most_probable
from tsdsl.analysis.windows.enumeration import Windows
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.space import SpaceGraph

#: Architectures that are ranked at most to find distinct networks among them, or so many times as
#: networks are asked for.
MAX_RANKED, MOST_RANKED = 1 << 12, 4


def most_probable_networks(
    space: SpaceGraph, k: int, windows: Windows, given: DistributionLike = None
) -> list[Architecture]:
    """`most_probable`, but only the first of each network: ``k`` networks, or all.

    Raises `SpecError` if there is none, or if so many architectures are one network that ``k``
    networks are not among the `MAX_RANKED` (or 4 ``k``) most probable ones.
    """
    wanted, most = k, max(MAX_RANKED, MOST_RANKED * k)
    while True:
        ranked = most_probable(space, wanted, windows, given)
        if wanted == 1:
            return ranked
        kept = first_of_each(network_keys(space).keys(assignments(space, ranked)))
        if len(kept) >= k or len(ranked) < wanted:
            return [ranked[at] for at in kept[:k].tolist()]
        if wanted >= most:
            raise mostly_alike(space, wanted, len(kept))
        # As many again as networks are missing, by the share that was new so far.
        wanted = min(max(2 * wanted, wanted * k // len(kept)), most)
