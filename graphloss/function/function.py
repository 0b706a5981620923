"""`compile`, and what it returns: a function on arrays, with its derivatives."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any, overload

from graphloss.errors import ArgumentTypeError, ShapeError, UnsupportedError
from graphloss.function.arguments import Signature, declared, holds_tensor, key_of, sizes
from graphloss.function.trace import Call, Trace
from graphloss.inspect.explain import Explanation
from graphloss.ir.program import Program
from graphloss.options import CompileOptions

# What a call wants of a trace: a structure of Variables, and the inputs it has besides the function's own.
Want = Callable[[Trace], tuple[object, list[str]]]


class _Callable:
    """Arrays in, arrays out: one program per kind of arguments, found by their key."""

    def __init__(self, function: Function, want: Want, shown: str) -> None:
        self._function = function
        self._want = want
        self._shown = shown
        self._calls: dict[Hashable, Call] = {}
        self._kinds: dict[Hashable, tuple[str, ...]] = {}  # keys of which some calls need more than ranks and dtypes
        self._last: Call | None = None

    def _run(self, names: Sequence[str], values: Sequence[object], extra: Sequence[object] = ()) -> Any:
        arrays: list[object] = []
        key = key_of(values, arrays)
        if key in self._kinds:
            for kind in self._kinds[key]:
                found = self._calls.get((key, kind, sizes(kind, arrays)))
                if found is not None:
                    return found([*arrays, *extra])
        given = [*arrays, *extra] if extra else arrays
        try:
            call = self._calls.get(key) or self._built(key, self._function._trace(key, names, values))
        except _Untraced as failed:
            return self._again(("ones", "inner", "all"), key, names, values, arrays, given, failed.error)
        try:
            return call(given)
        except ShapeError as error:  # a first axis that happens to be 1 may have been meant to broadcast
            return self._again(("ones",), key, names, values, arrays, given, error)

    def _again(
        self, kinds: Sequence[str], key: Hashable, names: Sequence[str], values: Sequence[object],
        arrays: Sequence[object], given: Sequence[object], error: ShapeError,
    ) -> Any:  # fmt: skip
        """A call that a program without sizes does not serve; `error` says why. Tries programs that declare some."""
        for kind in kinds:
            mark = sizes(kind, arrays)
            if kind == "ones" and not any(mark):
                continue
            special = (key, kind, mark)
            try:
                trace = self._function._trace(special, names, values, kind)
            except _Untraced as failed:
                if kind != "ones":
                    error = failed.error  # it speaks of numbers
                continue
            call = self._built(special, trace)
            try:
                result = call(given)
            except ShapeError:
                continue
            with self._function._lock:
                known = self._kinds.get(key, ())
                self._kinds[key] = known if kind in known else (*known, kind)
            return result
        raise error from None

    def _built(self, key: Hashable, trace: Trace) -> Call:
        with self._function._lock:
            known = self._calls.get(key)
            if known is None:
                want, extra = self._want(trace)
                known = self._calls[key] = Call(trace, want, [*trace.inputs, *extra], self._function.options)
            self._last = known
            return known

    @property
    def program(self) -> Program:
        """The program of the latest trace."""
        return self._latest().program

    def explain(self) -> Explanation:
        """What compiling the latest trace did: rules, kernels, bytes moved."""
        return Explanation(self._latest().code)

    def _latest(self) -> Call:
        if self._last is None:
            raise UnsupportedError(
                f"{self._shown} has no program yet", hint="call it once: its arguments say of which ranks and dtypes"
            )
        return self._last

    def __repr__(self) -> str:
        return f"<compiled {self._shown}>"


class _Untraced(Exception):
    """The Python code refuses arrays of which only so much is declared."""

    def __init__(self, error: ShapeError) -> None:
        self.error = error


class Derivative(_Callable):
    """Values and derivatives of a compiled function, called like the function itself."""

    def __call__(self, *args: object, **kwargs: object) -> Any:
        names, values = self._function._signature.bind(args, kwargs)
        return self._run(names, values)


class HessianProduct(_Callable):
    """Hessian-vector products: called with v, then like the function itself; v is of the shape and dtype of `wrt`."""

    def __call__(self, v: object, *args: object, **kwargs: object) -> Any:
        names, values = self._function._signature.bind(args, kwargs)
        vectors: list[object] = []
        key_of((v,), vectors)
        return self._run(names, values, vectors)


class Function(_Callable):
    """What `compile` returns."""

    def __init__(self, fn: Callable[..., object], options: CompileOptions) -> None:
        self._signature = Signature(fn)
        super().__init__(self, lambda trace: (trace.output, []), self._signature.name)
        self._fn = fn
        self.options = options
        self._lock = threading.RLock()
        self._traces: dict[Hashable, Trace] = {}
        self._derivatives: dict[Hashable, _Callable] = {}
        if hasattr(fn, "__name__"):
            functools.update_wrapper(self, fn)

    def __call__(self, *args: object, **kwargs: object) -> Any:
        names, values = self._signature.bind(args, kwargs)
        if holds_tensor(values):  # inside another function, or a program: its ops go there
            return self._fn(*args, **kwargs)
        return self._run(names, values)

    @property
    def traces(self) -> int:
        """How often the Python code has been run."""
        return len(self._traces)

    def _trace(self, key: Hashable, names: Sequence[str], values: Sequence[object], kind: str = "free") -> Trace:
        with self._lock:
            known = self._traces.get(key)
            if known is None:
                given = {n: declared(n, v, kind) for n, v in zip(names, values, strict=True)}
                try:
                    known = self._traces[key] = Trace(self._fn, self._signature, given)
                except ShapeError as error:
                    raise _Untraced(error) from None
            return known

    def _latest(self) -> Call:
        if self._last is None and self._traces:  # only derivatives were called so far
            key, trace = list(self._traces.items())[-1]
            return self._built(key, trace)
        return super()._latest()

    # -- derivatives --------------------------------------------------------------------------------------------------

    def value_and_grad(self, wrt: int | str | tuple[int | str, ...] = 0) -> Derivative:
        """A function of the same arguments that returns (value, gradient), computed together.

        Args:
            wrt: position or name of a parameter, or a tuple of them: then the gradient is a tuple too. The gradient of
                a tuple of arrays is one. Where the loss does not depend on an argument it is zeros.

        Raises, when it is called:
            ShapeError: the loss has more than one element.
            DtypeError, ArgumentTypeError: the argument is no array of floats.

        Example:
            >>> import numpy as np, graphloss as gl
            >>> @gl.compile
            ... def mse(x, y):
            ...     return gl.nn.functional.mse_loss(x, y)
            >>> value, grad = mse.value_and_grad(wrt="x")(np.array([1.0, 2.0]), np.array([0.0, 0.0]))
            >>> float(value), grad.tolist()
            (2.5, [1.0, 2.0])
        """

        def want(trace: Trace, names: tuple[str, ...], single: bool) -> object:
            found = trace.gradients(names, "value_and_grad")
            return trace.loss("value_and_grad"), trace.gathered(names, found, single)

        return self._derivative("value_and_grad", wrt, want)

    def grad(self, wrt: int | str | tuple[int | str, ...] = 0) -> Derivative:
        """As `value_and_grad`, but only the gradient is returned."""

        def want(trace: Trace, names: tuple[str, ...], single: bool) -> object:
            return trace.gathered(names, trace.gradients(names, "grad"), single)

        return self._derivative("grad", wrt, want)

    def hessian_diag(self, wrt: int | str | tuple[int | str, ...] = 0) -> Derivative:
        """A function of the same arguments that returns the exact diagonal of the Hessian, as `graphloss.hessian_diag`.

        Raises, when it is called: what `value_and_grad` raises, and UnsupportedError where there is no such form.

        Example:
            >>> import numpy as np, graphloss as gl
            >>> @gl.compile
            ... def ce(logits, label):
            ...     return gl.nn.functional.cross_entropy(logits, label)
            >>> ce.hessian_diag()(np.zeros((1, 4)), np.array([2])).tolist()
            [[0.1875, 0.1875, 0.1875, 0.1875]]
        """

        def want(trace: Trace, names: tuple[str, ...], single: bool) -> object:
            return trace.gathered(names, trace.hessian_diag(names, "hessian_diag"), single)

        return self._derivative("hessian_diag", wrt, want)

    def value_grad_hessian_diag(self, wrt: int | str | tuple[int | str, ...] = 0) -> Derivative:
        """(value, gradient, diagonal of the Hessian) in one call, and in one kernel where the loss allows it."""
        what = "value_grad_hessian_diag"

        def want(trace: Trace, names: tuple[str, ...], single: bool) -> object:
            first, second = trace.gradients(names, what), trace.hessian_diag(names, what)
            return trace.loss(what), trace.gathered(names, first, single), trace.gathered(names, second, single)

        return self._derivative(what, wrt, want)

    @overload
    def hessp(self, wrt: int | str | tuple[int | str, ...] = 0) -> HessianProduct: ...
    @overload
    def hessp(self, wrt: int | str | tuple[int | str, ...], v: object) -> Callable[..., Any]: ...
    def hessp(
        self, wrt: int | str | tuple[int | str, ...] = 0, v: object = None
    ) -> HessianProduct | Callable[..., Any]:
        """A function of v and the same arguments that returns the product of the Hessian and v.

        Args:
            wrt: position or name of a parameter, or a tuple of them; v and the result are then tuples too, and the
                Hessian is that of all of them together.
            v: the vector, of the shape and dtype of the argument; given here, the function takes the arguments only.

        Example:
            >>> import numpy as np, graphloss as gl
            >>> @gl.compile
            ... def loss(x):
            ...     return gl.layers.reduce_sum(x * x * x)
            >>> loss.hessp()(np.array([1.0, 0.0]), np.array([2.0, 3.0])).tolist()
            [12.0, 0.0]
        """
        names, single = self._parameters(wrt)

        def want(trace: Trace) -> tuple[object, list[str]]:
            found, extra = trace.hessian_products(names, "hessp")
            return trace.gathered(names, found, single), extra

        product = self._kept(("hessp", names, single), lambda: HessianProduct(self, want, f"{self._shown}.hessp"))
        assert isinstance(product, HessianProduct)
        return product if v is None else functools.partial(product, v)

    def _parameters(self, wrt: object) -> tuple[tuple[str, ...], bool]:
        if isinstance(wrt, (tuple, list)):
            return tuple(self._signature.position(w) for w in wrt), False
        return (self._signature.position(wrt),), True

    def _derivative(
        self, what: str, wrt: object, want: Callable[[Trace, tuple[str, ...], bool], object]
    ) -> Derivative:
        names, single = self._parameters(wrt)

        def wanted(trace: Trace) -> tuple[object, list[str]]:
            return want(trace, names, single), []

        made = self._kept((what, names, single), lambda: Derivative(self, wanted, f"{self._shown}.{what}"))
        assert isinstance(made, Derivative)
        return made

    def _kept(self, key: Hashable, make: Callable[[], _Callable]) -> _Callable:
        """One for each key, so that nothing is compiled twice."""
        with self._lock:
            if key not in self._derivatives:
                self._derivatives[key] = make()
            return self._derivatives[key]


@overload
def compile(fn: Callable[..., object]) -> Function: ...
@overload
def compile(*, options: CompileOptions | None = None) -> Callable[[Callable[..., object]], Function]: ...
def compile(
    fn: Callable[..., object] | None = None, *, options: CompileOptions | None = None
) -> Function | Callable[[Callable[..., object]], Function]:
    """Makes of a Python function over Variables a function on NumPy arrays; a decorator.

    The Python code runs once per rank and dtype of its array arguments; sizes are free. (It runs again where an axis
    after the first has dimension 1, which is declared then, so that it broadcasts; and for a loss that must know a
    size, such as the four coordinates of a box.) Numbers, strings, None, flags and whatever else is no array count as
    constants: another value is another trace. Tuples, lists and dicts of arrays work as arguments and results. Called
    with Variables, it is the Python function itself.

    Derivatives: `value_and_grad`, `grad`, `hessian_diag`, `value_grad_hessian_diag`, `hessp`. `program` and `explain()`
    show the latest trace. Threads may share it.

    Args:
        fn: the function; a loss class's instance works too.
        options: compile options of all traces.

    Raises, when it is called:
        ShapeError, DtypeError: arrays that do not fit each other or the ops; the text names the parameter.
        LabelError: a label out of range; the text names row and parameter.
        UnsupportedError: the function keeps state.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> @gl.compile
        ... def loss(pred, target, beta=1.0):
        ...     return gl.nn.functional.smooth_l1_loss(pred, target, beta=beta)
        >>> x, y = np.array([0.0, 2.0]), np.array([0.5, 0.0])
        >>> float(loss(x, y)), float(loss(x, y, beta=0.5)), loss.traces
        (0.8125, 1.0, 2)
    """
    if fn is None:
        return lambda given: compile(given, options=options)  # type: ignore[call-overload]
    if not callable(fn):
        raise ArgumentTypeError("compile takes a Python function", "a function", type(fn).__name__)
    return Function(fn, options or CompileOptions())
