"""Semantic analysis: from syntax trees to the graph of a space.

`check`                  the whole analysis of a file, one pass after the other
`modules`                files and their imports
`block_names`            names, arguments and recursion of blocks, from their text alone
`block_types`            types of the values in blocks, from their text alone
`merge`                  ``extends``: a space laid over its base
`unused_additions`       what an extending space adds and nothing uses
`elaborate`              a space's statements: `streams` and what joins them, `stages` of blocks,
                         `declare` what any part may hold, `decide` decisions, `evaluate`
                         expressions, `apply` operations
`settings`               the search, train and evaluate sections (`sections` are their documents,
                         `setting_overrides` the ``--set`` of them)
`reachability`           which faults some architecture reaches
`ineffective_decisions`  decisions that do not change the network
`document`               the validated spec as a document
"""
