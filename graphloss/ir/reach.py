"""Which gradients a program can give; fixed when they are asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from graphloss import dtypes
from graphloss.ir.graph import Op
from graphloss.ir.linear import Linear, grad_parts, linearise
from graphloss.ir.opdef import get
from graphloss.ir.operator import DERIVATIVES, GRAD
from graphloss.ir.variable import GRAD_SUFFIX, Variable

if TYPE_CHECKING:
    from graphloss.ir.program import Program


def differentiable(op: Op) -> bool:
    """Whether a gradient passes through an op; it does through a derivative, which becomes other ops."""
    return op.type in DERIVATIVES or get(op.type).vjp is not None


def reach(
    linear: Linear,
    variables: Mapping[str, Variable],
    targets: Collection[str],
    no_grad: Collection[str] = (),
    asked: Collection[str] = (),
) -> tuple[set[str], tuple[str, ...]]:
    """Walks backwards from `targets`; all names are versions.

    Returns the versions that a cotangent gets to, and the ones below which it must not go: those in `no_grad`, which
    get none, and those whose `stop_gradient` is set, which get one only where they are `asked` for by name.
    """
    live: set[str] = set()
    ends: dict[str, None] = {}
    stack, seen = list(targets), set[str]()
    while stack:
        name = stack.pop()
        if name in seen or not dtypes.is_float(variables[name].dtype):
            continue
        seen.add(name)
        stopped = name in no_grad or variables[name].stop_gradient
        if not stopped or (name in asked and name not in no_grad):
            live.add(name)
        op = linear.definition.get(name)
        if op is not None and differentiable(op) and any(dtypes.is_float(variables[i].dtype) for i in op.inputs):
            if stopped:
                ends[name] = None
            else:
                stack.extend(op.inputs)
    return live, tuple(ends)


def late_gradient(program: Program, name: str) -> Variable | None:
    """`v@GRAD`, added to the `grad` op of the latest `append_backward` whose loss v is on the way to, or None."""
    block = program.global_block()
    var = block.vars.get(name.removesuffix(GRAD_SUFFIX))
    if not name.endswith(GRAD_SUFFIX) or var is None or not var.has_type or var.stop_gradient:
        return None
    linear = linearise(program)
    for op, statement in zip(reversed(linear.ops), reversed(linear.statements), strict=True):
        if op.type != GRAD:
            continue
        targets, wrt, _ = grad_parts(op)
        no_grad = op.attr["no_grad"]
        # append_backward's op begins with the gradient of the loss itself; that of gradients() gives what was asked.
        if wrt[:1] != targets[:1] or not isinstance(no_grad, tuple):
            continue
        live, _ = reach(linear, block.vars, targets, [str(n) for n in no_grad])
        if linear.version_below(var.name, targets) in live and isinstance(statement.entry, Op):
            own_targets, own_wrt, seeds = grad_parts(statement.entry)
            attrs = {**statement.entry.attr, "n_wrt": len(own_wrt) + 1}
            statement.entry = replace(
                statement.entry,
                inputs=(*own_targets, *own_wrt, var.name, *seeds),
                outputs=(*statement.entry.outputs, name),
                attrs=tuple(attrs.items()),
            )
            return block.define(Variable(block, name, var.type, location=statement.location), statement)
    return None
