"""Weights of networks: files, and their names in other code bases.

| file | does |
|---|---|
| `file` | tensors by name in a safetensors file, and what is said of them; reading those of torch |
"""
