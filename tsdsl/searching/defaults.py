"""Defaults that the command line and the library share.

They stand apart from the functions that take them, which need torch, so that ``--help`` does not
have to import it.
"""

#: Training batches that the running statistics of what a search finds come from.
SEARCH_BN_BATCHES = 50
#: The same for each candidate of an evolution.
EVOLVE_BN_BATCHES = 10
#: Bytes of clips that an evolution keeps decoded in memory.
EVOLVE_MEMORY = 4_000_000_000
