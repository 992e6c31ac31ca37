"""The key maps. Our names are those of specs/x3d*.tsnet and specs/slowfast_r50*.tsnet.

Names of PySlowFast are from facebookresearch/SlowFast: slowfast/models/stem_helper.py,
resnet_helper.py, operators.py, head_helper.py, batchnorm_helper.py, video_model_builder.py. Names
of pytorchvideo are from facebookresearch/pytorchvideo: pytorchvideo/models/x3d.py, slowfast.py,
resnet.py, head.py, stem.py.
"""

from __future__ import annotations

from tsdsl.weights.scheme import Pairs, Scheme, within

_STAGES_FROM_2: Pairs = (("2", "1"), ("3", "2"), ("4", "3"), ("5", "4"))

_BLOCK_OF_PYSLOWFAST: Pairs = (
    ("branch1", "projection.conv"),
    ("branch1_bn", "projection.bn"),
    ("branch2.a", "conv1"),
    ("branch2.a_bn", "bn1"),
    ("branch2.b", "conv2"),
    ("branch2.b_bn", "bn2"),
    ("branch2.c", "conv3"),
    ("branch2.c_bn", "bn3"),
)

PYSLOWFAST_X3D = Scheme(
    name="pyslowfast-x3d",
    signature="s1.pathway0_stem.conv_xy.weight",
    modules=(
        # conv_xy is the spatial convolution, which comes first; conv is the temporal one.
        ("s1.pathway0_stem.conv_xy", "main.stem.conv1"),
        ("s1.pathway0_stem.conv", "main.stem.conv2"),
        ("s1.pathway0_stem.bn", "main.stem.bn"),
        *within(
            "s{stage}.pathway0_res{block}",
            "main.s{stage}.{block}",
            (
                *_BLOCK_OF_PYSLOWFAST,
                ("branch2.se.fc1", "squeeze_excite.conv1"),
                ("branch2.se.fc2", "squeeze_excite.conv2"),
            ),
        ),
        ("head.conv_5", "head.x3d_head.conv1"),
        ("head.conv_5_bn", "head.x3d_head.bn"),
        ("head.lin_5", "head.x3d_head.conv2"),
        ("head.projection", "head.x3d_head.linear"),
    ),
    fields={"stage": _STAGES_FROM_2},
)

PYSLOWFAST_SLOWFAST = Scheme(
    name="pyslowfast-slowfast",
    signature="s1_fuse.conv_f2s.weight",
    modules=(
        ("s1.pathway{stream}_stem.conv", "{stream}.stem.conv"),
        ("s1.pathway{stream}_stem.bn", "{stream}.stem.bn"),
        *within(
            "s{stage}.pathway{stream}_res{block}",
            "{stream}.res{stage}.{block}",
            _BLOCK_OF_PYSLOWFAST,
        ),
        ("{place}_fuse.conv_f2s", "fuse.fast_to_slow.{place}.conv"),
        ("{place}_fuse.bn", "fuse.fast_to_slow.{place}.bn"),
        ("head.projection", "head.slowfast_head.linear"),
    ),
    fields={
        "stream": (("0", "slow"), ("1", "fast")),
        "place": (("s1", "stem"), ("s2", "res2"), ("s3", "res3"), ("s4", "res4")),
        "stage": (("2", "2"), ("3", "3"), ("4", "4"), ("5", "5")),
    },
)

_BLOCK_OF_PYTORCHVIDEO: Pairs = (
    ("branch1_conv", "projection.conv"),
    ("branch1_norm", "projection.bn"),
    ("branch2.conv_a", "conv1"),
    ("branch2.norm_a", "bn1"),
    ("branch2.conv_b", "conv2"),
    ("branch2.conv_c", "conv3"),
    ("branch2.norm_c", "bn3"),
)

PYTORCHVIDEO_X3D = Scheme(
    name="pytorchvideo-x3d",
    signature="blocks.0.conv.conv_t.weight",
    modules=(
        # pytorchvideo calls the spatial convolution conv_t, and the temporal one conv_xy.
        ("blocks.0.conv.conv_t", "main.stem.conv1"),
        ("blocks.0.conv.conv_xy", "main.stem.conv2"),
        ("blocks.0.norm", "main.stem.bn"),
        *within(
            "blocks.{stage}.res_blocks.{block}",
            "main.s{stage}.{block}",
            (
                *_BLOCK_OF_PYTORCHVIDEO,
                ("branch2.norm_b.0", "bn2"),
                ("branch2.norm_b.1.block.0", "squeeze_excite.conv1"),
                ("branch2.norm_b.1.block.2", "squeeze_excite.conv2"),
            ),
        ),
        ("blocks.5.pool.pre_conv", "head.x3d_head.conv1"),
        ("blocks.5.pool.pre_norm", "head.x3d_head.bn"),
        ("blocks.5.pool.post_conv", "head.x3d_head.conv2"),
        ("blocks.5.proj", "head.x3d_head.linear"),
    ),
    fields={"stage": (("1", "1"), ("2", "2"), ("3", "3"), ("4", "4"))},
    # Shortcuts have a normalisation only where the width changes.
    unnormalised=(
        ("main.s{stage}.{block}.projection.bn", "main.s{stage}.{block}.projection.conv"),
    ),
)

PYTORCHVIDEO_SLOWFAST = Scheme(
    name="pytorchvideo-slowfast",
    signature="blocks.0.multipathway_fusion.conv_fast_to_slow.weight",
    modules=(
        ("blocks.0.multipathway_blocks.{stream}.conv", "{stream}.stem.conv"),
        ("blocks.0.multipathway_blocks.{stream}.norm", "{stream}.stem.bn"),
        *within(
            "blocks.{stage}.multipathway_blocks.{stream}.res_blocks.{block}",
            "{stream}.{stage}.{block}",
            (*_BLOCK_OF_PYTORCHVIDEO, ("branch2.norm_b", "bn2")),
        ),
        (
            "blocks.{place}.multipathway_fusion.conv_fast_to_slow",
            "fuse.fast_to_slow.{place}.conv",
        ),
        ("blocks.{place}.multipathway_fusion.norm", "fuse.fast_to_slow.{place}.bn"),
        ("blocks.6.proj", "head.slowfast_head.linear"),
    ),
    fields={
        "stream": (("0", "slow"), ("1", "fast")),
        "place": (("0", "stem"), ("1", "res2"), ("2", "res3"), ("3", "res4")),
        "stage": (("1", "res2"), ("2", "res3"), ("3", "res4"), ("4", "res5")),
    },
)

SCHEMES = (PYSLOWFAST_X3D, PYSLOWFAST_SLOWFAST, PYTORCHVIDEO_X3D, PYTORCHVIDEO_SLOWFAST)

#: Prefixes of all keys of a wrapped network: DistributedDataParallel, torch.compile, and
#: PySlowFast's models that wrap pytorchvideo's (ptv_model_builder.py).
WRAPPERS = ("module.", "_orig_mod.", "model.")

#: SubBatchNorm3d of PySlowFast normalises parts of a batch. A layer gets the statistics of ``bn``,
#: which are used in evaluation, and the counter of ``split_bn``, as in sub_to_normal_bn of
#: slowfast/utils/checkpoint.py.
SUB_BATCH_NORM = (
    ("bn.running_mean", "running_mean"),
    ("bn.running_var", "running_var"),
    ("split_bn.num_batches_tracked", "num_batches_tracked"),
)
#: A key that every SubBatchNorm3d has, and no other layer.
SUB_BATCH_SIGNATURE = "split_bn.running_mean"
SUB_BATCH_DROPPED = ("bn.num_batches_tracked", "split_bn.running_mean", "split_bn.running_var")
