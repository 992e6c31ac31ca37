"""What operations cost.

`items`        one frozen network, operation by operation (no numpy)
`cost_table`   a cost that is looked up: a value for each operation with its arguments and shapes
`cost_file`    such a table as a file
`factors`      the cost of a whole space as a sum of small tables, and what holds of its decisions
`assignments`  architectures as numbers: which value each variable has
`lookup`       costs by option indices, millions a second, or one architecture in microseconds
`rank`         how well one order predicts another
"""
