"""`explain` of each textbook spelling names what made it stable, and where, and shows one kernel that reads the data;
with passes off nothing is named."""

from __future__ import annotations

import pytest

import graphloss as gl
from graphloss import ops
from graphloss.passes import stabilise
from tests.passes.spellings import SPELLINGS, Spelling

STABLE = {rule.name for rule in stabilise.RULES}


def program(spelling: Spelling) -> tuple[gl.Program, list[gl.Tensor]]:
    main = gl.Program()
    with gl.program_guard(main):
        feeds = {n: gl.data(n, [None, *a.shape[1:]], str(a.dtype)) for n, a in spelling.feeds.items()}
        value = spelling.build(**feeds)
        slopes = gl.gradients([ops.reduce_sum(value)], [feeds["x"]])
    return main, [value, *slopes]


@pytest.mark.parametrize("spelling", [s for s in SPELLINGS if s.saturates], ids=lambda s: s.name)
def test_rules_of_a_spelling_are_named(spelling: Spelling) -> None:
    main, fetches = program(spelling)
    explanation = gl.explain(main, fetches)
    text = str(explanation)
    fired = STABLE & set(explanation.rules)
    assert fired, text
    for rule in fired:
        (line, *_) = (line for line in text.splitlines() if f": {rule}: " in line)
        assert "spellings.py:" in line or "test_explain.py:" in line, "the user's line"
    assert f"kernels: {len(explanation.kernels)}, of " in text
    assert len(explanation.kernels) == 1, "value and gradient take one trip over the data"
    assert not STABLE & set(gl.explain(main, fetches, gl.CompileOptions(passes=False)).rules)


def test_steps_and_bytes() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [8, 1000])
        y = gl.data("y", [8, 1], "int64")
        loss = gl.layers.mean(gl.layers.cross_entropy(gl.layers.softmax(x), y))
        (slope,) = gl.gradients([loss], [x])
    explanation = gl.explain(main, [loss, slope])
    text = str(explanation)
    assert "clamped-log-of-scaled: clamped_log -> log_softmax, pick" in text
    assert "k0: 8 x 1000, rows, 3 passes; reads 32064 B, writes 3200" in text
    assert "needed at least: reads 32064 B, writes 32004 B" in text
    assert explanation.before().count(" = softmax(") == 1
    assert " = softmax(" not in explanation.after()
    assert explanation.loops().startswith("loops @k0(x: f32[8, 1000]")
    assert "define" in explanation.llvm_ir() and ".text" in explanation.assembly()


def test_numbers_of_chunks_have_names() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [None, 1000])
        loss = gl.layers.mean(ops.logsumexp(x))
    text = str(gl.explain(main, [loss]))
    assert "  k1, finishes k0: chunks(k0), rows, 1 pass; reads 8*chunks(k0) B, writes 4 B" in text
    assert text.count("floordiv") == 1 and "\nchunks(k0) = floordiv(" in text
