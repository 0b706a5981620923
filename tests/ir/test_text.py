"""The text form: what is printed is read back equal; errors say where."""

from __future__ import annotations

import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import graphloss as gl
from graphloss import ops
from graphloss.errors import ParseError
from graphloss.ir import dims
from graphloss.ir.dims import Dim, Equation, symbol
from graphloss.ir.graph import Graph, Op
from graphloss.ir.location import Location
from graphloss.ir.opdef import all_ops, freeze
from graphloss.ir.parser import parse_graph
from graphloss.ir.printer import attr_text, dim_text, print_graph
from graphloss.ir.types import TensorType

TEXT = """\
program @softmax_log_nll {
  feed %logits : f32[N, C]
  feed %labels : i64[N]
  state %temperature : f32[]
  where N == M "pick"
  %scaled = div(%logits, %temperature) : f32[N, C]
  %prob = softmax(%scaled) {axis=-1} : f32[N, C]
  %logp = log(%prob) : f32[N, C]
  %nll = neg(%logp) : f32[N, C] @backward
  %loss = reduce_mean(%nll) {axes=[0, 1], keepdims=false} : f32[]
  write %temperature = %loss
  fetch %loss, %logits, %loss
}
"""


def test_a_text_reads_as_the_graph_it_says() -> None:
    graph = parse_graph(TEXT)
    assert print_graph(graph) == TEXT
    assert (graph.name, graph.feeds, graph.states) == ("softmax_log_nll", ("logits", "labels"), ("temperature",))
    assert graph.ops[1] == Op("softmax", ("scaled",), ("prob",), (("axis", -1),))
    assert graph.ops[3].role == "backward"
    assert graph.types["logits"] == TensorType("float32", (symbol("N"), symbol("C")))
    assert graph.equations == (Equation(symbol("N"), symbol("M"), "pick"),)
    assert (graph.fetches, graph.writes) == (("loss", "logits", "loss"), (("temperature", "loss"),))


def test_comments_spaces_and_defaults_are_free() -> None:
    free = (
        TEXT.replace("\n  ", " ;a comment ; {%\n\t  ")
        .replace(", ", " ,\r\n ")
        .replace(" {axis=-1}", "")
        .replace("keepdims=false", "keepdims = false")
    )
    assert parse_graph(free) == parse_graph(TEXT)


def test_locations_are_comments() -> None:
    op = Op("exp", ("x",), ("y",), (), "forward", Location("m.py", 7), "/head/")
    x = TensorType("float32", (3,))
    graph = Graph("g", ("x",), (), (op,), {"x": x, "y": x})
    text = print_graph(graph, locations=True)
    assert "  %y = exp(%x) : f32[3]  ; /head/ m.py:7\n" in text
    assert parse_graph(text) == graph


def test_odd_names_are_quoted() -> None:
    odd = ['a "b"', "c\nd", "é", "x-1", "", "%"]
    shape = tuple(symbol(n) for n in ("x y.0", "max", "none", "0.0", "α"))
    types = {n: TensorType("float32", shape) for n in odd}
    graph = Graph(
        "my loss", tuple(odd[:2]), (), (Op("exp", (odd[0],), (odd[2],)),), {n: types[n] for n in odd[:3]}, (odd[2],)
    )
    text = print_graph(graph)
    assert 'program @"my loss" {' in text
    assert r'%"a \"b\""' in text
    assert '[$"x y.0", $"max", $"none", $"0.0", $"α"]' in text
    assert parse_graph(text) == graph


@pytest.mark.parametrize(
    "value",
    [
        None, True, False, 0, -3, 2**62, 0.0, -0.0, 1.0, 0.1, -1e-300, 1e22, 123456789.125, math.inf, -math.inf,
        "", "mean", 'a "quoted" \\ text\n', "nan", "😀",
        (), (1, -2), ((1.5, None), ("a",)), (symbol("x.0"), 3), dims.sub(symbol("x.0"), 1),
    ],
)  # fmt: skip
def test_attributes_survive(value: Any) -> None:
    from_text = parse_graph(
        f"program @g {{ %x = grad() {{n_targets=0, n_wrt=0, no_grad={attr_text(value)}}} : f32[] }}"
    )
    read = from_text.ops[0].attr["no_grad"]
    assert read == value
    assert repr(read) == repr(value)


def test_nan_survives() -> None:
    graph = parse_graph('program @g { %x = fill() {shape=[], dtype="float32", value=nan} : f32[] }')
    assert parse_graph(print_graph(graph)) == graph
    with gl.program_guard(gl.Program()) as _:
        made = ops.fill((), float("nan"), "float32")
        assert isinstance(made, gl.Variable)
        graph = made.block.program.snapshot([made])
    assert parse_graph(print_graph(graph)) == graph


def test_nan_survives_in_an_array() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        value = ops.literal(np.array([1.5, np.nan, -np.inf, -0.0], np.float32))
    graph = main.snapshot([value])
    assert parse_graph(print_graph(graph)) == graph


ATOMS = st.one_of(st.integers(0, 12), st.sampled_from(["x.0", "y.1", "N", "odd name"]).map(symbol))


def grown(inner: st.SearchStrategy[Dim]) -> st.SearchStrategy[Dim]:
    return st.one_of(
        st.builds(dims.add, inner, inner),
        st.builds(dims.sub, inner, inner),
        st.builds(dims.mul, inner, inner),
        st.builds(dims.maximum, inner, inner),
        st.builds(lambda a, b: dims.floordiv(a, b if b != 0 else 2), inner, inner),
    )


@given(st.recursive(ATOMS, grown, max_leaves=8))
def test_dimensions_survive(dim: Dim) -> None:
    x = TensorType("float32", (dim,))
    graph = Graph("g", ("x",), (), (), {"x": x}, ("x",), (), (Equation(dim, symbol("M"), "because"),))
    assert parse_graph(print_graph(graph)) == graph
    assert dim_text(dim) in print_graph(graph)


def test_each_op_survives_with_its_sample_attributes(rng: np.random.Generator) -> None:
    """Every op of the registry that has samples, in one graph each, with the types that it infers."""
    seen = 0
    for op in all_ops():
        for sample in op.samples(rng) if op.samples else []:
            names = [f"x{i}" for i in range(len(sample.inputs))]
            types = {n: TensorType(a.dtype.name, a.shape) for n, a in zip(names, sample.inputs, strict=True)}
            attrs = op.complete(sample.attrs)
            results = op.infer(list(types.values()), attrs, dims.Equations())
            outputs = tuple(f"y{i}" for i in range(len(results)))
            made = Op(op.name, tuple(names), outputs, freeze(attrs))
            graph = Graph(
                "g", tuple(names), (), (made,), {**types, **dict(zip(outputs, results, strict=True))}, outputs
            )
            assert parse_graph(print_graph(graph)) == graph
            seen += 1
    assert seen > 100


FEED = "program @g {\n  feed %logits : f32[N, 10]\n  "


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            FEED + "%p = sofmax(%logits) : f32[N, 10]\n}",
            [
                "line 3, column 8: unknown op 'sofmax'",
                "    %p = sofmax(%logits) : f32[N, 10]",
                "         ^~~~~~",
                "  hint: did you mean 'softmax'?",
            ],
        ),
        (
            FEED + "%p = exp(%logit) : f32[N, 10]\n}",
            [
                "line 3, column 12: value %logit is not defined",
                "    %p = exp(%logit) : f32[N, 10]",
                "             ^~~~~~",
                "  hint: did you mean 'logits'?",
            ],
        ),
        (
            FEED + "%logits = exp(%logits) : f32[N, 10]\n}",
            [
                "line 3, column 3: value %logits is defined twice",
                "    %logits = exp(%logits) : f32[N, 10]",
                "    ^~~~~~~",
            ],
        ),
        (
            FEED + "%p = exp(%logits) : float[N]\n}",
            [
                "line 3, column 23: unknown dtype 'float'",
                "    %p = exp(%logits) : float[N]",
                "                        ^~~~~",
                "  expected bool, i8, u8, i16, i32, i64, f16, bf16, f32, f64",
            ],
        ),
        (
            FEED + "%p = softmax(%logits) {axis=0.5} : f32[N, 10]\n}",
            [
                "line 3, column 8: softmax: attribute 'axis' has the wrong kind",
                "    %p = softmax(%logits) {axis=0.5} : f32[N, 10]",
                "         ^~~~~~~",
                "  expected axis, got 0.5",
            ],
        ),
        (
            FEED + "%p = exp(%logits : f32[N]\n}",
            [
                "line 3, column 20: unexpected word",
                "    %p = exp(%logits : f32[N]",
                "                     ^",
                "  expected ), got :",
            ],
        ),
        (
            FEED + "%p = exp(%logits) : f32[N], f32[N]\n}",
            [
                "line 3, column 23: there must be one type for each output",
                "    %p = exp(%logits) : f32[N], f32[N]",
                "                        ^~~",
                "  expected 1, got 2",
            ],
        ),
        (
            FEED + "%p = exp(%logits) : f32[N, 10] @back\n}",
            [
                "line 3, column 34: unknown role of an op",
                "    %p = exp(%logits) : f32[N, 10] @back",
                "                                   ^~~~~",
                "  expected forward, backward, optimize, got back",
            ],
        ),
        (
            FEED + "set %a = %logits\n}",
            [
                "line 3, column 3: a graph has no variables to set",
                "    set %a = %logits",
                "    ^~~",
                "  expected a program, or write",
            ],
        ),
        (
            FEED + "fetch %logits fetch %logits\n}",
            [
                "line 3, column 17: there is a second fetch line",
                "    fetch %logits fetch %logits",
                "                  ^~~~~",
                "  expected one, with all fetches",
            ],
        ),
        (
            FEED + "write %w = %logits\n  %p = exp(%logits) : f32[N, 10]\n}",
            [
                "line 4, column 3: an op follows a write",
                "    %p = exp(%logits) : f32[N, 10]",
                "    ^~",
                "  expected all writes of a graph after its ops",
            ],
        ),
        (
            FEED + "&",
            ["line 3, column 3: unexpected character '&'", "    &", "    ^"],
        ),
        (
            'program @"g {',
            ["line 1, column 9: unexpected character '@'", '  program @"g {', "          ^"],
        ),
        (
            FEED + '%p = softmax(%logits) {axis="\\q"} : f32[N, 10]\n}',
            [
                "line 3, column 31: a text has an escape that is none",
                '    %p = softmax(%logits) {axis="\\q"} : f32[N, 10]',
                "                                ^~~~",
                "  expected those of JSON",
            ],
        ),
        (
            FEED,
            [
                "line 3, column 3: no line begins like this",
                "    ",
                "    ^",
                "  expected %value, feed, state, where, write, set, sequences, fetch, or }",
            ],
        ),
        (
            "",
            ["line 1, column 1: unexpected word", "  ", "  ^", "  expected program, got the end"],
        ),
        (
            "program @g { } x",
            [
                "line 1, column 16: unexpected word",
                "  program @g { } x",
                "                 ^",
                "  expected the end of the text, got x",
            ],
        ),
    ],
)
def test_errors_point_at_the_place(text: str, lines: list[str]) -> None:
    with pytest.raises(ParseError) as caught:
        parse_graph(text)
    assert str(caught.value).split("\n") == lines


@pytest.mark.parametrize(
    "text",
    [
        "program @g { feed %x : f32[" + "max(" * 100 + "1" + ", 1)" * 100 + "] }",
        "program @g { %x = fill() {shape=" + "[" * 2000 + "]" * 2000 + "} : f32[] }",
        "program @g { feed %x : f32[" + "9" * 5000 + "] }",
        "program @g { feed %x : f32[floordiv(1, 0)] }",
    ],
)
def test_extreme_texts_are_refused_with_a_place(text: str) -> None:
    with pytest.raises(ParseError):
        parse_graph(text)


def test_mangled_texts_raise_nothing_but_parse_errors(rng: np.random.Generator) -> None:
    for _ in range(500):
        at, length = rng.integers(0, len(TEXT), 2)
        piece = TEXT[at : at + length % 9]
        where, cut = rng.integers(0, len(TEXT)), int(rng.integers(0, 9))
        mangled = TEXT[:where] + piece + TEXT[where + cut :]
        try:
            graph = parse_graph(mangled)
        except ParseError:
            continue
        assert parse_graph(print_graph(graph)) == graph
