"""Variables of a program: the handles that op constructors take and return."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from graphloss.errors import UnsupportedError
from graphloss.ir.location import Location
from graphloss.ir.printer import type_text
from graphloss.ir.sequences import divide, levels
from graphloss.ir.tensor import Tensor
from graphloss.ir.types import TensorType

if TYPE_CHECKING:
    from graphloss.ir.block import Block
    from graphloss.ir.operator import Operator

GRAD_SUFFIX = "@GRAD"


class Variable(Tensor):
    """A named value of a program.

    Made by `data`, by op constructors and by `Block.create_var`, never directly. Python's operators and `v[...]` append
    ops to the current program; `==` and `!=` do too, so compare handles by identity.
    """

    def __init__(
        self,
        block: Block,
        name: str,
        type: TensorType | None,
        *,
        persistable: bool = False,
        stop_gradient: bool = False,
        is_data: bool = False,
        lod_level: int = 0,
        location: Location | None = None,
    ) -> None:
        self.block = block
        self._name = name
        self._type = type
        self._persistable = persistable
        self._stop_gradient = stop_gradient
        self.is_data = is_data
        self.declared_lod_level = lod_level  # what it was made with; that of a result follows from its operands
        self.location = location
        self.op: Operator | None = None  # the statement that first defines it

    @property
    def type(self) -> TensorType:
        """Element type and symbolic shape."""
        if self._type is None:
            raise UnsupportedError(
                f"variable {self._name!r} has no shape and dtype yet",
                hint="give them to create_var, or let an op write the variable first",
            )
        return self._type

    @property
    def has_type(self) -> bool:
        """Whether shape and dtype are known yet."""
        return self._type is not None

    def assume(self, type: TensorType) -> None:
        """Gives shape and dtype to a variable that was made without."""
        self._type = type

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, new: str) -> None:
        self.block.rename(self._name, new)
        self._name = new

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, with -1 where a dimension is known at run time only; `type.shape` has the symbols."""
        return tuple(super().shape)

    @property
    def persistable(self) -> bool:
        """Whether the scope keeps the value between runs."""
        return self._persistable

    @persistable.setter
    def persistable(self, value: bool) -> None:
        self._persistable = bool(value)
        self.block.program.edited()

    @property
    def stop_gradient(self) -> bool:
        """Whether no gradient flows into or through it."""
        return self._stop_gradient

    @stop_gradient.setter
    def stop_gradient(self, value: bool) -> None:
        self._stop_gradient = bool(value)
        self.block.program.edited()

    @property
    def lod_level(self) -> int:
        """How deeply its rows are divided into sequences; 0 is a plain array."""
        return self.declared_lod_level or len(levels(self))

    def offsets(self) -> Variable | None:
        """The variable that holds the offsets [S+1] of its sequences, as they are fed; None for a plain array."""
        found = levels(self)
        return self.block.program.global_block().vars[found[-1]] if found else None

    def divide(self, offsets: Tensor) -> None:
        """Says that `offsets`, int64 [S+1], divide its first dimension, and so every variable that has it."""
        divide(self, self.block.own("divide", offsets))

    @property
    def grad_name(self) -> str:
        """The name of its gradient."""
        return self._name + GRAD_SUFFIX

    @property
    def _called(self) -> str:
        return f"variable {self._name!r}"

    def to_string(self, throw_on_error: bool = False, with_details: bool = False) -> str:
        """One line of text; with details, what else the variable carries."""
        kind = "feed " if self.is_data else "state " if self._persistable else ""
        text = f"{kind}%{self._name} : {type_text(self._type) if self._type else 'untyped'}"
        return f"{text}  ; {self.details_text}" if with_details else text

    @property
    def details_text(self) -> str:
        """What else the variable carries, as text."""
        return ", ".join(f"{k}={v}" for k, v in self._details().items())

    def _details(self) -> dict[str, object]:
        return {
            "stop_gradient": self._stop_gradient,
            "persistable": self._persistable,
            "is_data": self.is_data,
            "lod_level": self.lod_level,
        }

    def __str__(self) -> str:
        return self.to_string()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.to_string()}>"

    def numpy(self) -> NoReturn:
        """Eager arrays only: a program's variable has a value in a run."""
        raise self._eager_only("numpy()", "fetch it: Executor.run(program, feed, fetch_list=[v])")

    def __array_function__(self, func: Callable[..., object], *_: object) -> NoReturn:
        """Eager arrays only: NumPy's functions would otherwise take a variable for an object."""
        raise self._eager_only(f"numpy.{func.__name__}", "gl.ops and gl.layers have functions of variables")

    def item(self) -> NoReturn:
        """Eager arrays only: a program's variable has a value in a run."""
        raise self._eager_only("item()", "fetch it: Executor.run(program, feed, fetch_list=[v])")

    def backward(self) -> NoReturn:
        """Eager arrays only: see `append_backward`."""
        raise self._eager_only("backward()", "use append_backward(loss) or gradients(targets, inputs)")

    def gradient(self) -> NoReturn:
        """Eager arrays only: see `gradients`."""
        raise self._eager_only("gradient()", "use gradients(targets, inputs), or fetch the name in grad_name")

    def detach(self) -> NoReturn:
        """Eager arrays only: see `stop_gradient`."""
        raise self._eager_only("detach()", "set stop_gradient, or give gradients() a no_grad_set")

    def set_value(self, value: object) -> NoReturn:
        """Eager arrays only: a run or the scope sets values."""
        raise self._eager_only("set_value()", "feed it, or set it in the scope")

    def clear_gradient(self) -> NoReturn:
        """Eager arrays only."""
        raise self._eager_only("clear_gradient()", "gradients of a program do not accumulate between runs")

    def _eager_only(self, method: str, hint: str) -> UnsupportedError:
        return UnsupportedError(
            f"{method} needs an eager array, and {self._name!r} is a variable of a program",
            where=self.location,
            hint=hint,
        )
