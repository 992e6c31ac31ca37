"""From text to syntax tree. The grammar is ``grammars/tsnet.lark``.

`tables`       the LALR(1) tables that Lark computes from the grammar
`lexer`        text -> tokens and comments
`parser`       tokens -> tree, with recovery
`tree_builder` one function for each production
`expectation`  the wording of syntax errors
`ast`          the tree
"""
