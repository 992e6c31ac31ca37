"""Exact queries by variable elimination, in any semiring.

`eliminate`        elimination over tables, planned for one query
`count`            the number of architectures
`bucket_tree`      the elimination of all decisions, planned once for many queries
`table_rows`       tables over variables as rows and options
`cache`            the plans, tables and answers of one space

Queries over a bucket tree:

`optimum`          the minimum of a sum of tables, and how far from it each option leads
`bounds`           the minimum and maximum of a cost, each with an architecture
`expectation`      mean, variance and gradient of a cost
`conditionals`     a distribution as conditional probabilities, in logarithms
`breakdown`        the mean by stream, stage, block or kind of operation
`phases`           the cost in each phase of a progressive search
`configurations`   the operations, arguments and shapes that some architecture has
`coverage`         whether a cost table has all of these

`no_architecture`  the errors of queries that no architecture can answer
"""
