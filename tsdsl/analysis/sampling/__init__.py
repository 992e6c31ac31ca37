"""Architectures of a space, within budgets or without.

`conditioned`  architectures that are distinct networks, exactly distributed, by the ways below
`independent`  where windows are common: all decisions at once, those outside turned away
`inside`       where they are not: from a grid, tilted, turned away by their exact cost
`resolved`     the grid: weight by cost, with the bounds of all rounding
`draw`         draws from a grid, backwards
`completed`    windows so narrow that a grid hardly ever hits them
`relaxed`      requirements that are too coupled to plan for
`nearest`      what is told where windows are empty
`probable`     the most probable architectures within budgets
`probable_networks`  of these, the first of each network
"""
