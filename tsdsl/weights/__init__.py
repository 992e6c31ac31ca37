"""Weights of networks: files, and names of weights in other code bases.

| file | does |
|---|---|
| `weight_files` | writes safetensors files; loads a file into a network |
| `reading` | reads tensors from safetensors files and from torch's, without executing anything |
| `torch_files`, `pickles` | the format of ``torch.save`` |
| `scheme` | a key map as data, applied in both directions |
| `schemes` | the key maps: PySlowFast and pytorchvideo, X3D and SlowFast |
| `matching` | matches a file's tensors to a network's, and reports everything that does not fit |
"""
