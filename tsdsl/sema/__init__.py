"""Semantic analysis: from syntax trees to the graph of a space.

`check`                  the whole analysis of a file, one pass after the other
`modules`                files and their imports
`block_names`            names, arguments and recursion of blocks, from their text alone
`block_types`            types of the values in blocks, from their text alone
`merge`                  ``extends``: a space laid over its base
`unused_additions`       what an extending space adds and nothing uses
`interpreter`            expressions: every value is a table over decisions
`builder`                a space's statements to its graph; it has an interpreter
`settings`               the search, train and evaluate sections (`sections` are their documents,
                         `setting_overrides` the ``--set`` of them)
`reachability`           which faults some architecture reaches
`ineffective_decisions`  decisions that do not change the network
`document`               the validated spec as a document
"""
