"""The command line: one file per verb, each thin over the library.

`__main__`  the entry point: the verbs, and what becomes of errors
`group`     verbs that are imported when they run
`options`   options that several verbs have
`spec`      the spec and the architecture that a command names
`output`    standard output, standard error, colour
"""
