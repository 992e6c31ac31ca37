"""Videos as clips: lists of them, decoding, sampling in time, transforms, loaders.

| file | takes -> gives |
|---|---|
| `problems` | the twelve reasons why a video cannot be used |
| `lists` | a CSV, a folder per class -> `VideoList`: paths and labels |
| `sampling` | frames of a video, T x interval -> indices of frames |
| `video`, `images` | a file or a folder of frames, indices -> clip_CTHW (uint8) |
| `opening`, `limits` | a path -> the container in that regular file, and nothing else |
| `orientation` | a display matrix, an image -> the image as it is to be shown |
| `transforms`, `augmentations`, `autoaugment` | clip_CTHW -> clip_CTHW, drawn from a generator |
| `dataset`, `loader` | a list -> batches, and a report of what could not be used |
| `glyphs`, `synth` | options -> clips of digits that move, a data set of them |
| `check` | a list -> everything that is wrong with its videos |

What is drawn for a sample depends on (seed, epoch, index) only, never on workers or ranks.
Only `transforms`, `augmentations`, `autoaugment`, `dataset` and `loader` import torch; only
`video`, `images`, `safe_open`, `orientation` and `synth` import av.
"""
