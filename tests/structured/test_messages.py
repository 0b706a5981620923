"""What errors of bad labels, lengths and blanks say, in both modes: the variable, the sample and the position in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import graphloss as gl
from graphloss.errors import GraphlossError, LabelError, ShapeError
from graphloss.ir.loop_builder import NestBuilder
from graphloss.ir.loop_parser import parse_nest
from graphloss.ir.loop_text import print_nest
from graphloss.ir.loops import select
from graphloss.nn import functional as F
from graphloss.ops.interpret import interpret

Array = npt.NDArray[Any]
Build = Callable[..., Any]
SYMBOL = "a class in [0, 5) other than the blank"
X = np.zeros((4, 3, 5), "float32")


def integers(*values: object) -> Array:
    return np.array(values, np.int64)


def packed(rows: Array, lengths: list[int]) -> gl.LoDTensor:
    return gl.create_lod_tensor(rows, [lengths])


def compiled(build: Build, feed: Mapping[str, Any]) -> None:
    main, startup = gl.Program(), gl.Program()
    with gl.program_guard(main, startup):
        inputs = {}
        for name, value in feed.items():
            array = np.asarray(value)
            divided = isinstance(value, gl.LoDTensor)
            shape = [None, *array.shape[1:]] if divided else [None] * array.ndim
            inputs[name] = gl.data(name, shape, array.dtype.name, lod_level=int(divided))
        found = build(**inputs)
    fetches = list(found) if isinstance(found, tuple) else [found]
    gl.Executor().run(main, dict(feed), fetches, return_numpy=False)


def eager(build: Build, feed: Mapping[str, Any]) -> None:
    with gl.dygraph.guard():
        build(**{name: gl.dygraph.to_variable(value) for name, value in feed.items()})


def ctc(x: Any, y: Any, t: Any, s: Any) -> Any:
    return F.ctc_loss(x, y, t, s)


def warpctc(x: Any, y: Any, t: Any = None, s: Any = None) -> Any:
    return gl.layers.warpctc(x, y, input_length=t, label_length=s)


def crf(x: Any, y: Any, n: Any) -> Any:
    return F.linear_chain_crf(x, y, gl.layers.fill_constant([2, 2], "float32", 0.0), length=n)


def viterbi(x: Any, n: Any) -> Any:
    return F.crf_viterbi(x, gl.layers.fill_constant([2, 2], "float32", 0.0), length=n)


def distance(a: Any, b: Any, n: Any = None, m: Any = None) -> Any:
    return gl.layers.edit_distance(a, b, True, [3], n, m)


def gluon(layout: str, label_layout: str) -> Build:
    return lambda x, y, **lengths: gl.gluon.loss.CTCLoss(layout, label_layout)(x, y, **lengths)


FULL, SIZES = integers(4, 4, 4), integers(2, 2, 1)
ROWS = integers([1, 2], [1, 9], [4, 1])
EMISSION = np.zeros((2, 3, 2), "float32")
TOKENS = integers([1, 2], [3, 3])
# name: (build, feed, what of the program's variables, what of eager mode's arguments, what is expected)
CASES: dict[str, tuple[Build, dict[str, Any], str, str, str]] = {
    "padded symbol": (
        ctc, {"x": X, "y": ROWS, "t": FULL, "s": SIZES},
        "sample 1, position 1: y[1, 1] = 9", "sample 1, position 1: targets[1, 1] = 9", SYMBOL,
    ),
    "the blank among the symbols": (
        ctc, {"x": X, "y": integers([1, 2], [0, 1], [4, 1]), "t": FULL, "s": SIZES},
        "sample 1, position 0: y[1, 0] = 0", "sample 1, position 0: targets[1, 0] = 0", SYMBOL,
    ),
    "joined symbols": (
        ctc, {"x": X, "y": integers(1, 2, 1, 9, 3), "t": FULL, "s": SIZES},
        "sample 1, position 1: y = 9", "sample 1, position 1: targets = 9", SYMBOL,
    ),
    "frames": (
        ctc, {"x": X, "y": ROWS, "t": integers(4, 5, 4), "s": SIZES},
        "row 1: t[1] = 5", "row 1: input_lengths[1] = 5", "a number of frames in [0, 4]",
    ),
    "length of a symbol row": (
        ctc, {"x": X, "y": ROWS, "t": FULL, "s": integers(2, -1, 1)},
        "row 1: s[1] = -1", "row 1: target_lengths[1] = -1", "a length in [0, 2]",
    ),
    "joined lengths": (
        ctc, {"x": X, "y": integers(1, 2, 1, 1, 3), "t": FULL, "s": integers(2, 9, 1)},
        "row 1: s[1] = 9", "row 1: target_lengths[1] = 9",
        "a length of 0 or more, all of them adding up to the 5 labels",
    ),
    "warpctc": (
        warpctc, {"x": X, "y": ROWS, "t": FULL, "s": SIZES},
        "sample 1, position 1: y[1, 1] = 9", "sample 1, position 1: label[1, 1] = 9", SYMBOL,
    ),
    "warpctc of sequences": (
        warpctc, {"x": packed(X.reshape(-1, 5)[:7], [3, 4]), "y": packed(integers([1], [2], [9]), [1, 2])},
        "sample 1, position 1: y = 9", "sample 1, position 1: label = 9", SYMBOL,
    ),
    "gluon, columns": (
        gluon("TNC", "TN"), {"x": X, "y": ROWS.T.copy()},
        "sample 1, position 1: y = 9", "sample 1, position 1: transpose(label)[1, 1] = 9", SYMBOL,
    ),
    "gluon, floats, the last class": (
        gluon("NTC", "NT"), {"x": X.transpose(1, 0, 2), "y": np.array([[1, 2], [2, 4], [-1, -1]], "float32")},
        "sample 1, position 1: y[1, 1] = 4", "sample 1, position 1: label[1, 1] = 4", SYMBOL,
    ),
    "gluon, lengths in floats": (
        gluon("TNC", "NT"), {"x": X, "y": integers([1, 2], [1, 2], [1, 2]), "pred_lengths": np.array([4, 4, 6], "f4")},
        "row 2: pred_lengths[2] = 6", "row 2: pred_lengths[2] = 6", "a number of frames in [0, 4]",
    ),
    "tag": (
        crf, {"x": EMISSION, "y": integers([0, 1, 0], [0, 7, 0]), "n": integers(3, 2)},
        "sample 1, position 1: y[1, 1] = 7", "sample 1, position 1: label = 7", "a tag in [0, 2)",
    ),
    "length of a chain": (
        crf, {"x": EMISSION, "y": integers([0, 1, 0], [0, 1, 0]), "n": integers(3, 4)},
        "row 1: n[1] = 4", "row 1: length[1] = 4", "a length from 0 to the number of rows of its sequence",
    ),
    "length of a path": (
        viterbi, {"x": EMISSION, "n": integers(-1, 3)},
        "row 0: n[0] = -1", "row 0: length[0] = -1", "a length from 0 to the number of rows of its sequence",
    ),
    "tokens": (
        distance, {"a": TOKENS, "b": TOKENS, "n": integers(1, 3), "m": integers(1, 1)},
        "row 1: n[1] = 3", "row 1: input_length[1] = 3", "a length in [0, 2]",
    ),
    "a label of ignored tokens": (
        distance, {"a": TOKENS, "b": TOKENS, "n": integers(1, 2), "m": integers(1, 2)},
        "row 1: m[1] = 0", "row 1: label_length[1] = 0", "a label of at least one token that is not ignored",
    ),
    "greedy": (
        lambda x, n: gl.layers.ctc_greedy_decoder(x, 0, n), {"x": EMISSION, "n": integers(3, 4)},
        "row 1: n[1] = 4", "row 1: input_length[1] = 4", "an index in [0, 4)",
    ),
    "beam": (
        F.ctc_beam_search_decode, {"log_probs": X, "input_lengths": integers(3, 5, 2)},
        "row 1: input_lengths[1] = 5", "row 1: input_lengths[1] = 5", "an index in [0, 5)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_bad_value_is_named_with_its_sample_and_position(case: str) -> None:
    build, feed, in_program, at_once, expected = CASES[case]
    for run, what in ((compiled, in_program), (eager, at_once)):
        with pytest.raises(LabelError) as error:
            run(build, feed)
        first, second, op, at, *_ = str(error.value).split("\n")
        assert first == f"{what} is out of range"
        assert second == f"  expected {expected}, got {what.split(' = ')[1]}"
        assert op.startswith("  op: ")
        assert at.startswith("  at: ")


def test_tags_of_sequences() -> None:
    def build(x: Any, y: Any) -> Any:
        transition = gl.layers.fill_constant([2, 2], "float32", 0.0)
        zero = gl.layers.fill_constant([2], "float32", 0.0)
        offsets = gl.ops.offsets_of(x, y)
        lengths = gl.ops.getitem(offsets, slice(1, None)) - gl.ops.getitem(offsets, slice(None, -1))
        return gl.ops.linear_chain_crf(x, transition, zero, zero, gl.layers.squeeze(y, [1]), offsets, lengths)

    rows, tags = EMISSION.reshape(6, 2), integers(0, 1, 0, 0, 0, 7)[:, None]
    feed = {"x": packed(rows, [4, 2]), "y": packed(tags, [4, 2])}
    for run, name in ((compiled, "y"), (eager, "label")):
        with pytest.raises(LabelError, match=rf"^sample 1, position 1: {name} = 7 is out of range"):
            run(build, feed)
    # as many rows as sequences, but not one each: the row of y is not the number of the sample
    feed = {"x": packed(rows[:2], [2, 0]), "y": packed(integers([0], [5]), [2, 0])}
    with pytest.raises(LabelError, match=r"^sample 0, position 1: y = 5 "):
        compiled(build, feed)


def test_a_label_without_tokens_is_named_by_its_input() -> None:
    feed = {"a": packed(integers([1], [2]), [1, 1]), "b": packed(integers([1], [2]), [2, 0])}
    for run, name in ((compiled, r"b\.lengths\S*"), (eager, r"label\.lengths")):
        with pytest.raises(
            LabelError, match=rf"^row 1: {name}\[1\] = 0 is out of range\n  expected a label of at least"
        ):
            run(distance, feed)


@pytest.mark.parametrize("build", [warpctc, distance])
def test_different_numbers_of_sequences_name_both(build: Build) -> None:
    rows: Array = X.reshape(-1, 5)[:3] if build is warpctc else integers([1], [2], [1])
    names = ("x", "y") if build is warpctc else ("a", "b")
    feed = dict(zip(names, (packed(rows, [1, 2]), packed(integers([1], [2], [1]), [1, 1, 1])), strict=True))
    with pytest.raises(GraphlossError, match=rf"(?s)'{names[1]}@LOD'.*'{names[0]}@LOD'"):
        compiled(build, feed)
    with pytest.raises(ShapeError, match=r"(?s)input and label hold different numbers.*expected 2 .*, got 3\n"):
        eager(build, feed)


def test_a_nest_says_where_in_a_sample_a_check_failed() -> None:
    b = NestBuilder("sums")
    N, R = b.sizes("N", "R")
    begin, x, out = b.input("begin", "int64", (N,)), b.input("x", "int64", (R,)), b.output("out", "int64", (N,))
    with b.parallel("n", N) as n:
        given = b.let("given", begin[n])
        first = b.check("first", begin, n, (given >= 0) & (given + 2 <= R), "a place", value=given)
        total = b.var("total", b.number(0, "int64"))
        with b.vector("j", 0, select(R >= 2, b.number(2, "int64"), 0)) as j:
            found = b.let("found", x[first + j])
            b.accumulate(total, "sum", b.check("safe", x, first + j, found > 0, "a positive", value=found, step=j))
        out[n] = total
    nest = b.nest()
    assert "of x[first + j] step j expected 'a positive'" in print_nest(nest)
    assert parse_nest(print_nest(nest)) == nest
    (sums,), failures = interpret(nest, {"N": 2, "R": 4}, [integers(0, 2), integers(5, 6, 7, -8)])
    assert (sums.tolist(), [(f.array, f.index, f.value) for f in failures]) == ([11, 7], [("x", (1, 1), -8)])
