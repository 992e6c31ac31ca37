"""The intermediate representation, from a whole space down to one network.

`values`        tables over decisions
`op`            what a primitive operation is
`graph`         the unrolled graph of a space
`space`         decisions, constraints and graph together
`decision_groups`  a space some of whose decisions are made jointly
`stream_subset`  a space of which only some streams exist
`architecture`  one choice for each decision
`network`       one architecture's graph, all numbers
`freeze`        (space, architecture) -> network
"""
