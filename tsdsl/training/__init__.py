"""Training and evaluating a network on videos.

| file | does |
|---|---|
| `recipe` | the settings of a spec's `train` section and clip, with defaults filled in |
| `ranks`, `torchrun` | the processes of a run, and the environment that ``torchrun`` gives them |
| `schedule`, `optimizer` | the learning rate of a step; groups of parameters |
| `trainer` | the loop: takes batches, yields an event for each step |
| `fingerprint`, `fingerprint_diff` | the identity of a run, and differences between two |
| `checkpoint` | the state of a run on disk, and the newest one that can be read |
| `folder` | a run's folder: identity, log, checkpoints, weights |
| `session`, `events` | a training with its evaluations, checkpoints and log |
| `run`, `checks` | a whole training, and whether its parts fit each other |
| `torch_errors` | findings for errors that torch raises |
| `evaluation` | an `evaluate` section and a list of videos -> scores and cost of a network |
| `scoring`, `scores` | all views of all videos -> probabilities -> accuracies |
| `score_files` | reads and writes the scores of each video |
| `dry_run` | number of classes and cost of a network, before anything is decoded |

Everything random in a step depends on (seed, step, rank) only, so that a run that is killed at any
moment continues exactly as it would have.
"""
