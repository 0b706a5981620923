"""The full text of each error class, and what it is a subclass of."""

import copy
import pickle

import pytest

from graphloss import errors

BUILTINS = {
    errors.ShapeError: (ValueError,),
    errors.DtypeError: (TypeError,),
    errors.ArgumentTypeError: (TypeError,),
    errors.AttrError: (ValueError,),
    errors.ValueRangeError: (ValueError,),
    errors.IndexRangeError: (IndexError,),
    errors.LabelError: (IndexError, ValueError),
    errors.FeedError: (ValueError,),
    errors.StoredError: (ValueError,),
    errors.ClosedError: (RuntimeError,),
    errors.UnsupportedError: (RuntimeError,),
    errors.VerifyError: (ValueError,),
    errors.ParseError: (ValueError,),
    errors.UnknownVariable: (ValueError,),
}


def test_every_class_is_in_the_table_and_public() -> None:
    classes = {c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.GraphlossError)}
    assert classes == {*BUILTINS, errors.GraphlossError}
    assert {c.__name__ for c in classes} <= set(errors.__all__)


@pytest.mark.parametrize("cls", BUILTINS, ids=lambda c: c.__name__)
def test_is_a_builtin_error_too(cls: type[errors.GraphlossError]) -> None:
    allowed = (ValueError, TypeError, IndexError, RuntimeError)
    assert {b for b in allowed if issubclass(cls, b)} == set(BUILTINS[cls])
    assert issubclass(cls, errors.GraphlossError)


def test_five_lines() -> None:
    error = errors.LabelError(
        "label out of range",
        expected="a class in [0, 10)",
        got="12 in row 7",
        op="%picked = pick(%logp, %labels) {axis=-1} : f32[N]",
        where="train.py:14",
        hint="classes are counted from 0",
    )
    assert str(error) == (
        "label out of range\n"
        "  expected a class in [0, 10), got 12 in row 7\n"
        "  op: %picked = pick(%logp, %labels) {axis=-1} : f32[N]\n"
        "  at: train.py:14\n"
        "  hint: classes are counted from 0"
    )


def test_absent_lines_are_left_out() -> None:
    assert str(errors.ClosedError("the executor is closed")) == "the executor is closed"
    assert str(errors.FeedError("missing feed 'x'", got="y, z")) == "missing feed 'x'\n  got y, z"
    assert str(errors.AttrError("bad axis", expected="int", hint="h")) == "bad axis\n  expected int\n  hint: h"


def test_falsy_facts_are_printed() -> None:
    assert str(errors.ShapeError("rank", expected=1, got=0)) == "rank\n  expected 1, got 0"


def test_facts_are_read_when_the_error_is_made() -> None:
    shape = [2, 3]
    error = errors.ShapeError("shape", got=shape)
    shape.append(4)
    assert str(error) == "shape\n  got [2, 3]"


def test_with_op_adds_only_what_is_absent() -> None:
    error = errors.ShapeError("shape", op="%a = exp(%x)")
    assert error.with_op("%b = neg(%a)", "m.py:3") is error
    assert error.with_op("%c = neg(%b)", "m.py:4") is error
    assert str(error) == "shape\n  op: %a = exp(%x)\n  at: m.py:3"


def test_parse_error_underlines_the_place() -> None:
    error = errors.ParseError(
        "unknown op 'sofmax'", 3, 8, source="  %p = sofmax(%x)", width=6, hint="did you mean 'softmax'?"
    )
    assert str(error) == (
        "line 3, column 8: unknown op 'sofmax'\n    %p = sofmax(%x)\n         ^~~~~~\n  hint: did you mean 'softmax'?"
    )
    assert (error.line, error.column) == (3, 8)


def test_parse_error_without_source() -> None:
    assert str(errors.ParseError("end of text", 1, 2, expected="'}'")) == (
        "line 1, column 2: end of text\n  expected '}'"
    )


def test_unknown_variable_names_the_nearest() -> None:
    error = errors.UnknownVariable("lables", ["logits", "labels"], op="%a = neg(%lables)", where="m.py:2")
    assert str(error) == (
        "unknown variable 'lables'\n  op: %a = neg(%lables)\n  at: m.py:2\n  hint: did you mean 'labels'?"
    )
    assert error.name == "lables"


def test_unknown_variable_lists_names_when_none_is_near() -> None:
    assert str(errors.UnknownVariable("q", ["logits", "labels"])) == (
        "unknown variable 'q'\n  hint: known names: 'labels', 'logits'"
    )
    many = errors.UnknownVariable("q", [f"var{i}" for i in range(10)])
    assert many.hint is not None
    assert many.hint.endswith("'var7' and 2 more")
    assert str(errors.UnknownVariable("q")) == "unknown variable 'q'"


@pytest.mark.parametrize(
    "error",
    [
        errors.LabelError("label", expected="e", got="g", op="o", where="w", hint="h"),
        errors.ParseError("p", 1, 2, source="s"),
        errors.UnknownVariable("x", ["y"]),
    ],
    ids=lambda e: type(e).__name__,
)
def test_survives_pickle_and_copy(error: errors.GraphlossError) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)
        assert twin.args == error.args
