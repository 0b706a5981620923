"""LoDTensors in runs: fed, fetched, kept in scopes, and refused where their offsets do not divide the rows."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import ArgumentTypeError, FeedError, GraphlossError, ShapeError, ValueRangeError

PLACE = gl.CPUPlace()


def rows(n: int, width: int = 2) -> np.ndarray[Any, Any]:
    return np.arange(n * width, dtype="float32").reshape(n, width)


class Net:
    """Two inputs with sequences, a plain one, and what is made of them."""

    def __init__(self) -> None:
        self.main = gl.Program()
        self.exe = gl.Executor(PLACE)
        with gl.unique_name.guard(), gl.program_guard(self.main):
            x = gl.data("x", [None, 2], lod_level=1)
            label = gl.data("label", [None, 1], "int64", lod_level=1)
            gl.data("plain", [None, 2])
            self.double = x * 2.0
            self.mean = gl.layers.mean(x)
            self.offsets = ops.offsets_of(self.double)
            self.lengths = self.offsets[1:] - self.offsets[:-1]
            self.agreed = ops.offsets_of(x, label)
            weight = gl.data("weight", [None])
            self.weighted = ops.cast(self.lengths, "float32") * weight

    def run(self, *fetches: object, numpy: bool = True, **feed: object) -> list[Any]:
        return self.exe.run(self.main, feed, list(fetches), return_numpy=numpy)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="module")
def net() -> Net:
    return Net()


# -- runs


def test_fed_and_fetched(net: Net) -> None:
    x = gl.create_lod_tensor(rows(5), [[2, 0, 3]], PLACE)
    double, mean = net.run(net.double, net.mean, numpy=False, x=x)
    assert double.lod() == [[0, 2, 2, 5]]
    assert mean.lod() == []
    np.testing.assert_array_equal(np.array(double), 2 * rows(5))
    assert net.run(net.mean, x=x) == [4.5]
    (again,) = net.run(net.double, numpy=False, x=double)  # what was fetched can be fed
    np.testing.assert_array_equal(np.array(again), 4 * rows(5))
    assert again.lod() == [[0, 2, 2, 5]]


def test_offsets_are_values_of_the_program(net: Net) -> None:
    for lengths in ([2, 3], [0, 5, 0], [], [1] * 40):
        x = gl.create_lod_tensor(rows(sum(lengths)), [lengths], PLACE)
        offsets, found = net.run(net.offsets, net.lengths, x=x)
        np.testing.assert_array_equal(offsets, np.cumsum([0, *lengths]))
        np.testing.assert_array_equal(found, lengths)
        weight = np.arange(len(lengths), dtype="float32")
        np.testing.assert_array_equal(net.run(net.weighted, x=x, weight=weight)[0], weight * lengths)


def test_an_array_would_lose_the_sequences(net: Net) -> None:
    x = gl.create_lod_tensor(rows(2), [[2]], PLACE)
    with pytest.raises(RuntimeError, match=r"the fetch 'mul_0.tmp_0' carries sequences") as caught:
        net.run(net.double, x=x)
    assert isinstance(caught.value, GraphlossError)
    assert "return_numpy=False" in str(caught.value)
    assert "op: %mul_0.tmp_0 : f32[x.0, 2]" in str(caught.value)


def test_a_plain_array_has_none(net: Net) -> None:
    np.testing.assert_array_equal(net.run(net.double, x=rows(3))[0], 2 * rows(3))
    assert net.run(net.double, numpy=False, x=rows(3))[0].lod() == []
    flat = gl.LoDTensor()
    flat.set(rows(3))
    np.testing.assert_array_equal(net.run(net.double, x=flat)[0], 2 * rows(3))
    with pytest.raises(FeedError, match="'x' is fed as a plain array, and the run needs its sequences"):
        net.run(net.offsets, x=rows(3))
    with pytest.raises(FeedError, match="'x' is not fed"):
        net.run(net.double)


def test_offsets_may_be_fed_themselves(net: Net) -> None:
    given = {"x": rows(3), "x@LOD": np.array([0, 1, 3])}
    (double,) = net.run(net.double, numpy=False, **given)
    assert double.lod() == [[0, 1, 3]]
    with pytest.raises(RuntimeError, match="carries sequences"):
        net.run(net.double, **given)
    for wrong in ([0, 1, 4], [1, 3], [0, 2, 1, 3], [3]):
        for fetch, numpy in ((net.offsets, True), (net.double, False)):
            with pytest.raises(ValueRangeError, match="the offsets of the sequences"):
                net.run(fetch, numpy=numpy, **{**given, "x@LOD": np.array(wrong)})
    with pytest.raises(ShapeError, match="too short"):
        net.run(net.offsets, **{**given, "x@LOD": np.array([], "int64")})


def test_inputs_that_must_agree(net: Net) -> None:
    def feed(x: list[int], label: list[int]) -> dict[str, object]:
        ids = gl.create_lod_tensor(np.zeros((sum(label), 1), "int64"), [label], PLACE)
        return {"x": gl.create_lod_tensor(rows(sum(x)), [x], PLACE), "label": ids}

    np.testing.assert_array_equal(net.run(net.agreed, **feed([2, 3], [2, 3]))[0], [0, 2, 5])
    with pytest.raises(ValueRangeError, match=r"(?s)'x' and 'label'.*length 3 of sequence 1.*length 4 in 'label'"):
        net.run(net.agreed, **feed([2, 3, 1], [2, 4, 0]))
    with pytest.raises(ShapeError, match=r"(?s)'label@LOD'.*'x@LOD'"):
        net.run(net.agreed, **feed([2, 3], [2, 2, 1]))


@pytest.mark.parametrize(
    ("feed", "message"),
    [
        ({"x": gl.create_lod_tensor(rows(3), [[2], [1, 2]])}, "another depth of sequences"),
        ({"x": gl.LoDTensor()}, "the LoDTensor fed to 'x' has no value"),
        ({"x": rows(3), "plain": gl.create_lod_tensor(rows(3), [[3]])}, "the LoDTensor fed to 'plain' has another"),
        ({"x": [rows(3)]}, "the value of 'x' is no array"),
        ({"x": gl.create_lod_tensor(rows(3, 3), [[3]])}, "the value of 'x' has another size at axis 1"),
        ({"x": gl.create_lod_tensor(rows(3)[0], [[2]])}, "the value of 'x' has another number of dimensions"),
        ({"y": gl.create_lod_tensor(rows(3), [[3]])}, "'x' is not fed"),
    ],
)
def test_feeds_that_do_not_fit(net: Net, feed: dict[str, object], message: str) -> None:
    with pytest.raises(GraphlossError, match=message):
        net.run(net.mean, **feed)


def test_a_program_without_sequences() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        y = gl.data("x", [None, 2]) * 2.0
    exe = gl.Executor()
    with pytest.raises(FeedError, match="the value of 'x' has sequences, which its variable has not"):
        exe.run(main, {"x": gl.create_lod_tensor(rows(3), [[3]])}, [y])
    flat = gl.LoDTensor()
    flat.set(rows(3))
    (out,) = exe.run(main, {"x": flat}, [y], return_numpy=False)
    assert isinstance(out, gl.LoDTensor)
    assert out.lod() == []


def test_an_edit_after_feeding_is_seen() -> None:
    """`set` with other rows leaves offsets that no longer divide them: seen at the feed, not read past the end."""
    net, tensor = Net(), gl.create_lod_tensor(rows(5), [[2, 3]])
    tensor.set(rows(4))
    for fetch in (net.mean, net.offsets):
        with pytest.raises(ValueRangeError, match=r"(?s)'x'.*the last offset to be 4.*op: feed %x"):
            net.run(fetch, x=tensor)


def test_fetches_of_another_program(net: Net) -> None:
    fed = {"x": gl.create_lod_tensor(rows(3), [[1, 2]])}
    (out,) = net.exe.run(net.main.clone(), fed, [net.double], return_numpy=False)
    assert out.lod() == [[0, 1, 3]]
    with pytest.raises(ArgumentTypeError, match="belongs to another program"):
        net.exe.run(gl.Program(), {}, [net.double], return_numpy=False)


def test_nested_sequences() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [None, 2], lod_level=2)
        y = x * 2.0
        per_sequence = ops.cast(x.offsets()[1:], "float32") * 1.0  # type: ignore[index]
        inner = ops.offsets_of(x)
    fed = gl.create_lod_tensor(rows(6), [[2, 1], [1, 0, 5]])
    out, ends, offsets = gl.Executor().run(main, {"x": fed}, [y, per_sequence, inner], return_numpy=False)
    assert out.recursive_sequence_lengths() == [[2, 1], [1, 0, 5]]
    assert ends.recursive_sequence_lengths() == [[2, 1]]
    np.testing.assert_array_equal(np.array(ends), [1, 1, 6])
    np.testing.assert_array_equal(np.array(offsets), [0, 1, 1, 6])
    with pytest.raises(FeedError, match=r"lod_level 2, got 1 levels"):
        gl.Executor().run(main, {"x": gl.create_lod_tensor(rows(6), [[6]])}, [inner])


def test_gradients_have_the_sequences_of_their_rows() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [None, 2], lod_level=1)
        (grad,) = gl.gradients(gl.layers.reduce_sum(x * x), x)
    fed = gl.create_lod_tensor(rows(3), [[1, 2]])
    (out,) = gl.Executor().run(main, {"x": fed}, [grad], return_numpy=False)
    assert out.lod() == [[0, 1, 3]]
    np.testing.assert_array_equal(np.array(out), 2 * rows(3))


def test_partial_sums_and_comparisons_take_them(net: Net) -> None:
    parts = [
        net.exe.run(net.main, {"x": gl.create_lod_tensor(rows(n), [[n]])}, [net.mean], partial=True) for n in (2, 3)
    ]
    want = (rows(2).sum() + rows(3).sum()) / 10
    np.testing.assert_allclose(gl.combine(parts)[0], [want], rtol=1e-6)
    report = gl.compare(net.main, {"x": gl.create_lod_tensor(rows(4), [[4]])}, [net.double, net.offsets])
    assert report.worst_ulp == 0


def above_zero(x: Any) -> Any:
    """The rows of each sequence whose sum is above 0: as many as the run finds."""
    keep = ops.reduce_sum(x, [1]) > 0.0
    before = ops.concat([ops.fill((1,), 0, "int64"), ops.cumsum(ops.cast(keep, "int64"))], 0)
    return ops.with_offsets(ops.gather(x, ops.rows_where(keep)), ops.gather(before, ops.offsets_of(x)))


def test_results_with_sequences_of_their_own() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        double = above_zero(gl.data("x", [None, 2], lod_level=1)) * 2.0
        offsets = ops.offsets_of(double)
    exe, rng = gl.Executor(), np.random.default_rng(2)
    again = gl.Program.parse_from_string(str(main))
    for lengths in ([2, 0, 3], [], [0], [40, 7]):
        x = rng.normal(size=(sum(lengths), 2)).astype("float32")
        parts = np.split(x, np.cumsum(lengths)[:-1]) if lengths else []
        kept = [p[p.sum(1) > 0] for p in parts]
        fed = gl.create_lod_tensor(x, [lengths])
        for program in (main, main.clone(), again):
            out, found = exe.run(program, {"x": fed}, [double.name, offsets.name], return_numpy=False)
            assert out.recursive_sequence_lengths() == [[len(p) for p in kept]]
            assert out.lod() == [np.array(found).tolist()]
            np.testing.assert_array_equal(np.array(out), 2 * np.concatenate([x[:0], *kept]))
    with pytest.raises(RuntimeError, match="carries sequences"):
        exe.run(main, {"x": fed}, [double])


def test_sizes_that_only_a_run_tells_have_symbols_of_their_own() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [None, 2], lod_level=1)
        with gl.unique_name.guard():
            first = above_zero(x)
        with gl.unique_name.guard():
            second = above_zero(x + 1.0)
    again = gl.Program.parse_from_string(str(main))
    with gl.program_guard(again):
        third = above_zero(again.var("x"))
    assert len({str(v.type) for v in (first, second, third)}) == 3
    assert first.offsets() is not second.offsets()
    x_fed = gl.create_lod_tensor(np.array([[-1, 0.5], [3, 3], [-9, 0]], "float32"), [[1, 2]])
    out = gl.Executor().run(again, {"x": x_fed}, [first.name, second.name, third], return_numpy=False)
    assert [t.lod() for t in out] == [[[0, 0, 1]], [[0, 1, 2]], [[0, 0, 1]]]


def test_inference_models_keep_the_sequences(tmp_path: Path) -> None:
    main, scope, exe = gl.Program(), gl.Scope(), gl.Executor()
    with gl.program_guard(main, gl.Program()), gl.scope_guard(scope):
        x = gl.data("x", [None, 2], lod_level=1)
        label = gl.data("label", [None, 2], lod_level=1)
        double, kept = x * 2.0, above_zero(x + label)
        gl.io.save_inference_model(str(tmp_path), ["label", "x"], [double, kept], exe, main)
        program, names, targets = gl.io.load_inference_model(str(tmp_path), exe)
    assert names == ["label", "x"]
    fed = {"x": gl.create_lod_tensor(rows(3), [[1, 2]]), "label": gl.create_lod_tensor(-rows(3) + 1, [[1, 2]])}
    want = exe.run(main, fed, [double, kept], return_numpy=False)
    got = exe.run(program, fed, targets, return_numpy=False)
    for a, b in zip(got, want, strict=True):
        assert a.lod() == b.lod() != []
        np.testing.assert_array_equal(np.array(a), np.array(b))


# -- scopes


def test_scope_tensors() -> None:
    scope = gl.Scope()
    tensor = scope.var("w").get_tensor()
    tensor.set(rows(3), PLACE)
    tensor.set_recursive_sequence_lengths([[1, 2]])
    found = scope.find_var("w").get_tensor()  # type: ignore[union-attr]
    assert (found.lod(), found.shape()) == ([[0, 1, 3]], [3, 2])
    with pytest.raises(ValueRangeError, match="the offsets of the sequences of 'w'"):
        found.set_lod([[0, 2]])
    with pytest.raises(ArgumentTypeError, match="'b' has no value yet"):
        np.array(scope.var("b").get_tensor())


def test_a_written_state_has_no_sequences() -> None:
    main, startup, scope = gl.Program(), gl.Program(), gl.Scope()
    with gl.program_guard(main, startup):
        w = gl.layers.create_global_var([2], 1.0, "float32", persistable=True, name="w")
        gl.layers.assign(w * 2.0, w)
    exe = gl.Executor()
    exe.run(startup, scope=scope)
    scope.var("w").get_tensor().set_lod([[0, 2]])
    exe.run(main, scope=scope)
    assert scope.var("w").get_tensor().lod() == []


# -- many malformed ones


def malformed(rng: random.Random, total: int) -> list[list[int]]:
    """Offsets of one or two levels that are wrong in one place."""
    inner = sorted([0, *(rng.randint(0, total) for _ in range(rng.randint(1, 6))), total])
    levels = [inner]
    if rng.random() < 0.4:
        count = len(inner) - 1
        levels.insert(0, sorted([0, rng.randint(0, count), count]))
    bad = rng.choice(levels)
    kind = rng.randrange(4)
    if kind == 0:
        bad[0] = rng.choice([-1, 1, 2**40])
    elif kind == 1:
        bad[-1] += rng.choice([-1, 1, 2**40, -(2**40)])
    elif kind == 2:
        bad[rng.randrange(1, len(bad))] = -rng.randint(1, 2**62)
    else:
        bad.insert(rng.randrange(1, len(bad)), bad[-1] + rng.randint(1, 9))
    return levels


def refused(call: Callable[[], object], name: str) -> None:
    with pytest.raises((ValueRangeError, FeedError, ShapeError)) as caught:
        call()
    text = str(caught.value)
    assert f"'{name}'" in text
    assert "expected" in text
    assert "got" in text


def test_hundreds_of_malformed_offsets(net: Net) -> None:
    rng = random.Random(5)
    for _ in range(400):
        total = rng.randint(0, 9)
        lod = malformed(rng, total)
        tensor = gl.LoDTensor()
        tensor.set(rows(total))
        refused(lambda t=tensor, lod=lod: t.set_lod(lod), "tensor")  # type: ignore[misc]
        offsets = np.array(lod[-1])
        if len(lod) == 1:
            refused(lambda n=total, o=offsets: net.run(net.offsets, **{"x": rows(n), "x@LOD": o}), "x")  # type: ignore[misc]
        else:
            fed = gl.LoDTensor()
            fed.set(rows(total))
            fed.set_lod([[0, 1], [0, total]])
            refused(lambda t=fed: net.run(net.offsets, x=t), "x")  # type: ignore[misc]
