"""Exact queries of a space: its costs, its size, its distributions. numpy, without torch.

A space is a set of small tables over its decisions, so that everything is computed by variable
elimination rather than by enumeration:

`costs`              costs as tables, one for each operation; costs of given architectures
`logits`             logits of all options in one vector, softmax
`networks`           which architectures are the same network
`distribution_file`  the file of a distribution
`distribution`       a distribution: a categorical for each decision, or group of decisions
`elimination`        counts, minima and maxima, means, gradients
`windows`            how much of a space has its costs in given windows
`sampling`           architectures, drawn or ranked, within windows or without
`summary`            everything at once, for `tsdsl space`

Each imports only those above it.
"""
