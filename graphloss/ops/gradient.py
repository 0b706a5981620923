"""The ops `grad` and `jacobian_diag`, and the functions that record them: a compilation expands both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import overload

from graphloss import dtypes
from graphloss.errors import ArgumentTypeError, DtypeError, ShapeError, UnsupportedError
from graphloss.ir.context import op_role
from graphloss.ir.defaults import program_guard
from graphloss.ir.dims import Equations
from graphloss.ir.forms import Form
from graphloss.ir.linear import linearise
from graphloss.ir.location import user_location
from graphloss.ir.mode import ProgramMode
from graphloss.ir.opdef import Array, Attrs, AttrSpec, OpDef, Types, register
from graphloss.ir.operator import GRAD, JACOBIAN_DIAG
from graphloss.ir.printer import type_text
from graphloss.ir.reach import reach
from graphloss.ir.tensor import Tensor, apply, using
from graphloss.ir.types import TensorType
from graphloss.ir.variable import GRAD_SUFFIX, Variable


def _infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    """The types of wrt; target gradients have those of the targets."""
    n, m = attrs["n_targets"], attrs["n_wrt"]
    targets, wrt, seeds = types[:n], types[n : n + m], types[n + m :]
    if len(targets) != n or len(wrt) != m or len(seeds) not in (0, n):
        raise ShapeError("a grad op lacks operands", f"{n} targets, {m} inputs, 0 or {n} seeds", len(types))
    for target, seed in zip(targets, seeds, strict=False):
        same = seed.dtype in (target.dtype, dtypes.computed(target.dtype)) and target.rank == seed.rank
        if not same or any(equations.equal(a, b, GRAD) is None for a, b in zip(target.shape, seed.shape, strict=True)):
            raise ShapeError("a target gradient is not like its target", type_text(target), type_text(seed))
    return tuple(wrt)


def _expanded_only(what: str) -> UnsupportedError:
    return UnsupportedError(
        f"a derivative {what}", hint="a compilation expands it into ops that compute it; eager mode has its own tape"
    )


def _reference(arrays: Sequence[Array], attrs: Attrs) -> tuple[Array, ...]:
    raise _expanded_only("has no values of its own")


def _lower(operands: Types, results: Types, attrs: Attrs) -> Form:
    raise _expanded_only("has no kernel")


_GRAD = register(
    OpDef(
        GRAD,
        ("operands",),
        _infer,
        _reference,
        attrs=(AttrSpec("n_targets", "int"), AttrSpec("n_wrt", "int"), AttrSpec("no_grad", "any", ())),
        lower=_lower,
        no_vjp="it is expanded before a gradient of it is taken",
        variadic=True,
        halves=True,
        summary="Gradients of the sum of all targets, each weighted by its target gradient.",
        formula="out_i = Σ_t Σ_j seed_tj ∂target_tj / ∂wrt_i",
    )
)


_JACOBIAN_DIAG = register(
    OpDef(
        JACOBIAN_DIAG,
        ("operands",),
        _infer,
        _reference,
        attrs=(AttrSpec("n_targets", "int"), AttrSpec("n_wrt", "int"), AttrSpec("no_grad", "any", ())),
        lower=_lower,
        no_vjp="it is expanded before a gradient of it is taken",
        variadic=True,
        halves=True,
        summary="Of a gradient g with respect to x, how each element depends on the element of x at its place.",
        formula="out_i = ∂g_i / ∂x_i",
    )
)


def gradients(
    targets: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    target_gradients: Tensor | Sequence[Tensor | None] | None = None,
    no_grad_set: Collection[Tensor | str] | None = None,
) -> list[Variable | None]:
    """The gradient of the sum of `targets` with respect to each of `inputs`.

    out_i = Σ_t Σ_j s_tj ∂t_j / ∂input_i, with s the target gradients, by default ones. What can be reached, each
    `stop_gradient` and `no_grad_set` are looked at now; the ops of the gradient are made when the program is compiled.
    An input named here gets its gradient even if it is a data variable. May be called repeatedly, on gradients too.

    Args:
        targets: one Variable or several, of a float dtype.
        inputs: one Variable or several.
        target_gradients: one for each target, of its shape and dtype; None stands for ones.
        no_grad_set: Variables or names that get no gradient and pass none on.

    Returns:
        One Variable per input, of its type, called `<input>@GRAD` (then `<input>@GRAD_1`, …), or None if out of reach.

    Raises:
        ArgumentTypeError: something else than Variables.
        DtypeError: a target of an integer dtype.
        ShapeError: a target gradient unlike its target, or not one per target.

    Example:
        >>> import graphloss as gl
        >>> with gl.program_guard(gl.Program()):
        ...     x = gl.data("x", [3])
        ...     dx, = gl.gradients([x * x], [x])
        >>> print(dx)
        %x@GRAD : f32[3]
    """
    wanted = _variables("targets", targets)
    named = _variables("inputs", inputs)
    seeds = [None] * len(wanted) if target_gradients is None else _seeds(wanted, target_gradients)
    return _record(wanted, named, seeds, _names(no_grad_set), asked=True)


def append_backward(
    loss: Tensor,
    parameter_list: Sequence[Tensor | str] | None = None,
    no_grad_set: Collection[Tensor | str] | None = None,
    callbacks: Sequence[Callable[..., object]] | None = None,
    checkpoints: Sequence[Variable] | None = None,
) -> list[tuple[Variable, Variable]]:
    """Appends the gradients of `loss` with respect to parameters.

    Afterwards the gradient of any variable v on the way to the loss can be had by its name, `v@GRAD`.

    Args:
        loss: what to differentiate; the gradients are those of the sum of its elements.
        parameter_list: Variables or names; by default all trainable parameters of the program.
        no_grad_set: Variables or names that get no gradient and pass none on, besides those with `stop_gradient`.
        callbacks: accepted for old programs; there are no backward ops to call them on.
        checkpoints: accepted for old programs; what is kept and what computed again is the scheduler's choice.

    Returns:
        (parameter, gradient) for each parameter that the loss depends on.

    Raises:
        ArgumentTypeError: `loss` is no Variable, or a list holds something else.
        DtypeError: `loss` has an integer dtype.

    Example:
        >>> import graphloss as gl
        >>> with gl.program_guard(gl.Program()) as main:
        ...     x = gl.data("x", [None, 3])
        ...     w = x.block.create_parameter("w", [3], "float32")
        ...     pairs = gl.append_backward(x * w)
        >>> [(p.name, g.name) for p, g in pairs]
        [('w', 'w@GRAD')]
    """
    if not isinstance(loss, Variable):
        raise ArgumentTypeError("append_backward takes a loss", "a Variable", type(loss).__name__)
    block = loss.block
    if parameter_list is None:
        parameters: list[Variable] = [p for p in block.program.all_parameters() if p.trainable]
    else:
        items = _items("parameter_list", parameter_list, (Variable, str))
        parameters = [block.var(p) if isinstance(p, str) else p for p in items if isinstance(p, (Variable, str))]
    # The loss itself comes first: by that, its gradient has a name, and others can be added to this op later.
    found = _record([loss], [loss, *parameters], [None], _names(no_grad_set), asked=False)
    return [(p, g) for p, g in zip(parameters, found[1:], strict=True) if g is not None]


@overload
def hessian_diag(
    loss: Variable, inputs: Variable, no_grad_set: Collection[Variable | str] | None = None
) -> Variable | None: ...
@overload
def hessian_diag(
    loss: Variable, inputs: Sequence[Variable], no_grad_set: Collection[Variable | str] | None = None
) -> list[Variable | None]: ...
def hessian_diag(
    loss: Variable, inputs: Variable | Sequence[Variable], no_grad_set: Collection[Variable | str] | None = None
) -> Variable | list[Variable | None] | None:
    """The diagonal of the Hessian of the sum of `loss` with respect to each of `inputs`.

    out_i = ∂²(Σ_j loss_j) / ∂input_i². It is the exact diagonal, made from the stable form of the loss, and shares its
    exponentials with value and gradient: all three are one kernel where the loss is elementwise or works on rows. It
    exists for what is made of elementwise ops, reductions, softmax and its relatives. A kink adds nothing; of a
    piecewise linear loss it is 0.

    Args:
        loss: a Variable of a float dtype; of one that is not a scalar, the sum is meant.
        inputs: one Variable or several.
        no_grad_set: Variables or names that count as constants.

    Returns:
        A Variable of the input's type, `<input>@HESSIAN_DIAG`, or None if it is out of reach; a list for several.

    Raises:
        ArgumentTypeError: something else than Variables. DtypeError: a loss of an integer dtype.
        UnsupportedError (when compiled): an op on the way mixes the elements of an input in another way, a matrix
            product for example; the text names it.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.program_guard(gl.Program()) as main:
        ...     z, y = gl.data("z", [None]), gl.data("y", [None])
        ...     loss = gl.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="sum")
        ...     h = gl.hessian_diag(loss, z)
        ...     print(h)
        ...     feed = {"z": np.zeros(2, "float32"), "y": np.ones(2, "float32")}
        ...     gl.Executor().run(feed=feed, fetch_list=[h])
        %z@HESSIAN_DIAG : f32[z.0]
        [array([0.25, 0.25], dtype=float32)]
    """
    several = isinstance(inputs, (list, tuple))
    if not isinstance(loss, Variable):
        raise ArgumentTypeError("hessian_diag takes a loss", "a Variable", type(loss).__name__)
    blocked = _names(no_grad_set)
    found: list[Variable | None] = []
    for x in _variables("inputs", inputs):
        (g,) = _record([loss], [x], [None], blocked, asked=True)
        if g is None:
            found.append(None)
        else:
            found += _record([g], [x], [None], blocked, asked=True, op=_JACOBIAN_DIAG, suffix="@HESSIAN_DIAG")
    return found if several else found[0]


def _record(
    targets: Sequence[Variable],
    inputs: Sequence[Variable],
    seeds: Sequence[Variable | None],
    no_grad: Collection[str],
    asked: bool,
    op: OpDef = _GRAD,
    suffix: str = GRAD_SUFFIX,
) -> list[Variable | None]:
    """Records one op for the inputs that are reached; if `asked` for, stop_gradient does not stop them."""
    block = targets[0].block
    for var in (*targets, *inputs):
        block.own(op.name, var)
    for target in targets:
        if not dtypes.is_float(target.dtype):
            what = f"there is no gradient of {target.name!r}"
            raise DtypeError(what, "a float dtype", target.dtype, target.op, user_location())
    linear = linearise(block.program)
    ends = [linear.last.get(t.name, t.name) for t in targets]
    versions = [linear.version_below(x.name, ends) for x in inputs]
    blocked = {v for name in no_grad for v in linear.versions.get(name, [name])}
    live, stopped = reach(linear, block.vars, ends, blocked, versions if asked else ())
    reached = list({x.name: x for x, v in zip(inputs, versions, strict=True) if v in live}.values())
    if not reached:
        return [None] * len(inputs)
    any_seed = any(s is not None for s in seeds)
    with using(ProgramMode()), program_guard(block.program), op_role("backward"):
        given = [_ones(t) if s is None else s for t, s in zip(targets, seeds, strict=True)] if any_seed else []
        attrs = {"n_targets": len(targets), "n_wrt": len(reached), "no_grad": stopped}
        names = [_unused(block.vars, x.name + suffix) for x in reached]
        made = block.append(op, (*targets, *reached, *given), attrs, names)
    found = dict(zip((x.name for x in reached), made, strict=True))
    return [found.get(x.name) for x in inputs]


def _ones(target: Variable) -> Variable:
    (ones,) = apply("fill", (), {"shape": target.type.shape, "dtype": target.dtype, "value": 1.0})
    assert isinstance(ones, Variable)
    return ones


def _unused(taken: Collection[str], name: str) -> str:
    if name not in taken:
        return name
    n = 1
    while f"{name}_{n}" in taken:
        n += 1
    return f"{name}_{n}"


def _items(what: str, given: object, kinds: tuple[type, ...]) -> list[object]:
    """`given`, one thing or several, as a list."""
    items = list(given) if isinstance(given, (list, tuple, set, frozenset)) else [given]
    for item in items:
        if not isinstance(item, kinds):
            raise ArgumentTypeError(f"{what} holds something else", _either(kinds), type(item).__name__)
    return items


def _either(kinds: tuple[type, ...]) -> str:
    return " or ".join(k.__name__.replace("NoneType", "None") for k in kinds)


def _variables(what: str, given: object) -> list[Variable]:
    found = [item for item in _items(what, given, (Variable,)) if isinstance(item, Variable)]
    if not found and what == "targets":
        raise ShapeError("gradients needs at least one target")
    return found


def _names(given: Collection[Tensor | str] | None) -> set[str]:
    items = _items("no_grad_set", given or (), (Variable, str))
    return {item.name if isinstance(item, Variable) else str(item) for item in items}


def _seeds(targets: Sequence[Variable], given: object) -> list[Variable | None]:
    items = _items("target_gradients", given, (Variable, type(None)))
    if len(items) != len(targets):
        raise ShapeError("there must be one target gradient for each target", len(targets), len(items))
    return [item if isinstance(item, Variable) else None for item in items]
