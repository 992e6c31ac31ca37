"""The training settings of a spec, with all defaults filled in."""

from __future__ import annotations

from typing import Any

from tsdsl.data.sampling import Sampling
from tsdsl.data.transforms import TrainTransform
from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.record import Record
from tsdsl.sema.sections import Train
from tsdsl.space import Space


class Recipe(Record, eq=True):
    """The ``train`` section, the clip, and what follows from both. Sizes are in pixels."""

    train: Train
    sampling: Sampling
    #: Side of the square crop, and range of the short side before cropping.
    crop: int
    low: int
    high: int

    @classmethod
    def of(cls, space: Space) -> Recipe:
        """The recipe of a spec. A spec without a ``train`` section gets the recipe of Auto-TSNet's
        supplement. By default, the crop has the clip's size and the short side the crop's. Raises
        `SpecError`."""
        found = space.sections.train if space.sections else None
        train = found or Train()
        channels, frames, height, width = space.input_shape
        if channels != 3:
            message = f"the clip of '{space.name}' has {channels} channels, videos have 3"
            raise _unfit(space, message, "input clip(channels=3, ...)")
        crop = train.crop
        if crop is None:
            if height != width:
                message = f"the clip of '{space.name}' is {height} x {width}; crops are squares"
                raise _unfit(space, message, "say which square: train { crop = ... }")
            crop = height
        low, high = train.jitter or (crop, crop)
        if crop > low:
            message = f"a crop of {crop} (the clip's) does not fit a short side of {low}"
            raise _unfit(space, message, f"train {{ jitter = {crop}.. }}, or another crop")
        return cls(train, Sampling(frames, space.graph.interval), crop, low, high)

    @property
    def transform(self) -> TrainTransform:
        return TrainTransform(
            self.crop,
            self.low,
            self.high,
            flip=0.5 if self.train.flip else 0.0,
            augment=self.train.augment,
        )

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """Shape of a training clip: channels, frames, height, width."""
        return 3, self.sampling.frames, self.crop, self.crop

    def as_json(self) -> dict[str, Any]:
        return {
            **self.train.model_dump(mode="json"),
            "frames": self.sampling.frames,
            "interval": self.sampling.interval,
            "crop": self.crop,
            "jitter": [self.low, self.high],
        }


def _unfit(space: Space, message: str, hint: str) -> SpecError:
    return SpecError([Diagnostic("E0821", message, file=space.name, help=hint)])
