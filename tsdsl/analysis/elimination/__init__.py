"""Decisions summed out one by one, in any semiring.

`eliminate`    variable elimination over tables
`count`        how many architectures there are
`distribution` a categorical for each decision, and its file

What is asked often runs over one plan that is made once:

`bucket_tree`      the elimination of all decisions, planned
`cache`       what is known of one space, each made on first use
`coverage`      whether a cost table has all that a space needs
`optimum`      the least of a sum of tables, and how far from it each option is
`bounds`       minimum and maximum of a cost, each with an architecture that reaches it
`expectation`  mean, variance and gradient of a cost
`breakdown`    the mean by stream, stage, block or kind of operation
`phases`       a cost in each phase of a progressive search
`configurations` which operations, with their arguments and shapes, some architecture has
`no_architecture`      what is told where there is no architecture
"""
