"""What a space costs and holds, exactly, from tables over its decisions.

`costs`        what operations cost: small tables, one for each; costs of given architectures
`elimination`  decisions summed out one by one: counts, bounds, means, gradients
`windows`      budgets: how much of a space lies in windows of its costs
`sampling`     architectures: drawn within budgets, or the most probable ones

Imports go upwards in this list. `summary` asks all of them at once, for `tsdsl space`.
"""
