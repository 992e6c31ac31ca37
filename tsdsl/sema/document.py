"""The validated spec as a document: what ``tsdsl check --dump`` prints.

A program reads it instead of the language: all values are computed, all decisions have their
options. It can be written to JSON and read back to an equal document; the JSON schema is
``docs/schema/spec.json``.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tsdsl.ir.graph import BlockInfo, CallNode, Region, Switch
from tsdsl.ir.space import DecisionKind, SpaceGraph
from tsdsl.sema.functions import show
from tsdsl.sema.sections import Evaluate, Search, Train
from tsdsl.sema.settings import Sections

Scalar = int | float | bool | str


class Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, allow_inf_nan=False)


class InputDocument(Document):
    channels: int = Field(ge=1)
    frames: int = Field(ge=1)
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    interval: int = Field(ge=1, description="every how many frames of the video one is taken")


class DecisionDocument(Document):
    path: str
    kind: DecisionKind
    options: tuple[Scalar, ...] = Field(min_length=1, description="as arch.json has them")
    weights: tuple[float, ...] | None = Field(description="relative; null for uniform")
    default: Scalar
    conditional: bool = Field(description="whether some architectures do not make this decision")
    doc: str


class StreamDocument(Document):
    name: str
    points: tuple[str, ...] = Field(description="its stem and stages, in order")


class RequirementDocument(Document):
    condition: str
    message: str


class BlockDocument(Document):
    name: str
    doc: str
    tensors: tuple[str, ...]
    params: tuple[str, ...]


class SpecDocument(Document):
    """A validated space."""

    format: Literal["tsnet-spec/1"] = "tsnet-spec/1"
    name: str
    doc: str
    hash: str
    params: dict[str, Scalar] = Field(description="values after --set; sizes as text, 1x2x2")
    input: InputDocument
    streams: tuple[StreamDocument, ...]
    decisions: tuple[DecisionDocument, ...]
    requirements: tuple[RequirementDocument, ...]
    moved: dict[str, str] = Field(description="earlier decision path -> today's")
    blocks: tuple[BlockDocument, ...] = Field(description="every block that the space uses")
    search: Search | None
    train: Train | None
    evaluations: tuple[Evaluate, ...]


def describe(space: SpaceGraph, sections: Sections) -> SpecDocument:
    """The document of a space."""
    channels, frames, height, width = space.clip.shape.value
    blocks: dict[int, BlockInfo] = {}
    _blocks(space.root, blocks)
    return SpecDocument(
        name=space.name,
        doc=space.doc,
        hash=space.hash,
        params={
            name: show(value) if isinstance(value, tuple) else value
            for name, value in space.params.items()
        },
        input=InputDocument(
            channels=channels, frames=frames, height=height, width=width, interval=space.interval
        ),
        streams=tuple(
            StreamDocument(name=name, points=points) for name, points in space.streams.items()
        ),
        decisions=tuple(
            DecisionDocument(
                path=d.path,
                kind=d.kind,
                options=d.options,
                weights=d.weights,
                default=d.options[d.default],
                conditional=bool(d.guards),
                doc=d.doc,
            )
            for d in space.decisions
        ),
        requirements=tuple(
            RequirementDocument(condition=r.text, message=r.message) for r in space.requirements
        ),
        moved=dict(space.moved),
        blocks=tuple(
            BlockDocument(name=b.name, doc=b.doc, tensors=b.tensors, params=b.params)
            for b in blocks.values()
        ),
        search=sections.search,
        train=sections.train,
        evaluations=sections.evaluations,
    )


def _blocks(region: Region, found: dict[int, BlockInfo]) -> None:
    for node in region.nodes:
        if isinstance(node, CallNode):
            found.setdefault(id(node.block), node.block)
            _blocks(node.body, found)
        elif isinstance(node, Switch):
            for case in node.cases:
                _blocks(case, found)
