"""The builder of a space: from its statements to its graph.

`space_builder`  the statements of a space, in order
`streams`        streams, and the fusions and attentions between them
`stages`         stems, and the blocks of stages, unrolled
`declarations`   what any part of a space may hold: names, bindings, requirements
`draft`          the nodes, decisions and requirements so far
`overrides`      ``--set`` for params and decisions
`moves`          ``moved``: decisions that had another path once

The builder has an interpreter of expressions (`tsdsl.sema.interpreter`), which does not know the
builder.
"""
