"""From a network to Python source.

`groups`       which calls of a block share a class, by `template`
`constructor`  what a class makes, with `values` named
`forward`      what it computes, by `expression`
`classes`      a block's class
`network`      the top-level class, its stages by `chains`
`initialise`   how parameters start
`naming`, `text`  Python names; literals and broken lines
`quoting`      text of a user: strings, comments, docstrings
`tables`       tables and the calls that hold them, for supernets (`backends/supernet_source`)
"""
