"""What a space costs and holds, exactly, from tables over its decisions.

`items`      one frozen network, operation by operation (no numpy)
`factors`    the cost of a whole space as a sum of small tables, and what holds of its decisions
`costs`      one architecture, or many at once: a sum of look-ups
`eliminate`  variable elimination over tables, in any semiring
`bounds`     minimum and maximum, each with an architecture that reaches it
`count`      how many architectures there are
`sample`     architectures drawn from a distribution over the decisions
"""
