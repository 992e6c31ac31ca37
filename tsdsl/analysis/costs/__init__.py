"""What operations cost.

`configuration`  an operation as it runs: name, arguments, shapes of its inputs
`cost`           what a cost is: a sum over operations, which peak memory is not
`counted`        costs that are computed by a rule: one file and one line of a tuple each
`cost_table`     a cost that is measured: a value for each configuration
`cost_file`      such a table as a file
`named`          from the name of a cost to the cost
`items`          one frozen network, operation by operation (no numpy)
`factors`        the cost of a whole space as a sum of small tables, and its constraints as tables
`assignments`    architectures as numbers: which value each variable has
`lookup`         costs by option indices, millions a second, or one architecture in microseconds
`rank`           how well one order predicts another
"""
