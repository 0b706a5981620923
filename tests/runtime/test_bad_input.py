"""What a run refuses, each with its whole text."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import (
    ArgumentTypeError,
    ClosedError,
    FeedError,
    GraphlossError,
    LabelError,
    ShapeError,
    UnknownVariable,
    UnsupportedError,
)
from tests.runtime.models import Array, Classifier, at

LOGITS = "feed %logits : f32[logits.0, 20]"
LABELS = "feed %labels : i64[labels.0, 1]"


def labels(row: int, value: int, n: int = 8) -> Array:
    made = np.zeros((n, 1), "int64")
    made[row] = value
    return made


# the feed, the error, its text; {logits} and the like stand for the place of that line in the models
REFUSED: dict[str, tuple[dict[str, object], type[GraphlossError], str]] = {
    "one dimension too few": (
        {"logits": np.zeros(8, "float32")},
        FeedError,
        "the value of 'logits' has another number of dimensions than its variable\n"
        "  expected 2 dimensions, got 1, of shape [8]\n"
        f"  op: {LOGITS}\n"
        "  at: {logits}\n"
        "  hint: value[..., None] adds a dimension, value[..., 0] takes one away",
    ),
    "one dimension too many": (
        {"labels": np.zeros((8, 1, 1), "int64")},
        FeedError,
        "the value of 'labels' has another number of dimensions than its variable\n"
        "  expected 2 dimensions, got 3, of shape [8, 1, 1]\n"
        f"  op: {LABELS}\n"
        "  at: {labels}\n"
        "  hint: value[..., None] adds a dimension, value[..., 0] takes one away",
    ),
    "a number for a matrix": (
        {"labels": 3},
        FeedError,
        "the value of 'labels' has another number of dimensions than its variable\n"
        "  expected 2 dimensions, got 1, of shape [1]\n"
        f"  op: {LABELS}\n"
        "  at: {labels}\n"
        "  hint: value[..., None] adds a dimension, value[..., 0] takes one away",
    ),
    "another known size": (
        {"logits": np.zeros((8, 21), "float32")},
        ShapeError,
        "the value of 'logits' has another size at axis 1 than its variable\n"
        "  expected 20, of shape [None, 20], got 21, of shape [8, 21]\n"
        f"  op: {LOGITS}\n"
        "  at: {logits}\n"
        "  hint: a size that changes from run to run is declared as None",
    ),
    "float64": (
        {"logits": np.zeros((8, 20))},
        FeedError,
        "the value of 'logits' has another dtype than its variable\n"
        "  expected float32, got float64\n"
        f"  op: {LOGITS}\n"
        "  at: {logits}\n"
        "  hint: convert it, if that is what you mean: value.astype('float32')",
    ),
    "unsigned labels": (
        {"labels": np.zeros((8, 1), "uint64")},
        FeedError,
        "the value of 'labels' has another dtype than its variable\n"
        "  expected int64, got uint64\n"
        f"  op: {LABELS}\n"
        "  at: {labels}\n"
        "  hint: convert it, if that is what you mean: value.astype('int64')",
    ),
    "a fraction as label": (
        {"labels": 0.5},
        FeedError,
        "the value of 'labels' has another dtype than its variable\n"
        "  expected int64, got float 0.5\n"
        f"  op: {LABELS}\n"
        "  at: {labels}\n"
        "  hint: feed a number of that kind",
    ),
    "a number without end": (
        {"labels": 10**5000},
        FeedError,
        "the value of 'labels' does not fit its variable\n"
        "  expected a number that int64 holds, got an integer of 16610 bits\n"
        f"  op: {LABELS}\n"
        "  at: {labels}\n"
        "  hint: declare the variable with a wider dtype",
    ),
    "a list": (
        {"labels": [1, 2]},
        UnsupportedError,
        "the value of 'labels' is no array\n"
        "  expected a NumPy array or a number, got list\n"
        f"  op: {LABELS}\n"
        "  at: {labels}\n"
        "  hint: np.asarray(value, dtype) makes one",
    ),
    "None": (
        {"labels": None},
        UnsupportedError,
        "the value of 'labels' is no array\n"
        "  expected a NumPy array or a number, got NoneType\n"
        f"  op: {LABELS}\n"
        "  at: {labels}\n"
        "  hint: np.asarray(value, dtype) makes one",
    ),
    "objects": (
        {"labels": np.array([[None]] * 8)},
        FeedError,
        "the value of 'labels' holds no numbers\n"
        "  expected numbers, got dtype object\n"
        f"  op: {LABELS}\n"
        "  at: {labels}\n"
        "  hint: np.asarray(value, dtype) makes numbers of it",
    ),
    "a mask": (
        {"logits": np.ma.masked_array(np.zeros((8, 20), "float32"), np.ones((8, 20), bool))},
        FeedError,
        "the value of 'logits' has a mask, which would be lost\n"
        "  expected an array without a mask, got MaskedArray\n"
        f"  op: {LOGITS}\n"
        "  at: {logits}\n"
        "  hint: feed value.filled(...)",
    ),
    "batches that differ": (
        {"logits": np.zeros((9, 20), "float32")},
        ShapeError,
        "the value of 'labels' does not fit another one at axis 0\n"
        "  expected 9 (dimension 0 of 'logits'), got 8, of shape [8, 1]\n"
        "  op: {op}\n"
        "  at: {loss}\n"
        "  hint: sizes may change from run to run, but only together",
    ),
    "a name nearly right": (
        {"lables": np.zeros((8, 1), "int64")},
        UnknownVariable,
        "'lables' is fed, which the program does not have\n  hint: did you mean 'labels'?",
    ),
    "a name far off": (
        {"zzz": np.zeros((8, 1), "int64")},
        UnknownVariable,
        "'zzz' is fed, which the program does not have\n  hint: known names: 'labels', 'logits'",
    ),
    "the result of an op": (
        {"mean_0.tmp_1": np.zeros(1, "float32")},
        FeedError,
        "'mean_0.tmp_1' is no input of the program\n"
        "  expected a variable made by data(), got the result of an op\n"
        "  op: %mean_0.tmp_1 : f32[1]\n"
        "  at: {mean}\n"
        "  hint: known names: 'labels', 'logits'",
    ),
    "a label too large": (
        {"labels": labels(5, 25)},
        LabelError,
        "row 5: labels[5, 0] = 25 is out of range\n"
        "  expected an index in [0, 20), got 25\n"
        "  op: {pick}\n"
        "  at: {loss}\n"
        "  hint: labels count from 0; rows to leave out hold the ignore_index",
    ),
    "a negative label": (
        {"labels": labels(7, -3)},
        LabelError,
        "row 7: labels[7, 0] = -3 is out of range\n"
        "  expected an index in [0, 20), got -3\n"
        "  op: {pick}\n"
        "  at: {loss}\n"
        "  hint: labels count from 0; rows to leave out hold the ignore_index",
    ),
    "the largest label there is": (
        {"labels": labels(0, 2**63 - 1)},
        LabelError,
        f"row 0: labels[0, 0] = {2**63 - 1} is out of range\n"
        f"  expected an index in [0, 20), got {2**63 - 1}\n"
        "  op: {pick}\n"
        "  at: {loss}\n"
        "  hint: labels count from 0; rows to leave out hold the ignore_index",
    ),
    "the least label there is": (
        {"labels": labels(3, -(2**63))},
        LabelError,
        f"row 3: labels[3, 0] = {-(2**63)} is out of range\n"
        f"  expected an index in [0, 20), got {-(2**63)}\n"
        "  op: {pick}\n"
        "  at: {loss}\n"
        "  hint: labels count from 0; rows to leave out hold the ignore_index",
    ),
}


@pytest.mark.parametrize(("feed", "error", "text"), REFUSED.values(), ids=REFUSED)
def test_refused_feed(feed: dict[str, object], error: type[GraphlossError], text: str) -> None:
    model = Classifier()
    (pick,) = (str(op) for op in model.main.global_block().ops if op.type == "pick")
    names = {"logits": at("logits"), "labels": at("labels"), "loss": at("loss"), "mean": at("mean")}
    for places in (1, 2):  # the second time, the program is compiled already
        with pytest.raises(error) as caught:
            model.run(**feed)
        assert type(caught.value) is error
        shown = pick.replace("logits.0", "{n}").replace("labels.0", "{n}")
        got = str(caught.value).replace("logits.0]", "{n}]").replace("labels.0]", "{n}]")
        assert got == text.format(**names, op=shown, pick=shown), f"run {places}"
    np.testing.assert_allclose(model.run()[0], np.log(20), rtol=1e-6)


def test_missing_feed() -> None:
    model = Classifier()
    for feed, got, hint in (
        ({"logits": np.zeros((8, 20), "float32")}, "'logits'", "add it to the feed of run()"),
        ({"logits": 0, "lables": 0}, "'logits', 'lables'", "'lables' was fed, which the program does not have"),
    ):
        with pytest.raises(FeedError) as caught:
            model.exe.run(model.main, feed, [model.loss])
        assert str(caught.value) == (
            "'labels' is not fed, and the run needs it\n"
            f"  expected feeds of 'logits', 'labels', got {got}\n"
            f"  op: {LABELS}\n"
            f"  at: {at('labels')}\n"
            f"  hint: {hint}"
        )
    with pytest.raises(FeedError, match="\n  expected feeds of 'logits', 'labels', got none\n"):
        model.exe.run(model.main, None, [model.loss])


@pytest.mark.parametrize(
    ("fetch", "error", "text"),
    [
        (["losses"], UnknownVariable, "unknown variable 'losses'\n  hint: did you mean 'loss'?"),
        ([3], ArgumentTypeError, "a fetch is a Variable or its name\n  expected Variable or str, got int"),
        ([["loss"]], ArgumentTypeError, "a fetch is a Variable or its name\n  expected Variable or str, got list"),
        (3.5, ArgumentTypeError, "fetch_list is a list of Variables or names\n  expected list, got float"),
    ],
)
def test_refused_fetch(fetch: Any, error: type[GraphlossError], text: str) -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [None])
        loss = gl.layers.mean(x)
        loss.name = "loss"
    with pytest.raises(error) as caught:
        gl.Executor().run(main, {"x": np.ones(3, "float32")}, fetch)
    assert str(caught.value) == text


def test_a_variable_of_another_program() -> None:
    main, other = gl.Program(), gl.Program()  # programs
    with gl.program_guard(main):
        x = gl.data("x", [None])
    with gl.program_guard(other):
        z = gl.data("z", [None])
        twice = z * 2.0  # twice
    with pytest.raises(ArgumentTypeError) as caught:
        gl.Executor().run(main, {"x": np.ones(3, "float32")}, [twice])
    assert str(caught.value) == (
        f"variable {twice.name!r} belongs to another program\n"
        f"  expected a variable of program 'main' (made at {at('programs', __file__)}), "
        f"got one of program 'main' (made at {at('programs', __file__)})\n"
        f"  at: {at('twice', __file__)}\n"
        "  hint: run the program that the variable was built in"
    )
    with gl.program_guard(main), pytest.raises(ArgumentTypeError) as caught:
        ops.add(x, z)  # mixed
    what, expected, op, where, hint = str(caught.value).splitlines()
    assert what == "add: variable 'z' belongs to another program"
    assert expected.startswith("  expected a variable of program 'main' (made at ") and "got one of program" in expected
    assert op == "  op: add(z)" and where == f"  at: {at('mixed', __file__)}"
    assert hint == "  hint: build both inside one program_guard"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda exe: exe.run("main"), "run takes a Program\n  expected Program or CompiledProgram, got str"),
        (
            lambda exe: exe.run(gl.Program(), [1]),
            "feed is a dict from variable names to arrays\n  expected dict, got list",
        ),
        (
            lambda exe: exe.run(gl.Program(), [{}, {}]),
            "feed is a dict from variable names to arrays\n  expected dict, got list",
        ),
        (
            lambda exe: exe.run(gl.Program(), scope={}),
            "a run keeps its state in a Scope\n  expected Scope, got dict",
        ),
        (lambda _: gl.Executor(options=3), "options are CompileOptions\n  expected CompileOptions, got int"),
        (
            lambda _: gl.CompiledProgram(gl.Program(), 3),
            "CompiledProgram takes the strategies that Fluid has\n  expected BuildStrategy, got int",
        ),
        (
            lambda _: gl.CompiledProgram(gl.Program()).with_data_parallel(exec_strategy=gl.BuildStrategy()),
            "CompiledProgram takes the strategies that Fluid has\n  expected ExecutionStrategy, got BuildStrategy",
        ),
        (lambda _: gl.CompiledProgram(3), "CompiledProgram takes a Program\n  expected Program, got int"),
        (lambda _: gl.scope_guard(3).__enter__(), "scope_guard takes a Scope\n  expected Scope, got int"),
        (lambda _: gl.Scope().var(3), "a scope variable is found by name\n  expected str, got int"),
    ],
)
def test_arguments_of_another_kind(call: Callable[[gl.Executor], object], text: str) -> None:
    with pytest.raises(ArgumentTypeError) as caught:
        call(gl.Executor())
    assert isinstance(caught.value, TypeError) and str(caught.value) == text


def test_a_feed_is_found_by_its_name() -> None:
    model = Classifier()
    ops_before = list(model.main.global_block().ops)
    feed: Any = {model.x: np.zeros((8, 20), "float32"), "labels": np.zeros((8, 1), "int64")}
    with pytest.raises(ArgumentTypeError) as caught:
        model.exe.run(model.main, feed, [model.loss])
    text = "a feed is found by its name\n  expected str, got Variable\n  hint: use its name, 'logits'"
    assert str(caught.value) == text
    number: Any = {"logits": 0, "labels": 0, 7: 0}
    with pytest.raises(ArgumentTypeError, match=r"a feed is found by its name\n  expected str, got int$"):
        model.exe.run(model.main, number, [model.loss])
    assert model.main.global_block().ops == ops_before


def test_a_closed_executor() -> None:
    model = Classifier()
    model.run()
    model.exe.close()
    with pytest.raises(ClosedError) as caught:
        model.run()
    assert isinstance(caught.value, RuntimeError)
    assert str(caught.value) == "this executor is closed\n  hint: make a new Executor"


def test_the_texts_name_nothing_of_the_package() -> None:
    package = str(Path(sys.modules["graphloss"].__file__ or "").parent)
    model = Classifier()
    for feed, error, _ in REFUSED.values():
        with pytest.raises(error) as caught:
            model.run(**feed)
        assert package not in str(caught.value)
