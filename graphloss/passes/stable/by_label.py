"""One element of each row, gathered by its position in the whole, is a pick along the row."""

from __future__ import annotations

from typing import Final, cast

from graphloss import ops
from graphloss.ir.dims import Dim
from graphloss.ir.graph import Op
from graphloss.ir.tensor import Tensor
from graphloss.passes.stable.terms import operand
from graphloss.rewrite.pattern import op
from graphloss.rewrite.rule import Example, Match, Result, Rule, Surroundings

_PICK: Final = {"x": "f32[N, 5]", "y": "i64[N]"}


def _same(graph: Surroundings, a: tuple[Dim, ...], b: tuple[Dim, ...]) -> bool:
    return len(a) == len(b) and all(map(graph.same_dim, a, b))


def _column(graph: Surroundings, name: str) -> str:
    """What a column of a table is, where the table was put together from columns."""
    gone = operand(graph, name, "squeeze")
    cut = None if gone is None else operand(graph, gone.inputs[0], "slice")
    table = None if cut is None else operand(graph, cut.inputs[0], "concat")
    if gone is None or cut is None or table is None:
        return name
    starts, sizes, steps = (cast("tuple[Dim, ...]", cut.attr[k]) for k in ("starts", "sizes", "steps"))
    shape = graph.type_of(table.outputs[0]).shape
    if gone.attr["axes"] != (1,) or len(shape) != 2 or table.attr["axis"] not in (1, -1):
        return name
    number, widths = starts[1], [graph.type_of(n).shape[1] for n in table.inputs]
    whole = _same(graph, sizes, (shape[0], 1)) and starts[0] == 0 and steps == (1, 1)
    if not whole or any(w != 1 for w in widths) or not isinstance(number, int):
        return name
    column = operand(graph, table.inputs[number], "unsqueeze")
    return name if column is None or column.attr["axes"] not in ((1,), (-1,)) else column.inputs[0]


def _checked(graph: Surroundings, name: str, limit: Dim) -> str | None:
    """The index that was found to be below `limit`."""
    check = operand(graph, name, "check_index")
    if check is None or not _same(graph, cast("tuple[Dim, ...]", check.attr["limit"]), (limit,)):
        return None
    return _column(graph, check.inputs[0])


def _counts_rows(graph: Surroundings, name: str, rows: Dim) -> bool:
    count = operand(graph, name, "iota")
    return count is not None and _same(graph, graph.type_of(name).shape, (rows,))


def _rewrite(m: Match) -> Result:
    graph = m.graph
    flat, sum_ = operand(graph, m.op.inputs[0], "reshape"), operand(graph, m.op.inputs[1], "add")
    if flat is None or sum_ is None or graph.type_of(m.op.inputs[0]).rank != 1:
        return None
    x = graph.value(flat.inputs[0])
    if x.type.rank != 2:
        return None
    rows, classes = x.type.shape
    for first, last in (sum_.inputs, sum_.inputs[::-1]):
        product, label = operand(graph, first, "mul"), _checked(graph, last, classes)
        row = None if product is None or label is None else _row(graph, product, classes)
        if row is not None and label is not None and _counts_rows(graph, row, rows):
            y = graph.value(label)
            return ops.pick(x, y, 1) if _same(graph, y.type.shape, (rows,)) else None
    return None


def _row(graph: Surroundings, product: Op, classes: Dim) -> str | None:
    """r where the op is r·classes, apart from a check of r."""
    for a, b in (product.inputs, product.inputs[::-1]):
        count = operand(graph, b, "size")
        known = None if count is None else cast("tuple[Dim, ...]", count.attr["shape"])
        if graph.number_of(b) == classes or (known is not None and _same(graph, known, (classes,))):
            check = operand(graph, a, "check_index")
            return a if check is None else _column(graph, check.inputs[0])
    return None


def _positions(x: Tensor, y: Tensor) -> Tensor:
    count = ops.iota((x.type.shape[0],))
    return ops.concat([ops.unsqueeze(count, 1), ops.unsqueeze(y, 1)], 1)


RULES: Final = (
    Rule(
        name="gather-by-label", formula="gather_nd(x, [(0, y_0), (1, y_1), ...]) -> pick(x, y)",
        why="one element of each row: no table of positions, and its gradient is no scatter", numerics="exact",
        roots=("gather",), rewrite=_rewrite,
        fires=(
            Example(_PICK, lambda x, y: ops.gather_nd(x, _positions(x, y)), lambda x, y: op.pick(x, y, axis=1)),
            Example(
                _PICK, lambda x, y: op.gather(op.reshape(x, shape=(x.type.size,)),
                    op.iota(shape=x.type.shape[:1], axis=0, dtype="int64") * ops.size((5,)) + ops.check_index(y, 5)),
                lambda x, y: op.pick(x, y, axis=1),
            ),
        ),
        stays=(
            Example({"x": "f32[N, 5]", "y": "i64[N, 2]"}, lambda x, y: ops.gather_nd(x, y)),
            Example({"x": "f32[N, 5]", "y": "i64[M]"}, lambda x, y: ops.gather(x, y)),
            Example(_PICK, lambda x, y: op.gather(op.reshape(x, shape=(x.type.size,)), y)),
        ),
    ),
)  # fmt: skip
