"""Weights of networks: files, and their names in other code bases.

| file | does |
|---|---|
| `file` | safetensors files of ours; giving what a file has to a network |
| `reading` | what is in a file, safetensors or torch's; nothing of it is executed |
| `scheme` | a key map as data, read in both directions |
| `schemes` | the key maps: PySlowFast and pytorchvideo, X3D and SlowFast |
| `fit` | from a file's tensors to those of a network, with everything that does not fit |
"""
