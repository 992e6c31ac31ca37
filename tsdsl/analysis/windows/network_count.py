"""How many distinct networks a space has, where its architectures are few enough to list."""

from __future__ import annotations

from tsdsl.analysis.elimination.cache import query_cache
from tsdsl.analysis.elimination.count import count
from tsdsl.analysis.networks import first_of_each, network_keys
from tsdsl.analysis.windows.enumeration import Enumerator
from tsdsl.ir.ordering import TooCoupled
from tsdsl.ir.space import SpaceGraph

#: Architectures that are listed at most.
MAX_LISTED = 1 << 16


def count_networks(space: SpaceGraph) -> int | None:
    """The exact number of distinct networks (see `tsdsl.analysis.networks`) that satisfy all
    requirements; None if the space has more than `MAX_LISTED` architectures, or is too coupled to
    list them or to tell its networks apart."""
    known = network_keys(space)
    try:
        if count(space) > MAX_LISTED:
            return None
        listed = Enumerator(query_cache(space), ()).assignments({}, MAX_LISTED)
    except TooCoupled:
        return None
    if listed is None or known.facts is None:
        return None
    return len(first_of_each(known.keys(listed))) if len(listed) else 0
