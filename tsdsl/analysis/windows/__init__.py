"""How much of a space lies in windows of its costs: exact, or between proven bounds.

`window`       counts, masses, histograms and quantiles
`cost_distribution`  how costs are spread: by the first of the next three that is feasible
`distinct_costs`       all distinct costs with their weights, while they are few
`enumeration`      all architectures in windows, while they are few
`characteristic` the mean of phases of a cost: every question about large spaces
`cdf_bounds`        what a characteristic function proves of the mass between two costs
`joint_bounds`        the same for several costs at once
`tilted`       weights that make windows likely, for questions about tails
"""
