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

#: Largest number of architectures that are ranked to find distinct networks among them: an absolute
#: one, and one per network that is asked for; the greater of the two.
MAX_RANKED, MOST_RANKED = 1 << 12, 4


def most_probable_networks(
    space: SpaceGraph, k: int, windows: Windows, given: DistributionLike = None
) -> list[Architecture]:
    """The most probable architecture of each of the ``k`` most probable networks, where a network
    is as probable as its most probable architecture; all of them, if there are fewer.

    Raises `SpecError` if no architecture is inside, or if the `MAX_RANKED` (or `MOST_RANKED` times
    ``k``) most probable architectures are fewer than ``k`` networks.
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
        # Extrapolate from the share of distinct networks so far.
        wanted = min(max(2 * wanted, wanted * k // len(kept)), most)
