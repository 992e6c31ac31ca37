"""Training and evaluating a network on videos.

| file | does |
|---|---|
| `recipe` | what a spec's `train` section and clip ask for, defaults filled in |
| `ranks` | the processes of a run: one, or those of ``torchrun`` |
| `environment` | what ``torchrun`` sets: the place of a process among them |
| `differences` | in what two descriptions of a run differ |
| `schedule`, `optimizer` | the learning rate of a step; groups of parameters |
| `trainer` | the loop: batches in, an event for each step out |
| `checkpoint` | the state of a run on disk: whole or not there, the newest that can be read |
| `folder` | a run's folder: its description, log, checkpoints, weights |
| `session`, `events` | a training as it runs: what it evaluates, saves and tells |
| `run`, `checks` | everything that a training needs, put together; whether it fits each other |
| `identity` | what a resumed run is compared by, what weights say of themselves |
| `failures` | what torch's errors mean to a user |
| `evaluation` | an `evaluate` section and a list of videos -> scores and cost of a network |
| `scoring`, `scores` | all views of all videos -> probabilities -> accuracies |
| `score_files` | the scores of each video as files, and back |
| `dry_run` | classes and cost of a network for clips of some size, before anything is decoded |

Everything random in a step depends on (seed, step, rank) and nothing else, so that a run that is
killed at any moment goes on exactly as it would have.
"""
