"""From text to syntax tree. The grammar is ``grammars/tsnet.lark``.

`tables`       the LALR(1) tables that Lark computes from the grammar
`lexer`        text -> tokens and comments
`parser`       tokens -> tree
`parser_stack` the automaton of the parser, and which tokens may come next
`recovery`     syntax errors: reported, and parsing goes on
`tree_builder` one function for each production
`literals`     numbers, times, sizes and texts
`expectation`  the wording of syntax errors
`ast`          the tree
"""
