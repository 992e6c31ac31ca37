"""Costs that are counted by a rule: one file and one line of `COUNTED` each.

Every query takes them by name, and ``tsdsl space`` shows them.
"""

from __future__ import annotations

from tsdsl.analysis.costs.cost import Cost
from tsdsl.analysis.costs.counted.elements import Elements
from tsdsl.analysis.costs.counted.macs import Macs
from tsdsl.analysis.costs.counted.params import Params

#: Multiply-accumulates (``flops``), the main cost, which histograms show.
MACS = Macs()

#: Parameters. Like `MACS`, they have a window argument of their own in most functions.
PARAMS = Params()
#: Values of all results, from which a search estimates the memory of its activations.
ELEMENTS = Elements()

COUNTED: tuple[Cost, ...] = (
    MACS,
    PARAMS,
    ELEMENTS,
)

__all__ = ["COUNTED", "ELEMENTS", "MACS", "PARAMS"]
