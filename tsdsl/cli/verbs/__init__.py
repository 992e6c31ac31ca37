"""One file for each verb of the command line, and nothing else."""
