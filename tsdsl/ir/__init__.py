"""The intermediate representation, from a whole space down to one network.

`values`        tables over decisions
`op`            the contract of a primitive operation
`layout`        positions of a tensor's channels in a supernet
`graph`         the unrolled graph of a space
`space`         decisions, requirements and graph together
`identity`      the hash of a space
`naming`        from paths of the graph to keys of a state dict
`constraints`   the conditions on an architecture, as tables of 0 and 1
`ordering`      elimination orders and their size
`solve`         whether an architecture with given properties exists
`decision_groups`  a space some of whose decisions are made jointly
`stream_subset`  a space of which only some streams exist
`architecture`  one option for each active decision
`arch_file`     architectures as files
`json_text`     reading JSON with the places of its faults
`resolve`       from a user's mapping of decisions to an architecture
`network`       the graph of one architecture, without tables
`freeze`        (space, architecture) -> network
"""
