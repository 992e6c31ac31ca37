"""The primitive operations: one file and one line of `OPS` each.

A file holds all that there is to know of an operation (`tsdsl.ir.op.Op`): its arguments, the rule
for its shape, what it learns, what it costs, and how torch computes it. Everything else a spec
uses is a block of the standard library, or an operation of another package (`registry`).
"""

from __future__ import annotations

from tsdsl.ir.op import Op
from tsdsl.ops.add import Add
from tsdsl.ops.avg_pool import AvgPool
from tsdsl.ops.bn import BatchNorm
from tsdsl.ops.channel_shuffle import ChannelShuffle
from tsdsl.ops.channel_slice import ChannelSlice
from tsdsl.ops.concat import Concat
from tsdsl.ops.conv import Conv
from tsdsl.ops.dropout import Dropout
from tsdsl.ops.flatten import Flatten
from tsdsl.ops.gelu import Gelu
from tsdsl.ops.global_avg_pool import GlobalAvgPool
from tsdsl.ops.hardswish import HardSwish
from tsdsl.ops.identity import Identity
from tsdsl.ops.linear import Linear
from tsdsl.ops.matmul import Matmul
from tsdsl.ops.max_pool import MaxPool
from tsdsl.ops.mul import Mul
from tsdsl.ops.registry import Operations, UnusableOperation
from tsdsl.ops.relu import Relu
from tsdsl.ops.sigmoid import Sigmoid
from tsdsl.ops.softmax import Softmax
from tsdsl.ops.swish import Swish
from tsdsl.ops.tanh import Tanh
from tsdsl.ops.time_sample import TimeSample
from tsdsl.ops.time_to_channel import TimeToChannel
from tsdsl.ops.transpose import Transpose
from tsdsl.ops.unflatten import Unflatten

OPS: tuple[type[Op], ...] = (
    Conv,
    BatchNorm,
    Relu,
    Swish,
    Sigmoid,
    Gelu,
    HardSwish,
    Tanh,
    MaxPool,
    AvgPool,
    GlobalAvgPool,
    Dropout,
    Linear,
    Softmax,
    Add,
    Mul,
    Concat,
    Matmul,
    Transpose,
    Flatten,
    Unflatten,
    TimeSample,
    TimeToChannel,
    ChannelSlice,
    ChannelShuffle,
    Identity,
)

#: All operations by the name that a spec uses, those of other packages included.
BY_NAME = Operations(OPS)

__all__ = ["BY_NAME", "OPS", "UnusableOperation"]
