"""The most probable architectures within windows, with a proof where there is one.

`lagrangian` has the method. Where its search ends without a proof and with fewer than ``k``
architectures, the sampler draws some: it also says if the windows are empty.
"""

from __future__ import annotations

from tsdsl.analysis.distribution import DistributionLike, as_distribution, on_joint_graph
from tsdsl.analysis.elimination.cache import query_cache
from tsdsl.analysis.elimination.no_architecture import no_architecture
from tsdsl.analysis.sampling.explain_empty import nothing_inside
from tsdsl.analysis.sampling.lagrangian import MostProbableSearch
from tsdsl.analysis.sampling.sampler import architectures, options_within
from tsdsl.analysis.windows.enumeration import Enumerator, Windows
from tsdsl.analysis.windows.window import clipped
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.space import SpaceGraph

#: Architectures that are drawn where the search found too few.
DRAWN = 64


def most_probable(
    space: SpaceGraph, k: int, windows: Windows, given: DistributionLike = None
) -> list[Architecture]:
    """The ``k`` most probable architectures whose costs are inside, best first; all of them, if
    there are fewer.

    ``provenance`` of each has ``log_probability``, the sum over its active decisions; ``proven``,
    False if a more probable one could not be ruled out; and ``bound``, which no log probability
    exceeds. Raises `SpecError` if no architecture is inside, `TooCoupled`.
    """
    if k < 1:
        raise ValueError(f"at least one architecture can be asked for, not {k}")
    space, given = on_joint_graph(space, given)
    cache = query_cache(space)
    narrow = clipped(cache, windows)
    if narrow is None:
        raise nothing_inside(cache, windows)
    distribution = as_distribution(space, given)
    search = MostProbableSearch(cache, distribution.layout.split(distribution.flat_logs), narrow, k)
    bound, proven = search.run()
    if not proven and search.count < k:
        search.keep(options_within(space, 0, max(4 * k, DRAWN), narrow, distribution))
    at, logs = search.ranked()
    if not len(at):
        inside = Enumerator(cache, tuple(narrow)).assignments(narrow, 1)
        if inside is not None and not len(inside):
            raise nothing_inside(cache, windows)
        raise no_architecture(space, "costs inside of the window and a probability above 0")
    ranked = architectures(space, at)
    for architecture, log in zip(ranked, logs.tolist(), strict=True):
        architecture.provenance.update(
            log_probability=log, proven=proven, bound=log if proven else max(bound, log)
        )
    return ranked
