"""The number of distinct networks of a space, while its architectures can be enumerated."""

from __future__ import annotations

from tsdsl.analysis.elimination.cache import query_cache
from tsdsl.analysis.elimination.count import count
from tsdsl.analysis.networks import first_of_each, network_keys
from tsdsl.analysis.windows.enumeration import Enumerator
from tsdsl.ir.ordering import TooCoupled
from tsdsl.ir.space import SpaceGraph

#: Largest number of architectures that are enumerated.
MAX_LISTED = 1 << 16


def count_networks(space: SpaceGraph) -> int | None:
    """The exact number of distinct networks (see `tsdsl.analysis.networks`) that satisfy all
    requirements; None if the space has more than `MAX_LISTED` architectures, or is too coupled to
    enumerate them or to distinguish networks."""
    keys = network_keys(space)
    try:
        if count(space) > MAX_LISTED:
            return None
        listed = Enumerator(query_cache(space), ()).assignments({}, MAX_LISTED)
    except TooCoupled:
        return None
    if listed is None or keys.facts is None:
        return None
    return len(first_of_each(keys.keys(listed))) if len(listed) else 0
