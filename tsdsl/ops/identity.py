"""Nothing."""

from __future__ import annotations

from tsdsl.ops.common import Elementwise


class Identity(Elementwise):
    """The tensor as it is: ``none`` and ``skip``."""

    name = "identity"
    expression = "{0}"
