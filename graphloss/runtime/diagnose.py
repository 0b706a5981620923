"""What an error of a run says of the program: the declaration that a value does not fit, or the op that needs sizes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from graphloss.errors import GraphlossError, ShapeError
from graphloss.ir import dims
from graphloss.ir.dims import Dim, Equations
from graphloss.ir.graph import Op
from graphloss.ir.opdef import get
from graphloss.ir.operator import Operator
from graphloss.ir.program import Program


def located(error: GraphlossError, program: Program, values: Mapping[str, object]) -> GraphlossError:
    """`error` of a run with these inputs, told what of `program` it is about; what it knows already it keeps."""
    variables = program.global_block().vars
    if error.op is not None:
        return error
    if error.variable in variables:
        return error.with_op(variables[error.variable], variables[error.variable].location)
    if isinstance(error, ShapeError):
        statement = _first_unmet(program, _sizes(program, values))
        if statement is not None:
            return error.with_op(statement, statement.location)
    return error


def _sizes(program: Program, values: Mapping[str, object]) -> dict[str, int]:
    """The size of each dimension that a variable among `values` declares as unknown."""
    sizes: dict[str, int] = {}
    for name, value in values.items():
        shape = program.global_block().vars[name].type.shape
        for declared, size in zip(shape, np.shape(np.asarray(value)), strict=False):
            found = dims.shifted(declared)
            if found is not None:
                sizes[found[0]] = size - found[1]
    return sizes


def _first_unmet(program: Program, sizes: Mapping[str, int]) -> Operator | None:
    """The first statement that needs two dimensions to be equal which are not, for these sizes."""
    variables = program.global_block().vars
    equations = Equations()
    for statement in program.global_block().ops:
        known = len(equations.recorded)
        entry = statement.entry
        if isinstance(entry, Op):
            get(entry.type).infer([variables[i].type for i in entry.inputs], entry.attr, equations)
        else:
            target, value = variables[entry.target].type, variables[entry.value].type
            for a, b in zip(target.shape, value.shape, strict=True):
                equations.equal(a, b)
        if any(_value(e.left, sizes) != _value(e.right, sizes) for e in equations.recorded[known:]):
            return statement
    return None


def _value(dim: Dim, sizes: Mapping[str, int]) -> int | None:
    try:
        return dims.evaluate(dim, sizes)
    except KeyError:
        return None
