"""The interpreter of expressions: every value is a table over the decisions of the space.

`protocols`    what it needs of the space that is being built
`interpreter`  expressions and the requirements in blocks; it holds the other parts
`names`        what a name or a member refers to, and a record of what was read
`arguments`    arguments bound to the parameters of an operation or block, and checked
`shapes`       shapes of the results of primitive operations
`application`  operations and blocks applied to tensors
`options`      from a written domain to its options
`decisions`    from a domain to a decision, or to the option that ``--set`` chooses

It does not know how a space is built: it never imports `tsdsl.sema.builder`, which holds an
interpreter (a contract of import-linter).
"""
