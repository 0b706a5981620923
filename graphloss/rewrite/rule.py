"""A rewrite rule: a value that states what it replaces, by what, why, and where it must stay still."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Protocol, TypeAlias

from graphloss.ir.builder import Value
from graphloss.ir.dims import Dim
from graphloss.ir.graph import Attr, Op
from graphloss.ir.tensor import Tensor
from graphloss.ir.types import TensorType
from graphloss.rewrite.pattern import Template, View, compile_pattern, match_op, parameters

NUMERICS: Final = ("exact", "more_accurate", "reassociates", "assumes_finite")


class Surroundings(View, Protocol):
    """What a rule may ask of the graph: what defines a value and of which type it is, never who else uses it."""

    def type_of(self, name: str) -> TensorType: ...

    def value(self, name: str) -> Value: ...

    def same_dim(self, a: Dim, b: Dim) -> bool: ...

    @property
    def notes(self) -> dict[object, object]:
        """What rules have found out about values; a value never changes, so it stays true until the sweep ends."""


@dataclass(frozen=True)
class Match:
    """An op at which a rule may fire, and what its pattern captured."""

    graph: Surroundings
    op: Op
    values: Mapping[str, Value] = field(default_factory=dict)
    attrs: Mapping[str, Attr] = field(default_factory=dict)

    @cached_property
    def inputs(self) -> tuple[Value, ...]:
        return tuple(self.graph.value(n) for n in self.op.inputs)


Result: TypeAlias = Tensor | tuple[Tensor, ...] | None
Condition: TypeAlias = Callable[[Match], bool]


@dataclass(frozen=True)
class Example:
    """A small graph: `feeds` maps names to types ("f32[N, C]"); `build` takes the feeds and gives the value to compute.

    Where a rule fires, `after` builds the graph that must come out.
    """

    feeds: Mapping[str, str]
    build: Callable[..., Tensor]
    after: Callable[..., Tensor] | None = None


@dataclass(frozen=True, eq=False)
class Rule:
    """`before` -> `after` (patterns), or `rewrite` at ops of the types in `roots`, which answers None to stay.

    `formula` and `why` are for people; `when` are named conditions; `numerics` is "exact" (same bits, or exact in real
    arithmetic
    with no new rounding), "more_accurate", "reassociates" or "assumes_finite".
    """

    name: str
    formula: str
    why: str
    numerics: str
    before: Callable[..., Tensor] | None = None
    after: Callable[..., Tensor] | None = None
    when: tuple[Condition, ...] = ()
    roots: tuple[str, ...] = ()
    rewrite: Callable[[Match], Result] | None = None
    fires: tuple[Example, ...] = ()
    stays: tuple[Example, ...] = ()

    def __post_init__(self) -> None:
        if self.numerics not in NUMERICS:
            raise ValueError(f"rule {self.name}: numerics must be one of {', '.join(NUMERICS)}, got {self.numerics!r}")
        if (self.before is None) != (self.after is None) or (self.before is None) == (self.rewrite is None):
            raise ValueError(f"rule {self.name}: give before and after, or roots and rewrite")
        if (self.rewrite is None) != (not self.roots):
            raise ValueError(f"rule {self.name}: roots and rewrite belong together")

    @cached_property
    def template(self) -> Template | None:
        return None if self.before is None else compile_pattern(self.before)

    @cached_property
    def _wanted(self) -> tuple[str, ...]:
        assert self.after is not None
        values, attrs = parameters(self.after)
        return (*values, *attrs)

    def root_types(self) -> tuple[str, ...]:
        return self.roots if self.template is None else (self.template.root.op,)

    def matches(self, plain: Match) -> Iterator[Match]:
        """The ways in which the rule fits at the op of `plain`, a match without captures; conditions included."""
        template, graph, found = self.template, plain.graph, plain.op
        if template is None:
            if not self.when or all(c(plain) for c in self.when):
                yield plain
            return
        for bound in match_op(template.root, found, graph, {}):
            values = {n: graph.value(str(bound[n])) for n in template.values}
            attrs: dict[str, Attr] = {n: bound[n] for n in template.attrs}  # type: ignore[misc]  # bound holds both kinds
            m = Match(graph, found, values, attrs)
            if all(c(m) for c in self.when):
                yield m

    def build(self, m: Match) -> tuple[Tensor, ...] | None:
        """What replaces the outputs of the matched op, built in the current mode; None to stay."""
        if self.rewrite is not None:
            result = self.rewrite(m)
        else:
            assert self.after is not None
            known = {**m.values, **m.attrs}
            result = self.after(**{n: known[n] for n in self._wanted})
        if result is None or isinstance(result, tuple):
            return result
        return (result,)
