"""What the search, train and evaluate sections of a spec may say, as validated documents.

Sources of the defaults: the supplement of Auto-TSNet (Gong et al., ICCV 2021), sections 1 and 3,
and its tables 2 and 3; where it is silent, the default is an assumption and says so.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tsdsl.syntax.printer import time

_CONFIG = ConfigDict(frozen=True, extra="forbid", defer_build=True, allow_inf_nan=False)


class Section(BaseModel):
    model_config = _CONFIG


def _kind(value: Any) -> Any:
    """A bare word (``sgd``) is the kind without arguments."""
    return {"kind": value} if isinstance(value, str) else value


# Strict: "0.4" is no number and a number is no switch.
Positive = Annotated[float, Field(gt=0, strict=True)]
NotNegative = Annotated[float, Field(ge=0, strict=True)]
Fraction = Annotated[float, Field(ge=0, lt=1, strict=True)]
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
Switch = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(ge=1, le=10**9, strict=True)]
Pair = tuple[Annotated[int, Field(strict=True)], Annotated[int, Field(strict=True)]]


class Sgd(Section):
    kind: Literal["sgd"] = "sgd"
    momentum: Fraction = 0.9
    weight_decay: NotNegative = 5e-5
    nesterov: Switch = False


class Adam(Section):
    kind: Literal["adam"] = "adam"
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    weight_decay: NotNegative = 0.0


Optimizer = Annotated[Sgd | Adam, BeforeValidator(_kind), Field(discriminator="kind")]


class Cosine(Section):
    """Half-period cosine decay to 0 after a linear warm-up."""

    kind: Literal["cosine"] = "cosine"
    warmup_epochs: NotNegative = 0.0
    #: Learning rate at the first step of the warm-up, as a share of the full one (assumed).
    warmup_start: Share = 0.0


class Constant(Section):
    kind: Literal["constant"] = "constant"
    warmup_epochs: NotNegative = 0.0
    warmup_start: Share = 0.0


Schedule = Annotated[Cosine | Constant, BeforeValidator(_kind), Field(discriminator="kind")]


class Adaptive(Section):
    """As many samples as ``factor`` times the entropy of the distribution (FP-NAS)."""

    kind: Literal["adaptive"] = "adaptive"
    factor: Positive = 0.25


class Budget(Section):
    """A window for the cost of the architecture that a search ends with.

    ``cost`` is ``flops``, ``params``, or the name of a cost for which a table is given; a latency
    is in nanoseconds. ``weight`` is beta of equation 3: how strongly a learned distribution is
    pulled into the window.
    """

    cost: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    low: NotNegative
    high: Positive
    weight: NotNegative = 0.0

    @model_validator(mode="after")
    def _ordered(self) -> Budget:
        if self.low > self.high:
            low, high = f"{self.low:g}", f"{self.high:g}"
            if self.cost == "latency":
                low, high = time(int(self.low)), time(int(self.high))
            raise ValueError(f"the budget is empty: {low} is more than {high}")
        return self


class Rates(Section):
    """Learning rates of a phase."""

    weights: Positive


class PhaseSettings(Section):
    """One phase of a search: which part of the space it runs, and for how long."""

    name: str
    #: The streams that exist in it; empty for all.
    streams: tuple[str, ...] = ()
    #: Paths of decisions, or their beginnings, that the phase decides; empty for all.
    learn: tuple[str, ...] = ()
    epochs: Positive
    lr: Rates
    #: Share of the epochs in which only weights are trained.
    warmup: Share = 0.0
    budgets: tuple[Budget, ...] = ()


class SearchSettings(Section):
    """The settings that every search algorithm has. Each algorithm adds its own in a subclass,
    which is one member of `Search`."""

    algorithm: str
    #: Clips of a step, over all processes.
    batch: Count = 256
    #: Optimiser of the supernet's weights.
    weights: Optimizer = Field(default_factory=Sgd)
    budgets: tuple[Budget, ...] = ()
    phases: tuple[PhaseSettings, ...] = ()

    @property
    def schedule(self) -> tuple[PhaseSettings, ...]:
        """The phases that run, one after the other; empty where the section names none."""
        return self.phases


class ParsecRates(Rates):
    arch: Positive


class ParsecPhase(PhaseSettings):
    """One phase of a progressive search: the decisions that it learns have to be named."""

    learn: tuple[str, ...]
    lr: ParsecRates
    warmup: Share = 0.25


class ParsecSettings(SearchSettings):
    """PARSEC (Casale et al., arXiv 1902.05116) in the phases of Auto-TSNet."""

    algorithm: Literal["parsec"]
    #: Architectures of a step.
    samples: Annotated[int, Field(ge=1, le=10**6, strict=True)] | Adaptive = 13
    #: Divides the log-likelihood of a batch; "sum" and "mean" are its two readings (assumed).
    temperature: Positive = 1.0
    likelihood: Literal["sum", "mean"] = "mean"
    baseline: Switch = True
    #: Epoch from which decisions of one block are distributed jointly (FP-NAS); 0 for never.
    joint_from: Annotated[int, Field(ge=0, strict=True)] = 0
    #: Whether alpha learns from the clips of the weights, or from a second half of the list.
    data: Literal["shared", "split"] = "shared"
    #: Optimiser of alpha, the logits of the distribution.
    arch: Optimizer = Field(default_factory=Adam)
    phases: tuple[ParsecPhase, ...] = ()


class EvolutionSettings(Section):
    """Evolution over a trained supernet, with the settings of SPOS (arXiv 1904.00420)."""

    kind: Literal["evolution"] = "evolution"
    #: Candidates of a generation.
    population: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 50
    #: Number of generations, the random first one included.
    generations: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 20
    #: How many of the best so far have children.
    parents: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 10
    #: Share of a generation that has two parents; the others are mutations of one.
    crossover: Share = 0.5
    #: Probability that a decision of a mutation changes.
    mutation: Annotated[float, Field(gt=0, le=1, strict=True)] = 0.1
    #: Top-1, then the lower cross-entropy; or the lower cross-entropy alone.
    fitness: Literal["accuracy", "loss"] = "accuracy"
    #: Training batches for the running statistics of a candidate; 0 for those of the supernet.
    bn_batches: Annotated[int, Field(ge=0, le=10**6, strict=True)] = 10


class UniformSettings(SearchSettings):
    """Uniform single-path training (SPOS, Guo et al., arXiv 1904.00420), and the evolution that
    selects an architecture at its end."""

    algorithm: Literal["uniform"]
    #: Architectures of a step, of which the mean loss is trained.
    samples: Annotated[int, Field(ge=1, le=10**6, strict=True)] = 1
    #: Whether the architectures of a step are drawn within the budgets.
    within_budgets: Switch = False
    epochs: Positive
    #: Learning rate of the weights at the first step.
    lr: Positive
    select: Annotated[EvolutionSettings, BeforeValidator(_kind)] = Field(
        default_factory=EvolutionSettings
    )

    @model_validator(mode="after")
    def _without_phases(self) -> UniformSettings:
        if self.phases:
            raise ValueError("'search uniform' has no phases: it trains the whole space at once")
        return self

    @property
    def schedule(self) -> tuple[PhaseSettings, ...]:
        """One phase with all streams and all decisions."""
        lr = Rates(weights=self.lr)
        return (PhaseSettings(name="uniform", epochs=self.epochs, lr=lr),)


#: The settings of each search algorithm. A section is validated by the class whose ``algorithm``
#: it names; a new algorithm adds its class here.
SearchUnion = ParsecSettings | UniformSettings
Search = Annotated[SearchUnion, Field(discriminator="algorithm")]
SEARCHES: tuple[type[SearchSettings], ...] = get_args(SearchUnion)


def name_of(settings: type[SearchSettings]) -> str:
    """How a search section names the algorithm that has these settings."""
    (name,) = get_args(settings.model_fields["algorithm"].annotation)
    return str(name)


class Train(Section):
    init: Literal["he"] = "he"
    optimizer: Optimizer = Field(default_factory=Sgd)
    lr: Positive = 0.4
    schedule: Schedule = Field(default_factory=lambda: Cosine(warmup_epochs=34))
    epochs: Positive = 300
    batch: Count = 256
    label_smoothing: Fraction = 0.0
    mixed_precision: Switch = False
    ema: Fraction = 0.0
    clip_gradient: NotNegative = 0.0
    augment: Literal["none", "autoaugment"] = "none"
    flip: Switch = True
    #: Limits of the short side, in pixels, from which one is drawn for each clip.
    jitter: Pair | None = None
    crop: Count | None = None

    @model_validator(mode="after")
    def _sensible(self) -> Train:
        if self.jitter is not None:
            low, high = self.jitter
            if not 1 <= low <= high:
                raise ValueError(f"jitter {low}..{high} is no range of sizes")
            if self.crop is not None and self.crop > low:
                raise ValueError(f"a crop of {self.crop} does not fit a short side of {low}")
        return self


class Evaluate(Section):
    """``clips`` uniform clips of a video, each with the given crops; scores are averaged."""

    name: str
    clips: Count = 10
    crops: Literal["center", "left_center_right"] = "center"
    crop: Count | None = None
    #: Short side in pixels; None for the crop.
    short_side: Count | None = None

    @property
    def views(self) -> int:
        return self.clips * (3 if self.crops == "left_center_right" else 1)
