"""Fluid's layers of linear chains: the CRF and its decoding."""

from __future__ import annotations

from graphloss import ops
from graphloss.errors import AttrError, ShapeError, UnknownVariable
from graphloss.ir.context import layer as layer_context
from graphloss.ir.defaults import default_main_program
from graphloss.ir.tensor import Tensor
from graphloss.layers.helper import layer_function, make_parameter, require_program
from graphloss.losses import chain, checks
from graphloss.losses.chain import Chain
from graphloss.losses.labels import stopped
from graphloss.param_attr import ParamAttr

__all__ = ["crf_decoding", "linear_chain_crf"]


@checks.located
def linear_chain_crf(input: Tensor, label: Tensor, param_attr: object = None, length: Tensor | None = None) -> Tensor:
    """The cost of the tags of each sequence in a linear-chain conditional random field: −ln p(tags) = ln Z − score.

    score(y) = a[y_1] + Σ_t x[t, y_t] + Σ_t w[y_t, y_t+1] + b[y_T], Z the sum of e^score over all tags. Its parameter
    [D+2, D] has the start weights a in row 0, the end weights b in row 1, and w behind them. A sequence of no rows
    costs 0. The gradients are the marginals less what the tags tell, exact for weights of any size.

    Args:
        input: emissions [B, T, D]; with sequences (lod_level 1) [rows of all sequences, D].
        label: tags in [0, D), [B, T] or [B, T, 1]; with the same sequences [rows, 1].
        param_attr: of the parameter; its name is what `crf_decoding` reads.
        length: how many rows of each padded sequence count, [B] or [B, 1]; None for packed ones.

    Returns:
        [B, 1].

    Raises:
        LabelError (in the run): a tag or a length out of range, with its place.
        ValueRangeError (in the run): input and label are divided into different sequences.
        AttrError, ShapeError, DtypeError: at the call. UnsupportedError: neither sequences nor lengths.

    Source:
        Lafferty, McCallum and Pereira, Conditional random fields, 2001; paddle.fluid.layers.linear_chain_crf.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> main, startup = gl.Program(), gl.Program()
        >>> with gl.program_guard(main, startup):
        ...     x, y = gl.data("x", [None, 3, 2]), gl.data("y", [None, 3], "int64")
        ...     n = gl.data("n", [None], "int64")
        ...     attr = gl.ParamAttr(name="crf", initializer=gl.initializer.Constant(0.0))
        ...     cost = gl.layers.linear_chain_crf(x, y, attr, n)
        >>> exe = gl.Executor()
        >>> _ = exe.run(startup)
        >>> feed = {"x": np.zeros((1, 3, 2), "float32"), "y": np.array([[0, 1, 1]]), "n": np.array([3])}
        >>> exe.run(main, feed, [cost])[0].round(4)  # all 8 ways are equally probable
        array([[2.0794]], dtype=float32)
    """
    where = "linear_chain_crf"
    x, y = checks.tensor(input, "input", where), checks.tensor(label, "label", where)
    with layer_context(where, None) as made:
        rows = _chain(x, length, where, y)
        chain.require_tags(y, x, where)
        tags = x.type.shape[-1]
        if not isinstance(tags, int):
            raise ShapeError(f"{where}: the number of tags is that of a parameter", "a number", checks.shape_text(x))
        parameter = make_parameter(param_attr, [tags + 2, tags], x.type.dtype, made)
        if parameter is None:
            raise AttrError(f"{where}: the weights cannot be left out", got="param_attr=False")
        start, end, transition = _parts(parameter)
        cost = ops.linear_chain_crf(rows.emission, transition, start, end, rows.rows(y), rows.offsets, rows.length)
        return ops.unsqueeze(cost, (1,))


@layer_function
def crf_decoding(
    input: Tensor, param_attr: object, label: Tensor | None = None, length: Tensor | None = None
) -> Tensor:
    """The most probable tags of each sequence (Viterbi); with `label`, 1 where they are those of the label, else 0.

    Args:
        input, length: as for `linear_chain_crf`.
        param_attr: names the parameter of `linear_chain_crf`, which is in the main program.
        label: tags to compare with.

    Returns:
        int64 [B, T], 0 behind the end of a sequence; [rows, 1] of packed ones. Of equally probable tags the lowest.

    Raises:
        UnknownVariable: the program has no such parameter. Otherwise as `linear_chain_crf`.

    Source:
        Viterbi, Error bounds for convolutional codes and an asymptotically optimum decoding algorithm, 1967;
        paddle.fluid.layers.crf_decoding.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> main, startup = gl.Program(), gl.Program()
        >>> with gl.program_guard(main, startup):
        ...     x, n = gl.data("x", [None, 3, 2]), gl.data("n", [None], "int64")
        ...     zero = gl.initializer.Constant(0.0)
        ...     w = gl.layers.create_parameter([4, 2], "float32", "crf", default_initializer=zero)
        ...     path = gl.layers.crf_decoding(x, gl.ParamAttr(name="crf"), length=n)
        >>> exe = gl.Executor()
        >>> _ = exe.run(startup)
        >>> feed = {"x": np.array([[[0, 1], [2, 0], [0, 3]]], "float32"), "n": np.array([2])}
        >>> exe.run(main, feed, [path])[0]
        array([[1, 0, 0]])
    """
    where = "crf_decoding"
    x = checks.tensor(input, "input", where)
    y = checks.optional_tensor(label, "label", where)
    rows = _chain(x, length, where, *([] if y is None else [y]))
    attr = ParamAttr.of(param_attr)
    block = default_main_program().global_block()
    name = None if attr is None else attr.name
    if name is None or not block.has_var(name):
        raise UnknownVariable(str(name), tuple(p.name for p in block.program.all_parameters()))
    start, end, transition = _parts(block.var(name))
    path, _ = ops.crf_viterbi(rows.emission, transition, start, end, rows.offsets, rows.length)
    if y is None:
        return stopped(rows.shaped(path))
    chain.require_tags(y, x, where)
    equal = rows.shaped(ops.cast(ops.equal(path, ops.cast(rows.rows(y), "int64")), "int64"))
    return stopped(equal if rows.padded is None else ops.where(rows.before_end(), equal, 0))


def _chain(x: Tensor, length: object, where: str, *others: Tensor) -> Chain:
    require_program(x, where, "nn.functional.linear_chain_crf and crf_viterbi take the weights as arguments")
    checks.require_float(x, where)
    rank = 2 if length is None else 3
    if x.type.rank != rank:
        want = "packed emissions [rows, D]" if length is None else "padded emissions [B, T, D]"
        raise ShapeError(f"{where}: the input has the wrong rank", want, checks.shape_text(x))
    return chain.packed(x, *others) if length is None else chain.padded(x, length, where)


def _parts(parameter: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Start weights, end weights, transitions."""
    return (
        ops.getitem(parameter, 0), ops.getitem(parameter, 1), ops.getitem(parameter, slice(2, None))
    )  # fmt: skip
