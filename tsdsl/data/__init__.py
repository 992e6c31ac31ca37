"""Lists of videos, decoding, sampling in time, transforms, loaders.

| file | takes -> gives |
|---|---|
| `video_problems` | the twelve reasons for which a video cannot be used |
| `lists` | a CSV, a folder per class -> `VideoList`: paths and labels |
| `sampling` | frames of a video, T x interval -> indices of frames |
| `video`, `images` | a file or a folder of frames, indices -> clip_CTHW (uint8) |
| `safe_open`, `pixel_limit` | a path -> the container in that regular file, and nothing else |
| `orientation` | an image, its display matrix or EXIF data -> the image as it is shown |
| `transforms`, `augmentations`, `autoaugment` | clip_CTHW -> clip_CTHW, drawn from a generator |
| `dataset`, `loader` | a list -> batches, and a report of unusable videos |
| `glyphs`, `synth` | options -> clips of moving digits, a data set of them |
| `check` | a list -> facts or a problem for each video |

Random numbers of a sample depend on (seed, epoch, index) only, never on workers or ranks.
Only `transforms`, `augmentations`, `autoaugment`, `dataset` and `loader` import torch; only
`video`, `images`, `safe_open`, `orientation` and `synth` import av.
"""
