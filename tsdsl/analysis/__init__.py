"""What a space costs and holds, exactly, from tables over its decisions.

`items`        one frozen network, operation by operation (no numpy)
`factors`      the cost of a whole space as a sum of small tables, and what holds of its decisions
`costs`        many architectures at once, validated
`lookup`       costs by option indices, millions a second, or one architecture in microseconds
`eliminate`    variable elimination over tables, in any semiring
`count`        how many architectures there are

What is asked often runs over one plan that is made once:

`distribution` a categorical for each decision, and its file
`engine`       what is known of one space, each made on first use
`program`      the elimination of all decisions, planned
`optimum`      the least of a sum of tables, and how far from it each option is
`bounds`       minimum and maximum of a cost, each with an architecture that reaches it
`expectation`  mean, variance and gradient of a cost
`breakdown`    the mean by stream, stage, block or kind of operation
`phases`       a cost in each phase of a progressive search
`summary`      all of these at once, for `tsdsl space`

Within budgets:

`listing`      all architectures in windows of their costs, while they are few
`resolved`     weight by cost on a grid, with the bounds of all rounding
`merged`       all distinct costs with their weights, while they are few
`characteristic` the mean of phases of a cost: every question about large spaces
`edges`        what a characteristic function proves of the mass between two costs
`joint`        the same for several costs at once
`spread`       how costs are spread: the first of these three that there is room for
`window`       counts, masses, histograms and quantiles: exact, or proven bounds
`draw`         draws from a grid, backwards
`tilted`       weights that make several budgets likely at once
`inside`       draws within windows: from a grid, tilted, turned away by their exact cost
`completed`    the same for windows so narrow that a grid hardly ever hits them
`relaxed`      what is drawn from where requirements are too coupled to plan for
`nearest`      what is told where windows are empty
`conditioned`  distinct architectures, within budgets or without, exactly distributed
`probable`     the most probable architectures within budgets
"""
