"""ConfigSpace: hyperparameters with conditions and forbidden clauses.

It has no costs, and a forbidden clause compares hyperparameters with values, so a budget is not
one. `estimate_size` leaves conditions out (`src/ConfigSpace/configuration_space.py` of
automl/ConfigSpace: "Otherwise, this is an upper bound").
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import described
import numpy as np
from ConfigSpace import Categorical, ConfigurationSpace, InCondition
from described import Described, rate, rejection, run

BATCH = 4000


def measure(space: Described) -> dict[str, Any]:
    decisions = space.decisions()
    start = described.now()
    made = ConfigurationSpace(seed=0)
    known = [Categorical(f"d{k}", list(range(len(d.options)))) for k, d in enumerate(decisions)]
    made.add(known)
    made.add(
        [
            InCondition(known[k], known[d.parent], d.when)
            for k, d in enumerate(decisions)
            if d.parent is not None
        ]
    )
    size = made.estimate_size()
    built = described.now() - start
    # ConfigSpace orders vectors by its own rule.
    columns = [list(made).index(f"d{k}") for k in range(len(decisions))]

    def drawn() -> np.ndarray:
        vectors = np.array([c.get_array() for c in made.sample_configuration(BATCH)])
        return np.nan_to_num(vectors[:, columns]).astype(np.int64)

    return {
        "version": version("ConfigSpace"),
        "figures": {
            "size": {
                "value": built,
                "note": "equal" if size == space.size else f"an upper bound: {size:.2e}",
            },
            "sample": {"value": rate(lambda: len(made.sample_configuration(BATCH)), space.seconds)},
            **rejection(space, drawn),
        },
        "cannot": [
            "anything about costs: minimum, maximum, expectation, gradient, count, histogram"
        ],
    }


if __name__ == "__main__":
    run(measure)
