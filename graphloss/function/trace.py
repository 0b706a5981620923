"""A function traced: the program that its Python code built, and what of it a call wants computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from graphloss import dtypes, ops
from graphloss.errors import ArgumentTypeError, DtypeError, GraphlossError, ShapeError, UnsupportedError
from graphloss.function.arguments import Leaf, Signature, leaves, mapped
from graphloss.ir import unique_name
from graphloss.ir.data import data
from graphloss.ir.defaults import program_guard
from graphloss.ir.mode import ProgramMode
from graphloss.ir.printer import type_text
from graphloss.ir.program import Program
from graphloss.ir.tensor import Tensor, using
from graphloss.ir.variable import Variable
from graphloss.ops.gradient import gradients, hessian_diag
from graphloss.options import CompileOptions
from graphloss.runtime.compile import Code, compile_graph
from graphloss.runtime.compiled import Compiled
from graphloss.runtime.diagnose import located

Array = npt.NDArray[Any]


class Trace:
    """The program of a function for arguments of one kind; its inputs are called like the parameters.

    `values` are the arguments by name, with a Leaf for each array.
    """

    def __init__(self, fn: Callable[..., object], signature: Signature, values: Mapping[str, object]) -> None:
        self.name = signature.name
        self.program = Program(signature.name)
        self.values = values
        self.inputs = [leaf.name for leaf in leaves(list(values.values()), Leaf)]
        with self._building():
            self.variables = {n: mapped(lambda v: data(v.name, v.shape, v.dtype), x, Leaf) for n, x in values.items()}
            self.output = signature.call(fn, self.variables)
        for out in leaves(self.output, object):
            self._check_output(out)

    def _building(self) -> _Building:
        return _Building(self.program)

    def _check_output(self, out: object) -> None:
        if isinstance(out, Variable) and out.block.program is self.program:
            return
        if isinstance(out, (Tensor, np.ndarray)):
            raise ArgumentTypeError(
                f"{self.name} returns something else than Variables made from its arguments", "a Variable",
                type(out).__name__, hint="build the result from the arguments; np functions do not work on Variables",
            )  # fmt: skip

    # -- what a call may want: Variables in a structure --------------------------------------------------------------

    def loss(self, what: str) -> Variable:
        """The output, if it is one number."""
        out = self.output
        if not isinstance(out, Variable):
            raise ArgumentTypeError(
                f"{what} needs a function that returns its loss alone", "one Variable", type(out).__name__,
                hint="return the other results from a function of their own",
            )  # fmt: skip
        if not dtypes.is_float(out.dtype):
            raise DtypeError(f"{what} needs a loss of a float dtype", "a float dtype", out.dtype, out.op, out.location)
        if any(d != 1 for d in out.type.shape):
            raise ShapeError(
                f"{what} needs a loss of one element", "shape [] or [1]", type_text(out.type), out.op, out.location,
                hint="reduce it, by its mean or sum",
            )  # fmt: skip
        return out

    def arguments(self, names: Sequence[str], what: str) -> list[Variable]:
        """The Variables of these parameters, which must be arrays of floats."""
        found: list[Variable] = []
        for name in names:
            here = list(leaves(self.variables.get(name), Variable))
            if not here:
                got = repr(self.values[name]) if name in self.values else "no argument"
                raise ArgumentTypeError(
                    f"{what} of {self.name} with respect to {name!r}, which is no array", "an array", got,
                    hint="a Python number counts as a constant; np.float64(number) is an array",
                )  # fmt: skip
            for x in here:
                if not dtypes.is_float(x.dtype):
                    raise DtypeError(
                        f"{what} of {self.name} with respect to {x.name!r}, which has no float dtype",
                        "a float dtype", x.dtype, hint=f"convert it: {x.name}.astype('float32')",
                    )  # fmt: skip
            found += here
        return found

    def gradients(self, names: Sequence[str], what: str) -> dict[str, Variable]:
        loss = self.loss(what)
        wrt = self.arguments(names, what)
        with self._building():
            found = gradients([loss], wrt)
            return {x.name: _or_zeros(g, x) for x, g in zip(wrt, found, strict=True)}

    def hessian_diag(self, names: Sequence[str], what: str) -> dict[str, Variable]:
        loss = self.loss(what)
        wrt = self.arguments(names, what)
        with self._building():
            return {x.name: _or_zeros(hessian_diag(loss, x), x) for x in wrt}

    def hessian_products(self, names: Sequence[str], what: str) -> tuple[dict[str, Variable], list[str]]:
        """Σ_b ∂²loss/∂a∂b v_b for each array a, and the names of the inputs v."""
        loss = self.loss(what)
        wrt = self.arguments(names, what)
        block = self.program.global_block()
        with self._building():
            given: list[Variable] = []
            for i, x in enumerate(wrt):
                name = "v" if len(wrt) == 1 else f"v_{i}"
                while block.has_var(name):
                    name += "_"
                given.append(block.create_var(name, type=x.type, stop_gradient=True, is_data=True))
            pairs = [(g, v) for g, v in zip(gradients([loss], wrt), given, strict=True) if g is not None]
            found: list[Variable | None] = [None] * len(wrt)
            if pairs:
                found = gradients([g for g, _ in pairs], wrt, [v for _, v in pairs])
            products = {x.name: _or_zeros(h, x) for x, h in zip(wrt, found, strict=True)}
        return products, [v.name for v in given]

    def gathered(self, names: Sequence[str], found: Mapping[str, Variable], single: bool) -> object:
        """`found` by the names of the arrays, in the structure of the arguments."""
        several = tuple(mapped(lambda x: found[x.name], self.variables[n], Variable) for n in names)
        return several[0] if single else several


class _Building:
    """Inside, ops go to the program, in whatever mode the caller is; names are counted from 0."""

    def __init__(self, program: Program) -> None:
        self._guards = (using(ProgramMode()), program_guard(program, Program("startup")), unique_name.guard())

    def __enter__(self) -> None:
        for guard in self._guards:
            guard.__enter__()

    def __exit__(self, *error: Any) -> None:
        for guard in reversed(self._guards):
            guard.__exit__(*error)


def _or_zeros(found: Variable | None, x: Variable) -> Variable:
    """A derivative; zeros where the loss does not depend on x."""
    if found is not None:
        return found
    zeros = ops.zeros_like(x)
    assert isinstance(zeros, Variable)
    return zeros


class Call:
    """What one trace computes for one want: a structure of Variables, compiled."""

    def __init__(self, trace: Trace, want: object, inputs: Sequence[str], options: CompileOptions) -> None:
        self.program = trace.program
        self._want = want
        fetches: list[Variable] = list(leaves(want, Variable))
        graph = trace.program.snapshot(fetches)
        if graph.states or graph.writes:
            name = (*graph.states, *(n for n, _ in graph.writes))[0]
            raise UnsupportedError(
                f"{trace.name} keeps the state {name!r}, and a compiled function has none",
                where=trace.program.var(name).location, hint="give it as an argument, or build a Program and run it",
            )  # fmt: skip
        self._compiled = Compiled(compile_graph(graph, options), options)
        self._names = self._compiled.inputs
        self._take = [list(inputs).index(n) for n in self._names]
        self._fetched = self._compiled.fetched
        self._single = isinstance(want, Variable)
        self._flat = isinstance(want, tuple) and all(isinstance(v, Variable) for v in want) and type(want) is tuple

    @property
    def code(self) -> Code:
        return self._compiled.code

    def __call__(self, arrays: Sequence[object]) -> Any:
        values = [arrays[i] for i in self._take]
        try:
            results = self._compiled.run(values)
        except GraphlossError as error:
            raise located(error, self.program, dict(zip(self._names, values, strict=True))) from None
        if self._single:
            return results[self._fetched[0][0]]
        out = [results[i].copy() if again else results[i] for i, again in self._fetched]
        if self._flat:
            return tuple(out)
        given = iter(out)
        return mapped(lambda _: next(given), self._want, Variable)
