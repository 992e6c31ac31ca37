"""Searching a space with a supernet: PARSEC and its cost term.

| file | does |
|---|---|
| `distribution` | the logits that are learned: alpha; its probabilities, gradients, samples |
| `cost` | budgets -> the gradient that pulls alpha into them, sampled or exact |
| `step` | K architectures and a batch -> gradients of the weights and of alpha |
| `online` | its gradients without its graphs: a softmax whose terms come one by one |

Nothing here moves a parameter or draws from a generator with a state: optimisers, phases and files
are a layer above.
"""
