"""The distribution of costs over a space: exact, or between proven bounds.

`window`             counts, probabilities, histograms and quantiles (the package's face)
`enumeration`        all architectures within windows, while they are few
`network_count`      the number of distinct networks, while architectures are few
`cost_distribution`  the distribution of a cost, by the first feasible one of these:
`distinct_costs`     all distinct costs with their weights, while they are few
`characteristic`     the characteristic function of costs, for spaces of any size
`cdf_bounds`         bounds of the mass below a cost, from a characteristic function
`joint_bounds`       bounds of the mass within windows of several costs at once
`tilted`             exponential tilting, for windows in the tails
"""
