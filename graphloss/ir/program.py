"""A program: what the user builds, op by op, and what a run takes a snapshot of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from graphloss.errors import ArgumentTypeError, IndexRangeError, ParseError
from graphloss.ir.block import Block
from graphloss.ir.clone import cloned
from graphloss.ir.dims import Dim, Equations, symbol
from graphloss.ir.graph import Graph
from graphloss.ir.location import user_location
from graphloss.ir.netx import to_networkx
from graphloss.ir.parameter import Parameter
from graphloss.ir.reach import late_gradient
from graphloss.ir.snapshot import snapshot
from graphloss.ir.tensor import Tensor
from graphloss.ir.text import program_of_text, text_of_program
from graphloss.ir.variable import Variable

if TYPE_CHECKING:
    import networkx

_first_seed = [0]


class Program:
    """Blocks of ops on named variables.

    `edits` counts the changes; `compiled` is a place for what was made from the program, emptied at each change.
    `equations` hold what its ops need of symbolic dimensions; `sequences` name the offsets that divide rows.

    Example:
        >>> program = Program()
        >>> program.num_blocks, program.random_seed, program.global_block().ops
        (1, 0, [])
    """

    def __init__(self, name: str = "main") -> None:
        self.name = name
        self.location = user_location()
        self.equations = Equations()
        self.sequences: dict[str, tuple[str, ...]] = {}
        self.family = object()  # a clone has that of its original
        self.edits = 0
        self.compiled: dict[object, object] = {}
        self.scopes: dict[str, int] = {}  # how often each name scope was entered
        self._symbols: dict[str, str] = {}
        self._random_seed = _first_seed[0]
        self._blocks = [Block(self)]

    # -- blocks and variables -------------------------------------------------------------------------------------

    @property
    def num_blocks(self) -> int:
        return len(self._blocks)

    def global_block(self) -> Block:
        """Block 0."""
        return self._blocks[0]

    def current_block(self) -> Block:
        """The block that new ops go to."""
        return self._blocks[0]

    def block(self, index: int) -> Block:
        if not isinstance(index, int):
            raise ArgumentTypeError("a block is found by its number", "int", type(index).__name__)
        if not 0 <= index < len(self._blocks):
            raise IndexRangeError("there is no such block", f"0 to {len(self._blocks) - 1}", index)
        return self._blocks[index]

    def var(self, name: str) -> Variable:
        """The variable called `name`; see `Block.var`."""
        return self.global_block().var(name)

    def list_vars(self) -> Iterator[Variable]:
        """All variables of all blocks."""
        for block in self._blocks:
            yield from tuple(block.vars.values())

    def all_parameters(self) -> list[Parameter]:
        return [p for block in self._blocks for p in block.all_parameters()]

    @property
    def random_seed(self) -> int:
        """The seed of random ops that have none of their own; with 0 these draw anew in each run.

        Another seed gives each op a stream of its own, the same in each run and on each platform. Set it before those
        ops are added.
        """
        return self._random_seed

    @random_seed.setter
    def random_seed(self, seed: int) -> None:
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise ArgumentTypeError("random_seed must be an integer", "int", type(seed).__name__)
        self._random_seed = seed
        self.edited()

    @staticmethod
    def global_seed(seed: int = 0) -> None:
        """The `random_seed` of the programs that are made from now on."""
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise ArgumentTypeError("global_seed takes an integer", "int", type(seed).__name__)
        _first_seed[0] = seed

    # -- the whole ------------------------------------------------------------------------------------------------

    def clone(self, for_test: bool = False) -> Program:
        """A deep copy; for a test, without the ops of training and what depends on them.

        There, each `is_test` attribute is True too. Variables keep their names.
        """
        return cloned(self, Program(self.name), for_test)

    def snapshot(self, fetches: Sequence[Tensor | str] = ()) -> Graph:
        """The program as a frozen graph in SSA form that computes `fetches`, in their order, and every effect.

        Raises:
            UnknownVariable: a fetch that the program does not have.
            VerifyError: something that runs reads a variable before anything defines it.
        """
        return snapshot(self, fetches)

    def to_networkx(self, fetches: Sequence[Tensor | str] = ()) -> networkx.MultiDiGraph[str | int]:
        """The snapshot that computes `fetches` as a networkx graph: a node for each value and each op, and an edge for
        each operand and each result.

        A value's node is its name, with `kind`, `type`, `fetched` and `written`; an op's node is its position, with
        `kind` "op", `op`, `attrs`, `role` and `scope`. Edges carry the `position` of the operand or result.

        Raises:
            UnknownVariable: a fetch that the program does not have.

        Example:
            >>> import graphloss as gl
            >>> main = gl.Program()
            >>> with gl.program_guard(main):
            ...     y = gl.layers.exp(gl.data("x", [3]))
            >>> list(main.to_networkx([y]).edges()) == [("x", 0), (0, y.name)]
            True
        """
        return to_networkx(self.snapshot(fetches))

    def to_string(self, throw_on_error: bool = False, with_details: bool = False) -> str:
        """The program as text; with details, comments say what else variables carry and where ops were written."""
        for argument in (throw_on_error, with_details):
            if not isinstance(argument, bool):
                raise ArgumentTypeError("to_string takes flags", "bool", type(argument).__name__)
        return text_of_program(self, with_details)

    def __str__(self) -> str:
        return self.to_string()

    def __repr__(self) -> str:
        block = self.global_block()
        return f"<Program {self.name!r}: {len(block.ops)} ops, {len(block.vars)} variables>"

    @staticmethod
    def parse_from_string(text: str | bytes) -> Program:
        """The program that `to_string` wrote. Facts that only Python has are lost: the class Parameter, stop_gradient.

        Raises:
            ParseError: the text does not follow the grammar, with line and column.
        """
        if isinstance(text, bytes):
            try:
                text = text.decode()
            except UnicodeDecodeError as error:
                raise ParseError("the text is not UTF-8", 1, error.start + 1) from None
        if not isinstance(text, str):
            raise ArgumentTypeError("a program is read from its text", "str or bytes", type(text).__name__)
        return program_of_text(text, Program())

    # -- for the parts that build programs ------------------------------------------------------------------------

    @property
    def described(self) -> str:
        """What an error calls it."""
        made = f"made at {self.location}" if self.location else "the default one, outside of every program_guard"
        return f"program {self.name!r} ({made})"

    def edited(self) -> None:
        """Notes a change: nothing made from the program before it may be used again."""
        self.edits += 1
        self.compiled.clear()

    def bind_symbol(self, wanted: str, var: str) -> Dim:
        """A symbol that the shape of `var` binds: `wanted`, or the next free name where another variable has that."""
        name, n = wanted, 0
        while self._symbols.get(name, var) != var:
            n += 1
            name = f"{wanted}_{n}"
        self._symbols[name] = var
        return symbol(name)

    def fresh_symbol(self, wanted: str) -> Dim:
        """A symbol that no shape has yet, for a size that only a result of a run tells."""
        name, n = wanted, 0
        while name in self._symbols:
            n += 1
            name = f"{wanted}_{n}"
        self._symbols[name] = ""  # the shape of no variable binds it
        return symbol(name)

    def symbol_owner(self, name: str) -> str | None:
        """The variable whose shape binds a symbol."""
        return self._symbols.get(name)

    def forget_equations(self, known: int) -> None:
        """Takes back the equations after the first `known`: the op that asked for them was refused."""
        self.equations = Equations(tuple(self.equations.recorded[:known]))

    def own_symbol(self, name: str, var: str) -> None:
        """Says that the shape of `var` binds the symbol `name`, unless another's does."""
        self._symbols.setdefault(name, var)

    def renamed(self, old: str, new: str) -> None:
        self._symbols = {s: (new if v == old else v) for s, v in self._symbols.items()}
        named = {n: new if n == old else n for names in self.sequences.items() for n in (names[0], *names[1])}
        self.sequences = {named[n]: tuple(map(named.__getitem__, v)) for n, v in self.sequences.items()}
        self.edited()

    def adopt_symbols(self, other: Program) -> None:
        self._symbols.update(other._symbols)

    def late_gradient(self, name: str) -> Variable | None:
        """The gradient variable `name`, if an `append_backward` can still give it."""
        return late_gradient(self, name)
