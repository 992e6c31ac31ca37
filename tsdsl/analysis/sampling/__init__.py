"""Architectures of a space, within budgets or without.

`sampler`  architectures that are distinct networks, exactly distributed, by the ways below
`rejection`  where windows are common: all decisions at once, those outside turned away
`window_sampler`       where they are not: from a grid, tilted, turned away by their exact cost
`cost_grid`     the grid: weight by cost, with the bounds of all rounding
`backward_sampling`         draws from a grid, backwards
`meet_in_the_middle`    windows so narrow that a grid hardly ever hits them
`dropped_requirements`      requirements that are too coupled to plan for
`explain_empty`      what is told where windows are empty
`most_probable`     the most probable architectures within budgets
`most_probable_networks`  of these, the first of each network
"""
