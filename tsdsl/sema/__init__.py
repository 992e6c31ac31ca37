"""Meaning: from syntax trees to the graph of a space.

`modules`     files and imports
`names`       what can be said of definitions without elaborating them
`merge`       ``extends``
`elaborate`   a space's statements: `streams` and what joins them, `stages` of blocks, `declare`
              what any part may hold, `decide` decisions, `evaluate` expressions, `apply` operations
`settings`    the search, train and evaluate sections (`sections` are their documents)
`reach`       which findings some architecture reaches
`document`    the validated spec as a document
"""
