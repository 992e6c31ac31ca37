"""Draws `auto_tsnet_s.png`, the picture of the README. Run it in the root of the project."""

from matplotlib.figure import Figure

import tsdsl
from tsdsl import plots

space = tsdsl.load("specs/auto_tsnet_s.tsnet")
figure = Figure(figsize=(9.6, 7.2), layout="constrained")
spread, stages = figure.subplots(2, 1, height_ratios=[1, 1.25])
plots.spread(space, "macs", spread, window=(2.4e9, 2.5e9))
plots.stages(space, ax=stages)
plots.save(figure, "docs/images/auto_tsnet_s.png")
