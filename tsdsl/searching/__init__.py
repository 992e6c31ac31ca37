"""Searching a space with a supernet: PARSEC and its cost term.

| file | does |
|---|---|
| `distribution` | the logits that are learned: alpha; its probabilities, gradients, samples |
| `cost` | budgets -> the gradient that pulls alpha into them, sampled or exact |
| `step` | K architectures and a batch -> gradients of the weights and of alpha |
| `online` | its gradients without its graphs: a softmax whose terms come one by one |
| `plan` | the phases of the spec in steps; what stands in each; the exact choice within a budget |
| `searcher` | the loop: phase after phase, an event for each step |
| `unused` | the weights that a phase's optimiser leaves alone |
| `defaults` | defaults that the command line shares |
| `run` | everything that a search needs, put together; its folder |
| `report`, `alpha_image` | its log, the distribution over time, TensorBoard |
| `history` | these read again, for figures |
| `foresight` | choices that later budgets allow; what strands; phase costs in budgets |
| `expense` | what a search will take, before it runs |
| `jobs`, `random`, `ranking` | architectures at random, their trainings, the report |
| `evolution` | which architectures to measure next |
| `inherited`, `evolve` | their scores with the weights of a supernet; a whole run of it |

The first four move no parameter and draw from no generator with a state: optimisers, phases and
files are those of the others.
"""
