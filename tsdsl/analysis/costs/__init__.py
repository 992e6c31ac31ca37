"""Costs of operations, networks and spaces.

`configuration`  one operation with its arguments and the shapes of its inputs
`cost`           the contract of a cost: a sum over operations, which peak memory is not
`counted`        costs that are computed by a rule: one file and one line of a tuple each
`cost_table`     a measured cost: a value for each configuration
`cost_file`      such a table as a file
`named`          from the name of a cost to the cost
`items`          the costs of one frozen network, operation by operation (no numpy)
`factors`        the cost of a whole space as a sum of small tables, and its constraints as tables
`assignments`    architectures as arrays of value indices
`lookup`         costs by option indices, millions per second, or one architecture in microseconds
`rank`           correlation of two rankings
"""
