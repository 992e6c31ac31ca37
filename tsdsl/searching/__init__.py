"""Search algorithms: the loop that trains a supernet, and the ways to choose an architecture.

| file | contents |
|---|---|
| `algorithm`, `registry` | the protocol of search algorithms, and the list of them |
| `parsec/` | PARSEC: the algorithm, its step, its cost term, joint decisions, its report |
| `uniform/` | uniform single-path training, which ends with an evolution |
| `searcher` | the loop: phase after phase, an event for each step |
| `run` | assembles a search: lists, loaders, supernet, folder, checkpoints |
| `plan`, `estimate` | the phases in steps; the work of a search, estimated before it runs |
| `foresight` | choices that later budgets allow; budgets that cannot be met |
| `distribution` | categorical distributions over the decisions: logits, probabilities, samples |
| `supernet_step` | forward and backward passes of the architectures of one step |
| `windows` | budgets as windows of costs |
| `unused` | keeps weight decay from weights that a phase does not train |
| `running_statistics`, `inherited_weights` | scores of architectures with the supernet's weights |
| `evolution/` | evolution over a trained supernet |
| `random_search/` | random architectures, their trainings, and the ranking of them |
| `events`, `reporter`, `alpha_image`, `history` | events, the log, its figures, its reader |
| `defaults` | defaults that the command line shares |
"""
