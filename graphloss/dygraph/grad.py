"""`dygraph.grad`: gradients of given outputs by given inputs, as arrays that can be differentiated again."""

from __future__ import annotations

from collections.abc import Sequence

from graphloss.dygraph.autograd import gradients
from graphloss.dygraph.varbase import VarBase
from graphloss.errors import ArgumentTypeError, ShapeError, UnsupportedError


def grad(
    outputs: VarBase | Sequence[VarBase],
    inputs: VarBase | Sequence[VarBase],
    grad_outputs: VarBase | Sequence[VarBase | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool = False,
    no_grad_vars: VarBase | Sequence[VarBase] | None = None,
    backward_strategy: object = None,
) -> list[VarBase | None]:
    """∂(Σ grad_output·output)/∂input for each input; no array's `gradient()` changes.

    Args:
        outputs, inputs: arrays; an input may also be a value on the way.
        grad_outputs: weights of the outputs, None for ones.
        retain_graph: keep the history for another gradient; by default what `create_graph` is.
        create_graph: the results remember how they were made, for a second derivative.
        only_inputs: must be True.
        allow_unused: give None for an input that no output depends on, instead of an error.
        no_grad_vars: nothing flows into these.

    Raises:
        UnsupportedError: an input is not reached, or the history is gone.
        ShapeError, ArgumentTypeError: arguments that do not fit.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([3.0]))
        ...     x.stop_gradient = False
        ...     (first,) = gl.dygraph.grad(x * x * x, x, create_graph=True)
        ...     (second,) = gl.dygraph.grad(first, x)
        ...     first.numpy().tolist(), second.numpy().tolist()
        ([27.0], [18.0])
    """
    if not only_inputs:
        raise UnsupportedError("grad: only_inputs=False is not supported", hint="use backward() to fill all leaves")
    targets, wanted = _list(outputs, "outputs"), _list(inputs, "inputs")
    blocked = [] if no_grad_vars is None else _list(no_grad_vars, "no_grad_vars")
    seeds: list[VarBase | None] = [None] * len(targets)
    if grad_outputs is not None:
        seeds = [grad_outputs] if isinstance(grad_outputs, VarBase) else list(grad_outputs)
        if len(seeds) != len(targets):
            raise ShapeError("grad: grad_outputs and outputs differ in number", len(targets), len(seeds))
    for target, seed in zip(targets, seeds, strict=True):
        if seed is not None and seed.shape != target.shape:
            raise ShapeError("grad: a grad_output has another shape than its output", target.shape, seed.shape)
    found, free = gradients(
        [t.cell for t in targets], [x.cell for x in wanted], seeds, [x.cell for x in blocked], create_graph
    )
    for i, cell in enumerate(found):
        if cell is None and not allow_unused:
            raise UnsupportedError(
                f"grad: no output depends on input {i}",
                got=wanted[i].name,
                hint="allow_unused=True gives None for it; is stop_gradient set on the way?",
            )
    if not (create_graph if retain_graph is None else retain_graph):
        free()
    return [None if c is None else VarBase(c, not create_graph) for c in found]


def _list(values: VarBase | Sequence[VarBase], name: str) -> list[VarBase]:
    found = [values] if isinstance(values, VarBase) else list(values)
    for v in found:
        if not isinstance(v, VarBase):
            raise ArgumentTypeError(f"grad: {name} holds something else", "VarBase", type(v).__name__)
    return found
