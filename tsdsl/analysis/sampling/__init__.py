"""Architectures of a space, drawn or ranked, within windows of costs or without.

Drawing, exactly distributed (`sampler` chooses among the ways and is the package's face):

`sampler`                 samples of architectures, distinct or not
`rejection`               independent decisions, rejected where they do not fit
`window_sampler`          rejection from a grid of costs and tilted weights
`cost_grid`               the grid: weight by rounded cost, with bounds of the rounding error
`backward_sampling`       draws from a grid
`meet_in_the_middle`      narrow windows: a subtree of the grid is completed exactly
`subtree_keys`            all exact costs of such a subtree
`completion`              its options, given their costs
`improbable_windows`      windows far from where the distribution has its weight
`dropped_requirements`    requirements that are too coupled to plan for

Ranking:

`lagrangian`              dual bounds, and branch and bound
`most_probable`           the most probable architectures
`most_probable_networks`  the most probable distinct networks

`explain_empty`           the error of windows without an architecture
"""
