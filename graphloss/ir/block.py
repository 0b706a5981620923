"""A block: variables by name, and the statements that define them, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from graphloss import dtypes
from graphloss.errors import (
    ArgumentTypeError,
    AttrError,
    DtypeError,
    GraphlossError,
    ShapeError,
    UnknownVariable,
    UnsupportedError,
)
from graphloss.ir import unique_name
from graphloss.ir.context import current_role, current_scope, output_names
from graphloss.ir.dims import Dim
from graphloss.ir.graph import Op
from graphloss.ir.location import user_location
from graphloss.ir.opdef import OpDef, freeze, get
from graphloss.ir.operator import DERIVATIVES, Operator, Write
from graphloss.ir.parameter import Parameter
from graphloss.ir.printer import call_text, op_text, statement_text, type_text
from graphloss.ir.sequences import check_divisible, check_level, declare
from graphloss.ir.slots import Slots, arguments, results
from graphloss.ir.tensor import Tensor
from graphloss.ir.types import TensorType
from graphloss.ir.variable import Variable

if TYPE_CHECKING:
    from graphloss.ir.program import Program

_V = TypeVar("_V", bound=Variable)


class Initializer(Protocol):
    """Appends to `block` the ops that give `var` its first value."""

    def __call__(self, var: Variable, block: Block) -> object: ...


class Block:
    """Variables and statements; a program's block 0 is its whole text outside control flow."""

    def __init__(self, program: Program, idx: int = 0, parent_idx: int = -1) -> None:
        self.program = program
        self.idx = idx
        self.parent_idx = parent_idx
        self.vars: dict[str, Variable] = {}
        self.ops: list[Operator] = []

    # -- variables ------------------------------------------------------------------------------------------------

    def var(self, name: str) -> Variable:
        """The variable called `name`.

        `x@GRAD`, for an x on the way to the loss of an earlier `append_backward`, is made when it is first asked for.

        Raises:
            ArgumentTypeError: `name` is no str.
            UnknownVariable: there is none.
        """
        if not isinstance(name, str):
            raise ArgumentTypeError("a variable is looked up by its name", "str", type(name).__name__)
        found = self.vars.get(name)
        if found is None:
            found = self.program.late_gradient(name)
        if found is None:
            raise UnknownVariable(name, self.vars)
        return found

    def has_var(self, name: str) -> bool:
        """Whether `name` is a variable by now."""
        return name in self.vars

    def all_parameters(self) -> list[Parameter]:
        return [v for v in self.vars.values() if isinstance(v, Parameter)]

    def create_var(
        self,
        name: str | None = None,
        shape: Sequence[int | None] | None = None,
        dtype: object | None = None,
        lod_level: int | None = None,
        persistable: bool | None = None,
        stop_gradient: bool = False,
        is_data: bool = False,
        type: TensorType | None = None,
    ) -> Variable:
        """A new variable; without shape and dtype it gets them from the first op that writes it.

        A name that exists with equal properties gives the variable there is. An input with a `lod_level` brings the
        variables of its offsets.

        Raises:
            AttrError: the name exists with other properties, or is empty.
            ShapeError: a dimension that is no integer ≥ 0, None or -1.
        """
        if name is None:
            name = self._unused("_generated_var")
        self._check_name(name)
        lod_level, persistable = check_level(lod_level, name), bool(persistable)
        if is_data and lod_level:
            check_divisible(name, shape, lod_level)
        if type is None and shape is not None:
            type = TensorType("float32" if dtype is None else dtypes.canonical(dtype), self._shape(name, shape))
        old = self.vars.get(name)
        if old is not None:
            self._check_same(old, type, lod_level, persistable)
            return old
        made = Variable(
            self,
            name,
            type,
            persistable=persistable,
            stop_gradient=stop_gradient,
            is_data=is_data,
            lod_level=lod_level,
            location=user_location(),
        )
        self._add(made)
        if is_data:
            declare(made)
        return made

    def create_parameter(
        self,
        name: str,
        shape: Sequence[int],
        dtype: object,
        initializer: Initializer | None = None,
        trainable: bool = True,
        optimize_attr: Mapping[str, float] | None = None,
        regularizer: object = None,
        do_model_average: bool | None = None,
        is_distributed: bool = False,
    ) -> Parameter:
        """A parameter, always in the global block; `initializer` appends the ops that give it its first value.

        Raises:
            ShapeError: no shape, an empty one, or a dimension that is not a size.
            AttrError: the name exists with other properties.
            UnsupportedError: it is initialised a second time.
        """
        owner = self.program.global_block()
        if shape is not None and (isinstance(shape, str) or not isinstance(shape, Sequence)):
            raise ArgumentTypeError(f"the shape of {name!r} is a list or tuple", "list or tuple", type(shape).__name__)
        if shape is None or len(shape) == 0 or dtype is None:
            raise ShapeError(
                f"parameter {name!r} needs a shape of at least one dimension, and a dtype",
                got=f"shape {shape}, dtype {dtype}",
            )
        if any(not hasattr(d, "__index__") or d < 0 for d in shape):
            raise ShapeError(f"parameter {name!r} has an unknown dimension", "integers ≥ 0", f"shape {list(shape)}")
        made_type = TensorType(dtypes.canonical(dtype), self._shape(name, shape))
        old = owner.vars.get(name)
        if old is not None:
            owner._check_same(old, made_type, 0, True)
            if not isinstance(old, Parameter):
                raise AttrError(f"variable {name!r} exists and is no parameter", where=old.location)
            parameter = old
        else:
            parameter = Parameter(
                owner,
                name,
                made_type,
                trainable=trainable,
                optimize_attr=optimize_attr,
                regularizer=regularizer,
                do_model_average=do_model_average,
                is_distributed=is_distributed,
                location=user_location(),
            )
            owner._add(parameter)
        if initializer is not None:
            if any(name in op.output_arg_names for op in owner.ops):
                raise UnsupportedError(f"parameter {name!r} is initialised more than once", where=parameter.location)
            initializer(parameter, owner)
        return parameter

    # -- statements -----------------------------------------------------------------------------------------------

    def append(
        self, op: OpDef, inputs: Sequence[Tensor], attrs: Mapping[str, object], names: Sequence[str] | None = None
    ) -> tuple[Variable, ...]:
        """Appends an op whose attributes are complete, and returns its outputs, which are new variables.

        `names` are theirs; by default they are generated. Role, name scope and location come from the context.
        """
        loc = user_location()
        operands = tuple(self.own(op.name, x) for x in inputs)
        known = len(self.program.equations.recorded)
        try:
            types = op.infer([x.type for x in operands], attrs, self.program.equations)
        except GraphlossError as error:
            self.program.forget_equations(known)
            raise error.with_op(call_text(op.name, [(x.name, x.type) for x in operands], attrs), loc) from None
        if names is None:
            names = output_names(op.name, len(types), self.vars.__contains__)
        entry = Op(
            op.name,
            tuple(x.name for x in operands),
            tuple(names),
            freeze(attrs),
            current_role(),
            loc,
            current_scope(),
        )
        return self.take(entry, types)

    def write(self, var: Variable, value: Tensor) -> None:
        """From here on, `var` means `value`; if `var` is persistable, each run that succeeds commits it to the scope.

        A float32 is rounded for a variable that stores halves.

        Raises:
            DtypeError, ShapeError: the types differ.
        """
        loc = user_location()
        target, source = self.own("write", var), self.own("write", value)
        text = statement_text("write", target.name, source.name)
        if not target.has_type:
            target.assume(source.type)
        if dtypes.is_half(target.dtype) and source.dtype == "float32":
            (source,) = self.append(get("cast"), (source,), {"dtype": target.dtype})
        if target.dtype != source.dtype:
            raise DtypeError("a write changes the dtype", type_text(target.type), type_text(source.type), text, loc)
        known = len(self.program.equations.recorded)
        same = len(target.shape) == len(source.shape) and all(
            self.program.equations.equal(a, b, f"write of {target.name}") is not None
            for a, b in zip(target.type.shape, source.type.shape, strict=True)
        )
        if not same:
            self.program.forget_equations(known)
            raise ShapeError("a write changes the shape", type_text(target.type), type_text(source.type), text, loc)
        statement = self.push(Write(target.name, source.name, current_role(), loc, current_scope()))
        if target.op is None:
            target.op = statement

    def append_op(
        self,
        type: str | None = None,
        inputs: Slots | None = None,
        outputs: Slots | None = None,
        attrs: Mapping[str, object] | None = None,
    ) -> Operator:
        """Appends the op called `type`, its arguments given by slot, and infers its output types at once.

        An output that exists already is written: reads that follow see the new value. Outputs that are not given are
        new variables.

        Raises:
            AttrError: no such op, slot or attribute, or a required one is missing.
            ArgumentTypeError: an argument is neither Variable nor str, or `attrs` is no mapping.

        Example:
            >>> from graphloss.ir.program import Program
            >>> block = Program().global_block()
            >>> x = block.create_var("x", [3], "float32", is_data=True)
            >>> print(block.append_op("exp", {"X": x}, {"Out": "y"}))  # doctest: +SKIP
            %y = exp(%x) : f32[3]
        """
        if type is None:
            raise AttrError("append_op needs the type of the op")
        if not isinstance(type, str):
            raise ArgumentTypeError("the type of an op is its name", "str", type.__class__.__name__)
        if attrs is not None and not isinstance(attrs, Mapping):
            raise ArgumentTypeError(f"{type}: attrs must be a mapping", "dict", attrs.__class__.__name__)
        op = get(type)
        given = arguments(op, {} if inputs is None else inputs, self.var)
        complete = op.complete(attrs or {})
        if not op.halves:
            given, complete = [self._widened(x) for x in given], op.computing(complete)
        wanted = results(op, {} if outputs is None else outputs)
        names: list[str] = []
        fresh = output_names(op.name, len(wanted), self.vars.__contains__)
        for name, generated in zip(wanted, fresh, strict=True):
            names.append(generated if name is None or name in self.vars else name)
        made = self.append(op, given, complete, names)
        statement = self.ops[-1]
        for name, value in zip(wanted, made, strict=True):
            if name is not None and name != value.name:
                self.write(self.vars[name], value)
        return statement

    def to_string(self, throw_on_error: bool = False, with_details: bool = False) -> str:
        """The block as text; the only block of a program is the program's text."""
        return self.program.to_string(throw_on_error, with_details)

    def _widened(self, x: Variable) -> Variable:
        """A half as the float32 that ops compute with."""
        return self.append(get("cast"), (x,), {"dtype": "float32"})[0] if dtypes.is_half(x.type.dtype) else x

    def op_text(self, op: Op) -> str:
        return op_text(op, {n: self.vars[n].type for n in op.outputs})

    def own(self, op: str, x: Tensor) -> Variable:
        """`x`, if it is a variable of this program."""
        if not isinstance(x, Variable):
            raise ArgumentTypeError(
                f"{op}: an operand is no variable of a program",
                expected="a Variable",
                got=type(x).__name__,
                where=user_location(),
                hint="an eager array belongs inside dygraph.guard(); feed its value to a data variable instead",
            )
        if x.block.program is not self.program:
            raise ArgumentTypeError(
                f"{op}: variable {x.name!r} belongs to another program",
                expected=f"a variable of {self.program.described}",
                got=f"one of {x.block.program.described}, made at {x.location}",
                op=f"{op}({x.name})",
                where=user_location(),
                hint="build both inside one program_guard",
            )
        return x

    def push(self, entry: Op | Write) -> Operator:
        """Appends a statement as it is."""
        statement = Operator(self, entry)
        self.ops.append(statement)
        self.program.edited()
        return statement

    def take(self, entry: Op, types: Sequence[TensorType]) -> tuple[Variable, ...]:
        """Appends an op whose output types are known; its outputs are new variables."""
        statement, op = self.push(entry), get(entry.type)
        return tuple(self._output(statement, op, n, t) for n, t in zip(entry.outputs, types, strict=True))

    def _output(self, statement: Operator, op: OpDef, name: str, type: TensorType) -> Variable:
        # constants, and what is made from integers only, need no gradient
        depends = any(dtypes.is_float(self.vars[n].dtype) for n in statement.input_arg_names)
        differentiable = dtypes.is_float(type.dtype) and (op.vjp is not None or op.name in DERIVATIVES)
        made = Variable(self, name, type, stop_gradient=not (depends and differentiable), location=statement.location)
        return self.define(made, statement)

    def define(self, var: Variable, statement: Operator) -> Variable:
        """Takes in `var` as an output of `statement`."""
        var.op = statement
        return self._add(var)

    # -- names ----------------------------------------------------------------------------------------------------

    def rename(self, old: str, new: str) -> None:
        """Gives a variable another name, in every statement too."""
        if new == old:
            return
        self._check_name(new)
        if new in self.vars:
            raise AttrError(f"variable {new!r} exists already", where=self.vars[new].location)
        self.vars = {(new if n == old else n): v for n, v in self.vars.items()}
        for op in self.ops:
            if old in op.input_arg_names or old in op.output_arg_names or op.type in DERIVATIVES:
                op.renamed(old, new)
        self.program.renamed(old, new)

    def _shape(self, name: str, shape: Sequence[int | None]) -> tuple[Dim, ...]:
        """Dimensions of a declared shape; each unknown one is a fresh symbol, named after the variable and the axis."""
        out: list[Dim] = []
        for axis, d in enumerate(shape):
            if d is None or d == -1:
                out.append(self.program.bind_symbol(f"{name}.{axis}", name))
            elif isinstance(d, bool) or not hasattr(d, "__index__") or d < 0:
                raise ShapeError(f"dimension {axis} of {name!r} is no size", "an integer ≥ 0, None or -1", repr(d))
            else:
                out.append(int(d))
        return tuple(out)

    def _check_same(self, old: Variable, type: TensorType | None, lod_level: int, persistable: bool) -> None:
        same_type = type is None or (old.has_type and old.type == type)
        if not (same_type and old.declared_lod_level == lod_level and old.persistable == persistable):
            raise AttrError(
                f"variable {old.name!r} exists with other properties",
                expected=old.to_string(),
                got=type_text(type) if type else "no type",
                where=old.location,
                hint="use another name",
            )

    def _add(self, var: _V) -> _V:
        self._check_name(var.name)
        self.vars[var.name] = var
        self.program.edited()
        return var

    def _check_name(self, name: str) -> None:
        if not isinstance(name, str):
            raise ArgumentTypeError("a variable's name is a text", "str", type(name).__name__)
        if not name:
            raise AttrError("a variable's name is empty")

    def _unused(self, key: str) -> str:
        while True:
            name = unique_name.generate(key)
            if name not in self.vars:
                return name
