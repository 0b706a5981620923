"""Rules of the user's own: where they apply, what the collector refuses, what may not be kept on disk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import graphloss as gl
from graphloss.errors import ArgumentTypeError, VerifyError
from graphloss.rules import Example, Match, Rule, check, op

VECTOR = {"x": "f32[N]"}
MEAN_OF_EXP = Rule(
    name="mean-of-exp",
    formula="mean(e^x) -> e^logsumexp(x) / N",
    why="seen before the mean is spelled out",
    numerics="more_accurate",
    before=lambda x: op.reduce_mean(op.exp(x)),
    after=lambda x: op.reduce_mean(2.0 * op.exp(x)),  # wrong on purpose: it shows whether the rule is applied
    fires=(Example(VECTOR, lambda x: op.reduce_mean(op.exp(x))),),
    stays=(Example(VECTOR, lambda x: op.reduce_mean(op.sqrt(x))),),
)
CUBE = Rule(
    name="cube",
    formula="x^3 -> x·x·x",
    why="two products instead of a power",
    numerics="exact",
    roots=("pow",),
    rewrite=lambda m: m.inputs[0] * m.inputs[0] * m.inputs[0],
    when=(lambda m: m.graph.number_of(m.op.inputs[1]) == 3,),
    fires=(Example(VECTOR, lambda x: op.pow(x, 3.0), lambda x: x * x * x),),
    stays=(Example(VECTOR, lambda x: op.pow(x, 2.0)),),
)


def program() -> tuple[gl.Program, list[gl.Variable]]:
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [None], "float64")
        loss = gl.layers.mean(gl.layers.exp(x)) + gl.layers.reduce_sum(x**3.0)
        (slope,) = gl.gradients([loss], [x])
    return main, [loss, slope]


FEED = {"x": np.array([0.5, -1.0, 2.0])}


def test_on_what_was_written_and_on_what_other_rules_made() -> None:
    main, fetches = program()
    options = gl.CompileOptions(rules=(MEAN_OF_EXP, CUBE))
    explanation = gl.explain(main, fetches, options)
    assert {"mean-of-exp", "cube"} <= set(explanation.rules)
    assert "rules: mean-of-exp: reduce_mean -> " in str(explanation)
    assert "= pow(" not in explanation.after()
    x = FEED["x"]
    value, slope = gl.Executor(options=options).run(main, feed=FEED, fetch_list=fetches)
    np.testing.assert_allclose(value, 2 * np.exp(x).mean() + (x**3).sum())
    np.testing.assert_allclose(slope, 2 * np.exp(x) / 3 + 3 * x**2)


def test_not_without_being_asked_for() -> None:
    """Neither by another executor of the same program, nor with passes off, nor from what is kept on disk."""
    main, fetches = program()
    options = gl.CompileOptions(rules=[MEAN_OF_EXP])
    first = gl.Executor(options=options).run(main, feed=FEED, fetch_list=fetches)[0]
    for other in (gl.CompileOptions(), replace(options, passes=False), gl.CompileOptions(rules=[CUBE])):
        value = gl.Executor(options=other).run(main, feed=FEED, fetch_list=fetches)[0]
        np.testing.assert_allclose(value, np.exp(FEED["x"]).mean() + (FEED["x"] ** 3).sum())
        assert not np.allclose(first, value)
    another, names = program()
    again = gl.Executor(options=options).run(another, feed=FEED, fetch_list=names)
    np.testing.assert_array_equal(again[0], first)


def test_a_compiled_program_hands_rules_on() -> None:
    main, fetches = program()
    compiled = gl.CompiledProgram(main)
    exe = gl.Executor(options=gl.CompileOptions(rules=[MEAN_OF_EXP], row_chunk=64))
    assert compiled.options(exe.options) == exe.options
    want = exe.run(main, feed=FEED, fetch_list=fetches)[0]
    np.testing.assert_array_equal(exe.run(compiled, feed=FEED, fetch_list=fetches)[0], want)


def test_check() -> None:
    check(CUBE)
    with pytest.raises(VerifyError, match="in example 0, the rewritten graph has other numbers"):
        check(MEAN_OF_EXP)
    with pytest.raises(VerifyError, match="does not fire in example 0"):
        check(replace(CUBE, roots=("exp",)))
    with pytest.raises(VerifyError, match="fires in example 0 of where it stays"):
        check(replace(CUBE, stays=CUBE.fires))
    with pytest.raises(VerifyError, match="`after` of the example has other numbers"):
        check(replace(CUBE, fires=(replace(CUBE.fires[0], after=lambda x: x * x),)))
    with pytest.raises(VerifyError, match="has no example where it stays"):
        check(replace(CUBE, stays=()))
    with pytest.raises(ArgumentTypeError, match="check takes a rule"):
        check(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("rules", [3, ["cube"], [None], Match])
def test_what_is_no_rule(rules: object) -> None:
    with pytest.raises(ArgumentTypeError, match=r"graphloss\.rules\.Rule"):
        gl.CompileOptions(rules=rules)  # type: ignore[arg-type]

