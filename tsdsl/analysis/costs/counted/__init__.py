"""Costs that are counted by a rule: one file and one line of `COUNTED` each.

Every query takes them by name, and ``tsdsl space`` shows them.
"""

from __future__ import annotations

from tsdsl.analysis.costs.cost import Cost
from tsdsl.analysis.costs.counted.elements import Elements
from tsdsl.analysis.costs.counted.macs import Macs
from tsdsl.analysis.costs.counted.params import Params

#: Multiply-accumulates, the main cost: what ``flops`` means, and what histograms show.
MACS = Macs()

#: Parameters, which have a window of their own in most functions, as multiply-accumulates have.
PARAMS = Params()
#: Values of all results, from which a search estimates what its activations take.
ELEMENTS = Elements()

COUNTED: tuple[Cost, ...] = (
    MACS,
    PARAMS,
    ELEMENTS,
)

__all__ = ["COUNTED", "ELEMENTS", "MACS", "PARAMS"]
