"""Text to syntax tree. The grammar is ``grammars/tsnet.lark``.

`tables`       what Lark makes of the grammar
`lexer`        text -> tokens and comments
`parser`       tokens -> tree, with recovery
`builder`      one function for each production
`expectation`  the wording of syntax errors
`ast`          the tree
"""
