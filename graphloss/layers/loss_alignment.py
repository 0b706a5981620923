"""Fluid's layers of alignments: CTC, its greedy decoder, and the edit distance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from graphloss import dtypes, ops
from graphloss.errors import ArgumentTypeError, AttrError, DtypeError, ShapeError
from graphloss.ir.tensor import Tensor
from graphloss.layers.helper import layer_function
from graphloss.losses import checks, ctc
from graphloss.losses.labels import stopped

__all__ = ["ctc_greedy_decoder", "edit_distance", "warpctc"]


@layer_function
def warpctc(
    input: Tensor,
    label: Tensor,
    blank: int = 0,
    norm_by_times: bool = False,
    input_length: Tensor | None = None,
    label_length: Tensor | None = None,
) -> Tensor:
    """−ln Σ Π_t p_t of the paths that collapse to the label, p the softmax of the logits.

    Paths collapse as repeats are merged and then blanks dropped. A label that needs more frames than there are costs 0,
    with gradient 0. The gradient by the logits is softmax − posterior, 0 behind the last frame.

    Args:
        input: logits [T, N, C]; with sequences (lod_level 1) and without lengths [frames of all samples, C]. With the
            blank C is the number of symbols and 1.
        label: classes, int32 or int64, none of them the blank: [N, S]; with sequences [symbols of all labels, 1].
        blank: the class that stands for no symbol.
        norm_by_times: divides the gradient of each sample, not its loss, by its number of frames.
        input_length: frames of each sample, [N].
        label_length: the length of each label, [N].

    Returns:
        [N, 1].

    Raises:
        LabelError (in the run): a length or a label out of range, with its sample and place.
        ValueRangeError (in the run): offsets of sequences that do not divide their rows.
        AttrError, ShapeError, DtypeError, ArgumentTypeError: at the call. UnsupportedError: neither sequences nor
            lengths.

    Source:
        Graves, Fernández, Gomez and Schmidhuber, Connectionist temporal classification, 2006;
        paddle.fluid.layers.warpctc.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y, t, s = (gl.dygraph.to_variable(v) for v in (
        ...         np.zeros((3, 1, 2)), np.array([[1]]), np.array([3]), np.array([1])))
        ...     np.exp(-gl.layers.warpctc(x, y, input_length=t, label_length=s).numpy()).round(6).tolist()
        [[0.75]]
    """
    where = "warpctc"
    x, y = checks.tensor(input, "input", where), checks.tensor(label, "label", where)
    checks.require_float(x, where)
    if not dtypes.is_int(y.type.dtype):
        raise DtypeError(f"{where}: labels are classes", "int32 or int64", y.type.dtype)
    if not isinstance(norm_by_times, bool):
        raise ArgumentTypeError(f"{where}: norm_by_times is True or False", "bool", type(norm_by_times).__name__)
    if (input_length is None) != (label_length is None):
        raise AttrError(f"{where}: the padded form needs both lengths", "input_length and label_length", "one of them")
    blank = ctc.blank_class(blank, x, where)
    if input_length is None:
        _require_ranks(where, x, y, 2, (1, 2), "packed", "[frames, C] and [symbols, 1]")
        ctc.require_same_count(x, y, ("input", "label"), where)
        padded, frames = ops.pad_sequences(x, ops.offsets_of(x))
        logits, sizes = ops.transpose(padded, (1, 0, 2)), ctc.lengths_of(y)
        y = ops.squeeze(y, 1) if y.type.rank == 2 else y
    else:
        _require_ranks(where, x, y, 3, (2,), "padded", "[T, N, C] and [N, S]")
        if not ctc.may_agree(y.type.shape[0], x.type.shape[1]):
            raise ShapeError(f"{where}: there is one label per sample", f"[{x.type.shape[1]}, S]", checks.shape_text(y))
        frames = ctc.lengths(input_length, x, 1, "input_length", where)
        sizes = ctc.lengths(label_length, x, 1, "label_length", where)
        logits = x
    with checks.calling(labels="label", input_lengths="input_length", label_lengths="label_length"):
        cost, _ = ops.ctc_with_logits(logits, y, frames, sizes, blank)
    cost = ctc.zero_where_impossible(cost)
    if norm_by_times:
        cost = ctc.per_frame_gradient(cost, frames)
    return ops.unsqueeze(cost, (1,))


@overload
def ctc_greedy_decoder(
    input: Tensor, blank: int, input_length: None = None, padding_value: int = 0, name: str | None = None
) -> Tensor: ...
@overload
def ctc_greedy_decoder(
    input: Tensor, blank: int, input_length: Tensor, padding_value: int = 0, name: str | None = None
) -> tuple[Tensor, Tensor]: ...
@layer_function
def ctc_greedy_decoder(
    input: Tensor, blank: int, input_length: Tensor | None = None, padding_value: int = 0, name: str | None = None
) -> Tensor | tuple[Tensor, Tensor]:
    """The most probable class of each frame, repeats merged and then blanks dropped.

    Args:
        input: probabilities or scores [N, T, C]; with sequences (lod_level 1) and without lengths [frames of all
            samples, C].
        blank: the class that stands for no symbol.
        input_length: frames of each sample, [N, 1] or [N].
        padding_value: what stands behind the end of a result.

    Returns:
        (symbols [N, T], their number [N, 1]), int64; of sequences the symbols of all samples [n, 1] with sequences of
        their own.

    Raises:
        LabelError (in the run): a length out of range.
        AttrError, ShapeError, DtypeError, ArgumentTypeError: at the call. UnsupportedError: neither sequences nor
            lengths.

    Source:
        paddle.fluid.layers.ctc_greedy_decoder, but where it has no symbol at all the result has no rows.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     frames = np.array([[[0.1, 0.7, 0.2], [0.1, 0.8, 0.1], [0.9, 0.0, 0.1], [0.2, 0.2, 0.6]]])
        ...     found = gl.layers.ctc_greedy_decoder(
        ...         gl.dygraph.to_variable(frames), 0, gl.dygraph.to_variable(np.array([[4]])))
        ...     [a.numpy().tolist() for a in found]
        [[[1, 2, 0, 0]], [[2]]]
    """
    where = "ctc_greedy_decoder"
    x = checks.tensor(input, "input", where)
    checks.require_float(x, where)
    packed = input_length is None
    if x.type.rank != (2 if packed else 3):
        expected = "[frames, C]" if packed else "[N, T, C]"
        raise ShapeError(f"{where}: the input has the wrong rank", expected, checks.shape_text(x))
    blank = ctc.blank_class(blank, x, where)
    if isinstance(padding_value, bool) or not isinstance(padding_value, int):
        raise ArgumentTypeError(f"{where}: padding_value is an integer", "int", type(padding_value).__name__)
    tokens = ops.argmax(x, -1)
    if packed:
        return stopped(ctc.collapsed_rows(tokens, ops.offsets_of(x), blank))
    frames = ctc.lengths(input_length, x, 0, "input_length", where)
    symbols, counts = ctc.collapsed(tokens, frames, blank, padding_value)
    return stopped(symbols), stopped(ops.unsqueeze(counts, (1,)))


@layer_function
def edit_distance(
    input: Tensor,
    label: Tensor,
    normalized: bool = True,
    ignored_tokens: Sequence[int] | None = None,
    input_length: Tensor | None = None,
    label_length: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """How many tokens must be put in, taken out or replaced to make the label of the input (Levenshtein's distance).

    Args:
        input: int64 or int32, [N, A]; with sequences (lod_level 1) and without lengths [tokens of all samples, 1].
        label: the same, [N, B].
        normalized: divides by the number of tokens of the label.
        ignored_tokens: are taken out of both first.
        input_length, label_length: how many tokens of each row count, [N] or [N, 1].

    Returns:
        (distance float32 [N, 1], number of samples int64 [1]).

    Raises:
        LabelError (in the run): a length out of range; normalized, a label without tokens.
        AttrError, ShapeError, DtypeError, ArgumentTypeError: at the call. UnsupportedError: neither sequences nor
            lengths.

    Source:
        Levenshtein, Binary codes capable of correcting deletions, insertions, and reversals, 1966;
        paddle.fluid.layers.edit_distance.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     a, b, n, m = (gl.dygraph.to_variable(np.array(v)) for v in ([[1, 2, 3]], [[1, 3, 4, 1]], [3], [4]))
        ...     [r.numpy().tolist() for r in gl.layers.edit_distance(a, b, input_length=n, label_length=m)]
        [[[0.75]], [1]]
    """
    where = "edit_distance"
    x, y = checks.tensor(input, "input", where), checks.tensor(label, "label", where)
    for tokens, what in ((x, "input"), (y, "label")):
        if not dtypes.is_int(tokens.type.dtype):
            raise DtypeError(f"{where}: {what} holds tokens", "int64 or int32", tokens.type.dtype)
    if not isinstance(normalized, bool):
        raise ArgumentTypeError(f"{where}: normalized is True or False", "bool", type(normalized).__name__)
    ignored = tuple(ignored_tokens or ())
    if (input_length is None) != (label_length is None):
        raise AttrError(f"{where}: the padded form needs both lengths", "input_length and label_length", "one of them")
    if input_length is None:
        _require_ranks(where, x, y, 2, (2,), "packed", "[tokens, 1] and [tokens, 1]")
        ctc.require_same_count(x, y, ("input", "label"), where)
        counts, sizes = ctc.lengths_of(x), ctc.lengths_of(y)
        x, y = (ops.pad_sequences(ops.squeeze(v, 1), ops.offsets_of(v))[0] for v in (x, y))
    else:
        _require_ranks(where, x, y, 2, (2,), "padded", "[N, A] and [N, B]")
        counts = ctc.lengths(input_length, x, 0, "input_length", where)
        sizes = ctc.lengths(label_length, y, 0, "label_length", where)
    packed = input_length is None
    with checks.calling(label_length="label.lengths" if packed else "label_length"):
        distance = ops.edit_distance(x, y, counts, sizes, normalized, ignored)
    number = ops.unsqueeze(ops.size(distance.type.shape), (0,))
    return stopped(ops.unsqueeze(distance, (1,))), stopped(number)


def _require_ranks(
    where: str, x: Tensor, y: Tensor, rank: int, of_label: tuple[int, ...], form: str, want: str
) -> None:
    if x.type.rank != rank or y.type.rank not in of_label:
        got = f"{checks.shape_text(x)} and {checks.shape_text(y)}"
        raise ShapeError(f"{where}: {form} input and label have the wrong rank", want, got)
