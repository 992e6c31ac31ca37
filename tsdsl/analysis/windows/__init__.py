"""How much of a space lies in windows of its costs: exact, or between proven bounds.

`window`       counts, masses, histograms and quantiles
`spread`       how costs are spread: by the first of the next three that there is room for
`merged`       all distinct costs with their weights, while they are few
`listing`      all architectures in windows, while they are few
`characteristic` the mean of phases of a cost: every question about large spaces
`edges`        what a characteristic function proves of the mass between two costs
`joint`        the same for several costs at once
`tilted`       weights that make windows likely, for questions about tails
"""
