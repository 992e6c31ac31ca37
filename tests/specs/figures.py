"""What the specs must come to, and the reference architectures of the Auto-TSNet spaces.

Figures of X3D and SlowFast: facebookresearch/SlowFast's networks, counted there. R1 and R2 are
reconstructions whose widths were fitted to table 4 of Auto-TSNet's supplement (without attention):
that their cost agrees with it is a check of consistency, never evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SPECS = ROOT / "specs"
EXAMPLES = ROOT / "examples"

#: Spec -> (parameters, training crop, GMACs, test crop, GMACs, GMACs with the training crop's
#: pooling).
FIXED: dict[str, tuple[int, int, str, int, str, str | None]] = {
    "x3d_xs": (3_794_322, 160, "0.605", 182, "0.839", None),
    "x3d_s": (3_794_322, 160, "1.963", 182, "2.722", "2.727"),
    "x3d_m": (3_794_322, 224, "4.732", 256, "6.181", "6.186"),
    "x3d_l": (6_153_432, 312, "18.368", 356, "24.764", "24.778"),
    "slowfast_r50_4x16": (34_480_216, 224, "27.64", 256, "36.10", None),
    "slowfast_r50_8x8": (34_566_488, 224, "50.31", 256, "65.71", None),
}
#: Parameters without the normalisation on the shortcut that strides and keeps its width.
PYTORCHVIDEO_PARAMS = {
    "x3d_xs": 3_794_274,
    "x3d_s": 3_794_274,
    "x3d_m": 3_794_274,
    "x3d_l": 6_153_384,
}


@dataclass(frozen=True)
class Reference:
    """A member of an Auto-TSNet space with one kernel and one expansion, as in X3D."""

    spec: str
    name: str
    sparse: tuple[int, int, int, int]
    dense: tuple[int, int, int, int]
    depth: tuple[int, int, int, int]
    #: Test crop -> GMACs, and parameters in millions.
    crop: int
    gmacs: str
    mparams: str

    @property
    def path(self) -> Path:
        return SPECS / f"{self.spec}.{self.name.lower()}.arch.json"

    @property
    def decisions(self) -> dict[str, Any]:
        chosen: dict[str, Any] = {}
        for stream, widths in (("sparse", self.sparse), ("dense", self.dense)):
            chosen[f"{stream}.first"] = widths[0]
            for stage, (width, depth) in enumerate(zip(widths, self.depth, strict=True), 1):
                place = f"{stream}.s{stage}"
                if stage > 1:
                    chosen[f"{place}.width"] = width
                chosen[f"{place}.depth"] = depth
                for block in range(depth):
                    chosen[f"{place}[{block}].kernel"] = "3x3x3"
                    chosen[f"{place}[{block}].expand"] = 2.25
        for point in ("stem", "s1", "s2", "s3"):
            chosen[f"fuse.dense->sparse.{point}"] = "v.t_conv(5x1x1)"
        for point in ("s2", "s3", "s4"):
            chosen[f"attend.sparse.{point}"] = "none"
        return chosen

    @property
    def provenance(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "from": "tests/specs/figures.py, written by pytest tests/specs --update-goldens",
            "note": "A reconstruction. Its widths were fitted to table 4 of the supplement of Gong "
            "et al., ICCV 2021 (without attention): agreement with it is no evidence.",
        }


R1 = {"sparse": (48, 88, 136, 304), "dense": (8, 16, 40, 72)}
R2 = {"sparse": (40, 80, 144, 296), "dense": (16, 16, 32, 80)}
SHALLOW, DEEP = (3, 5, 11, 7), (5, 9, 22, 13)

REFERENCES = (
    Reference("auto_tsnet_s", "R1", **R1, depth=SHALLOW, crop=182, gmacs="2.778", mparams="7.740"),
    Reference("auto_tsnet_s", "R2", **R2, depth=SHALLOW, crop=182, gmacs="2.812", mparams="7.664"),
    Reference("auto_tsnet_m", "R1", **R1, depth=SHALLOW, crop=256, gmacs="5.162", mparams="7.740"),
    Reference("auto_tsnet_m", "R2", **R2, depth=SHALLOW, crop=256, gmacs="5.233", mparams="7.664"),
    Reference("auto_tsnet_l", "R1", **R1, depth=DEEP, crop=356, gmacs="18.072", mparams="12.156"),
)


def spec_files() -> list[Path]:
    """Every spec that the project ships, families and examples included."""
    return sorted([*SPECS.glob("*.tsnet"), *EXAMPLES.glob("*.tsnet")])
