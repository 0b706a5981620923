"""The order of the passes, with the reason of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from graphloss.errors import ArgumentTypeError
from graphloss.ir.graph import Graph
from graphloss.options import CompileOptions, RewriteRule
from graphloss.passes.algebra import Algebra
from graphloss.passes.checks import Checks
from graphloss.passes.cse import Cse
from graphloss.passes.dce import Dce
from graphloss.passes.decompose import Decompose
from graphloss.passes.desugar import Desugar
from graphloss.passes.differentiate import Differentiate, Isolate, has_grad
from graphloss.passes.refine import Refine
from graphloss.passes.row_updates import RowUpdates
from graphloss.passes.stabilise import Stabilise
from graphloss.rewrite.pipeline import Observer, Pass, Repeat, run
from graphloss.rewrite.rule import Rule
from graphloss.rewrite.trace import Trace

DEFAULT: Final[tuple[Pass, ...]] = (
    Checks(),  # what nobody asked to be checked stands in no rule's way
    Dce(),  # what nobody asked for is not worth a rule
    Desugar(),  # one spelling less for every rule below
    Isolate(),  # from here on rules may look through any value that is left
    Stabilise(),  # the forward graph in stable composites
    Repeat(
        "gradients",
        (
            Differentiate(),  # on the stable composites, so that the gradient is that of the exact formula
            Desugar(),  # vjp rules may use spellings too
            Stabilise(),  # a derivative has forms of its own to recognise, and may be differentiated again
        ),
        has_grad,  # a gradient of a gradient is expanded in the next round
    ),
    Refine(),  # forms that would have hidden what differentiation recognises
    Decompose(),  # no rule speaks of composites any more
    Algebra(),  # on primitive ops, where a cost can be read off
    Cse(),  # value and gradient share their parts
    RowUpdates(),  # an optimiser's step as it stands after all simplification
    Dce(),  # drops what rules left behind
)

# The program as it was written, with the gradient of each op as it stands: what comparisons call "passes off".
LOWER: Final[tuple[Pass, ...]] = (
    Checks(),  # as above
    Dce(),  # a gradient is expanded only if something needs it
    Desugar(),  # spellings have no derivative of their own
    Repeat("gradients", (Differentiate(thorough=True), Desugar()), has_grad),
    Decompose(),  # the scheduler knows primitive ops only
    Dce(),  # parts of derivatives that nobody reads
)


def optimise(
    graph: Graph, options: CompileOptions | None = None, trace: Trace | None = None, observer: Observer | None = None
) -> Graph:
    """`graph` in primitive ops: stabilised, differentiated and simplified, or only lowered where `options.passes`
    is False."""
    passes = LOWER if options is not None and not options.passes else DEFAULT
    if options is not None and options.passes and options.rules:
        passes = _with_rules(passes, options.rules)
    if options is not None and options.check_values:
        passes = tuple(Checks(keep=True) if isinstance(p, Checks) else p for p in passes)
    return run(passes, graph, trace, observer)


def _with_rules(passes: Iterable[Pass], rules: Iterable[RewriteRule]) -> tuple[Pass, ...]:
    """The user's rules: on the program in the words it was written in, and first among those of each stabilise."""
    own = tuple(r for r in rules if isinstance(r, Rule))
    if wrong := [type(r).__name__ for r in rules if not isinstance(r, Rule)]:
        raise ArgumentTypeError("rules are graphloss.rules.Rule values", expected="Rule", got=wrong[0])
    found: list[Pass] = []
    for p in passes:
        if isinstance(p, Stabilise):
            p = replace(p, rules=(*own, *p.rules))
        elif isinstance(p, Repeat):
            p = replace(p, passes=_with_rules(p.passes, own))
        elif isinstance(p, Desugar):
            found.append(Stabilise("rules", own))
        found.append(p)
    return tuple(found)


def lower_only(graph: Graph, trace: Trace | None = None, observer: Observer | None = None) -> Graph:
    """`graph` in primitive ops as it was written: no rule, each derivative taken op by op."""
    return run(LOWER, graph, trace, observer)
