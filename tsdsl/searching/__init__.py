"""Searching a space with a supernet: PARSEC and its cost term.

| file | does |
|---|---|
| `distribution` | P(A | alpha): the logits that are learned; probabilities, gradients, samples |
"""
