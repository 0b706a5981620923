"""What a program does with float16 and bfloat16 beside losses: feeds, moves, parameters, files, texts, errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import ArgumentTypeError, DtypeError, FeedError, UnsupportedError
from graphloss.nn import functional as F

Array = npt.NDArray[Any]

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
HALVES = {"float16": np.dtype(np.float16), "bfloat16": BFLOAT16}
X = np.arange(6, dtype=np.float32).reshape(2, 3) / 8


def doubled(dtype: object, value: object) -> list[Array]:
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [None, 3], dtype)
        fetches = [x, x * 2.0]
    return gl.Executor().run(main, {"x": value}, fetches)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", np.float16, ml_dtypes.bfloat16, BFLOAT16])
def test_a_feed_of_the_same_dtype(dtype: Any) -> None:
    value = X.astype(dtype)
    for laid in (value, np.asfortranarray(value), np.repeat(value, 2, 1)[:, ::2], value.astype(value.dtype)):
        same, twice = doubled(dtype, laid)
        assert same.dtype == value.dtype and same.tobytes() == value.tobytes()
        assert twice.dtype == np.float32 and np.array_equal(twice, 2 * X)


@pytest.mark.parametrize(
    ("declared", "fed"),
    [("float32", "float16"), ("float32", "bfloat16"), ("float64", "bfloat16"), ("bfloat16", "int8"),
     ("float16", "uint8"), ("float16", ">f2")],
)  # fmt: skip
def test_a_feed_that_is_widened(declared: str, fed: str) -> None:
    whole = np.arange(6).reshape(2, 3)
    same, twice = doubled(declared, whole.astype(fed))
    assert same.dtype == np.dtype(declared) and np.array_equal(twice, 2 * whole)


@pytest.mark.parametrize(
    ("declared", "fed"),
    [("bfloat16", "float32"), ("float16", "float32"), ("float16", "bfloat16"), ("bfloat16", "float16"),
     ("bfloat16", "int32"), ("float16", "int16"), ("int64", "bfloat16")],
)  # fmt: skip
def test_a_feed_that_would_lose_digits(declared: str, fed: str) -> None:
    with pytest.raises(FeedError) as caught:
        doubled(declared, np.ones((2, 3), fed))
    what, dtypes, op, where, hint = str(caught.value).split("\n")
    assert what == "the value of 'x' has another dtype than its variable"
    assert dtypes == f"  expected {declared}, got {fed}"
    assert op.startswith("  op: feed %x") and "test_half.py" in where
    assert hint.endswith(f"value.astype('{declared}')")


@pytest.mark.parametrize("dtype", HALVES)
def test_moves_keep_the_dtype(dtype: str) -> None:
    """Bit by bit, NaN with a payload too; in both modes."""
    x = np.arange(0x7F00, 0x7F00 + 60, dtype=np.uint16).reshape(4, 5, 3).view(HALVES[dtype])
    index = np.array([3, 0, 3])

    def moved(x: Any, i: Any) -> list[Any]:
        return [
            ops.reshape(x, (5, 12)), ops.transpose(x, (2, 0, 1)), x[1:, ::2], ops.concat([x, x], 1), ops.gather(x, i),
            ops.stack([x, x]), ops.unsqueeze(x, 1), ops.split(x, 3, 2)[1], ops.assign(x),
        ]  # fmt: skip

    want = [
        x.reshape(5, 12), x.transpose(2, 0, 1), x[1:, ::2], np.concatenate([x, x], 1), x[index],
        np.stack([x, x]), x[:, None], x[:, :, 1:2], x,
    ]  # fmt: skip
    main = gl.Program()
    with gl.program_guard(main):
        fetches = moved(gl.data("x", [None, 5, 3], dtype), gl.data("i", [None], "int64"))
    found = gl.Executor().run(main, {"x": x, "i": index}, fetches)
    with gl.dygraph.guard():
        eager = [v.numpy() for v in moved(gl.dygraph.to_variable(x), gl.dygraph.to_variable(index))]
    for f, e, w in zip(found, eager, want, strict=True):
        assert f.dtype == e.dtype == w.dtype and f.shape == e.shape == w.shape
        assert f.tobytes() == e.tobytes() == w.tobytes()


def test_what_operators_give() -> None:
    with gl.program_guard(gl.Program()):
        x, h = gl.data("x", [3], "bfloat16"), gl.data("h", [3], "float16")
        wide, whole = gl.data("wide", [3], "float64"), gl.data("whole", [3], "int64")
        assert [v.dtype for v in (x + 1, x * x, -x, x + h, x * wide, x + whole, ops.concat([x, h]))] == [
            "float32", "float32", "float32", "float32", "float64", "float64", "float32"
        ]  # fmt: skip
        assert (x > 0).dtype == "bool"
        made = (
            gl.layers.fill_constant([2], "bfloat16", 0.3), gl.layers.zeros([2], "bfloat16"), gl.layers.ones_like(x),
            gl.layers.uniform_random([2], "bfloat16"), gl.layers.linspace(0, 1, 3, "bfloat16"),
            gl.layers.cast(wide, "bfloat16"), wide.astype("bfloat16"), gl.layers.assign(np.ones(2, BFLOAT16)),
        )  # fmt: skip
        assert {v.dtype for v in made} == {"bfloat16"}


@pytest.mark.parametrize("dtype", HALVES)
def test_an_explicit_cast_rounds(dtype: str) -> None:
    """Nothing removes it, though the next op is on float32 again; float64 is rounded once."""
    value = np.random.default_rng(0).normal(size=(4, 3))
    value[0] = 1 + 2.0**-8 + 2.0**-40
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [None, 3], "float64")
        half = x.astype(dtype)
        fetches = [half, half * 1.0, gl.layers.cast(half, "int32")]
    found = gl.Executor().run(main, {"x": value}, fetches)
    with gl.dygraph.guard():
        want = gl.dygraph.to_variable(value).astype(dtype).numpy()
    assert found[0].tobytes() == want.tobytes()
    assert found[0][0, 0] == (1 + 2.0**-7 if dtype == "bfloat16" else 1 + 2.0**-8)
    assert np.array_equal(found[1], want.astype(np.float32))
    assert np.array_equal(found[2], want.astype(np.int32))


def classifier(dtype: str, optimizer: Any) -> tuple[gl.Program, gl.Program, Any, dict[str, Array]]:
    main, startup = gl.Program(), gl.Program()
    main.random_seed = startup.random_seed = 5
    with gl.program_guard(main, startup), gl.unique_name.guard():
        x, y = gl.data("x", [None, 4], dtype), gl.data("y", [None], "int64")
        w = gl.layers.create_parameter([4, 3], dtype, "w")
        b = gl.layers.create_parameter([3], dtype, "b", is_bias=True)
        loss = F.cross_entropy(gl.layers.matmul(x, w) + b, y)
        optimizer.minimize(loss)
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(64, 4))
    return main, startup, loss, {"x": rows.astype(dtype), "y": (rows @ rng.normal(size=(4, 3))).argmax(1)}


@pytest.mark.parametrize("make", [gl.optimizer.SGD, gl.optimizer.Adam], ids=["SGD", "Adam"])
@pytest.mark.parametrize("dtype", HALVES)
def test_parameters(dtype: str, make: Any) -> None:
    """A step is taken in float32 and rounded where it is stored; what an optimiser keeps is float32."""
    main, startup, loss, feed = classifier(dtype, make(learning_rate=0.1))
    exe, scope = gl.Executor(), gl.Scope()
    with gl.scope_guard(scope):
        exe.run(startup)
        before = np.array(scope.var("w").get_tensor())
        first = exe.run(main, feed, [loss, "w@GRAD"])
        after = np.array(scope.var("w").get_tensor())
        assert [a.dtype for a in (*first, before, after)] == [np.float32, *[HALVES[dtype]] * 3]
        if make is gl.optimizer.SGD:
            step = before.astype(np.float32) - np.float32(0.1) * first[1].astype(np.float32)
            assert after.tobytes() == step.astype(HALVES[dtype]).tobytes()
        for _ in range(40):
            (last,) = exe.run(main, feed, [loss])
    assert last < 0.7 * first[0]
    kept = {v.dtype for v in main.list_vars() if v.persistable and "moment" in v.name}
    assert kept == ({"float32"} if make is gl.optimizer.Adam else set())


@pytest.mark.parametrize("dtype", HALVES)
def test_eager_parameters(dtype: str) -> None:
    _, _, _, feed = classifier("float32", gl.optimizer.SGD(learning_rate=0.1))
    with gl.dygraph.guard():
        layer = gl.nn.Linear(4, 3, dtype=dtype)
        optimizer = gl.optimizer.Adam(learning_rate=0.1, parameter_list=layer.parameters())
        x, y = gl.dygraph.to_variable(feed["x"].astype(dtype)), gl.dygraph.to_variable(feed["y"])
        losses = []
        for _ in range(30):
            loss = F.cross_entropy(layer(x), y)
            loss.backward()
            optimizer.minimize(loss)
            assert layer.weight.gradient().dtype == HALVES[dtype]
            optimizer.clear_gradients()
            losses.append(loss.item())
        assert layer.weight.dtype == dtype and losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("dtype", HALVES)
def test_files(dtype: str, tmp_path: Path) -> None:
    main, startup = gl.Program(), gl.Program()
    with gl.program_guard(main, startup):
        x = gl.data("x", [None, 4], dtype)
        y = gl.layers.matmul(x, gl.layers.create_parameter([4, 3], dtype, "w"))
    exe, feed = gl.Executor(), {"x": np.ones((2, 4), dtype)}
    with gl.scope_guard(gl.Scope()):
        exe.run(startup)
        first = exe.run(main, feed, [y, "w"])
        gl.io.save_persistables(exe, str(tmp_path / "values"), main)
        gl.io.save_inference_model(str(tmp_path / "model"), ["x"], [y], exe, main)
    with gl.scope_guard(gl.Scope()):
        exe.run(startup)
        gl.io.load_persistables(exe, str(tmp_path / "values"), main)
        again = exe.run(main, feed, [y, "w"])
    assert [a.tobytes() for a in again] == [a.tobytes() for a in first]
    assert again[1].dtype == HALVES[dtype]
    if dtype == "float16":
        return
    # another process, which meets the dtype in the files first
    script = (
        "import sys, numpy as np, graphloss as gl\n"
        "assert 'ml_dtypes' not in sys.modules\n"
        "program, _, fetches = gl.io.load_inference_model(sys.argv[1], exe := gl.Executor())\n"
        "x = np.ones((2, 4), sys.argv[2])\n"
        "sys.stdout.buffer.write(exe.run(program, {'x': x}, fetches)[0].tobytes())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(tmp_path / "model"), dtype], capture_output=True, check=False,
        cwd=Path(__file__).parents[2], env=dict(os.environ),
    )  # fmt: skip
    assert done.stdout == first[0].tobytes(), done.stderr.decode()


def test_sequences() -> None:
    """CTC on packed rows: as the same numbers in float32."""
    dtype = "bfloat16"
    logits = np.random.default_rng(2).normal(size=(9, 4)).astype(HALVES[dtype])
    found = []
    for kind in (dtype, "float32"):
        main = gl.Program()
        with gl.program_guard(main):
            x, y = gl.data("x", [None, 4], kind, lod_level=1), gl.data("y", [None, 1], "int64", lod_level=1)
            loss = gl.layers.warpctc(x, y)
            (grad,) = gl.gradients([loss], [x])
        feed = {
            "x": gl.create_lod_tensor(logits.astype(kind), [[4, 5]], gl.CPUPlace()),
            "y": gl.create_lod_tensor(np.array([[1], [2], [1]]), [[1, 2]], gl.CPUPlace()),
        }
        found.append([np.array(v) for v in gl.Executor().run(main, feed, [loss, grad], return_numpy=False)])
    (value, half), (wide, exact) = found
    assert value.tobytes() == wide.tobytes()
    assert half.tobytes() == exact.astype(HALVES[dtype]).tobytes()


@pytest.mark.parametrize("dtype", HALVES)
def test_partial_results_are_rounded_at_the_end(dtype: str) -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x, y, w = gl.data("x", [None, 5], dtype), gl.data("y", [None], "int64"), gl.data("w", [5, 3], dtype)
        loss = F.cross_entropy(gl.layers.matmul(x, w), y)
        fetches = [loss, *gl.gradients([loss], [x, w])]
    rng = np.random.default_rng(4)
    feed = {"x": rng.normal(size=(7, 5)).astype(HALVES[dtype]), "y": rng.integers(0, 3, 7)}
    weights = {"w": rng.normal(size=(5, 3)).astype(HALVES[dtype])}
    exe = gl.Executor()
    whole = exe.run(main, {**feed, **weights}, fetches)
    shards = [{**{n: a[cut] for n, a in feed.items()}, **weights} for cut in (slice(0, 3), slice(3, 7))]
    value, dx, dw = gl.combine([exe.run(main, shard, fetches, partial=True) for shard in shards])
    np.testing.assert_allclose(value, whole[0], rtol=1e-6)
    assert dx.tobytes() == whole[1].tobytes()
    assert dw.dtype == HALVES[dtype]
    np.testing.assert_allclose(dw.astype(np.float32), whole[2].astype(np.float32), rtol=2.0**-7)


def test_compiled_functions() -> None:
    @gl.compile
    def mse(x: Any, y: Any) -> Any:
        return F.mse_loss(x, y)

    x = X.astype(BFLOAT16)
    value, (dx, dy) = mse.value_and_grad((0, 1))(x, 0 * x)
    assert value.dtype == np.float32 and value == np.mean(X * X)
    assert dx.dtype == dy.dtype == BFLOAT16 and np.array_equal(dx, -dy)
    assert np.array_equal(dx, (X / 3).astype(BFLOAT16))


@pytest.mark.parametrize("dtype", HALVES)
def test_the_text_of_a_program(dtype: str) -> None:
    main, _, loss, feed = classifier(dtype, gl.optimizer.SGD(learning_rate=0.1))
    with gl.program_guard(main):
        (grad,) = gl.gradients([loss], [main.global_block().var("x")])
    text = str(main)
    assert ("bf16[" if dtype == "bfloat16" else "f16[") in text
    again = gl.Program.parse_from_string(text)
    assert str(again) == text
    for program in (main, again):
        with gl.scope_guard(gl.Scope()) as _:
            for name, shape in (("w", (4, 3)), ("b", (3,))):
                gl.global_scope().var(name).get_tensor().set(np.ones(shape, dtype))
            gl.global_scope().var("learning_rate_0").get_tensor().set(np.ones(1, np.float32))
            found = gl.Executor().run(program, feed, [loss.name, grad.name])
        if program is main:
            want = found
    assert [a.tobytes() for a in found] == [a.tobytes() for a in want]


def test_an_op_by_name_computes_on_float32() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [2], "bfloat16")
        block = main.global_block()
        block.append_op("exp", {"X": x}, {"Out": "y"})
        block.append_op("fill", {}, {"Out": "z"}, {"shape": (2,), "dtype": "bfloat16", "value": 0.1})
    assert [block.var(n).dtype for n in "yz"] == ["float32", "float32"]
    (y,) = gl.Executor().run(main, {"x": np.zeros(2, BFLOAT16)}, ["y"])
    assert y.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "line",
    ['%p = fill() {shape=[2], dtype="bfloat16", value=0.5} : bf16[2]', "%p = exp(%x) : bf16[2]",
     "%p = add(%x, %x) : bf16[2]"],
)  # fmt: skip
def test_a_text_that_computes_in_halves_is_refused(line: str) -> None:
    text = f"program @g {{\n  feed %x : bf16[2]\n  {line}\n  fetch %p\n}}"
    with pytest.raises(DtypeError, match=r"nothing is computed in bfloat16[\s\S]*op: %p = [\s\S]*cast to float32"):
        gl.Executor().run(gl.Program.parse_from_string(text), {"x": np.ones(2, BFLOAT16)}, ["p"])


def test_a_write_of_float64_into_a_half_is_refused() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        kept = gl.layers.create_global_var([3], 0.0, "bfloat16", persistable=True)
        gl.layers.assign(gl.data("x", [3], "float32"), kept)
        with pytest.raises(DtypeError, match=r"a write changes the dtype[\s\S]*bf16\[3\][\s\S]*f64\[3\]"):
            gl.layers.assign(gl.data("y", [3], "float64"), kept)


def test_class_labels_in_halves_are_refused() -> None:
    with gl.program_guard(gl.Program()), pytest.raises(DtypeError, match="class labels have the wrong dtype"):
        F.cross_entropy(gl.data("x", [None, 3], "bfloat16"), gl.data("y", [None], "bfloat16"))


def test_other_small_floats_are_unknown() -> None:
    with gl.program_guard(gl.Program()), pytest.raises(ArgumentTypeError, match="unknown dtype"):
        gl.data("x", [3], ml_dtypes.float8_e4m3fn)


def test_without_ml_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    text = r"bfloat16 needs the package ml_dtypes[\s\S]*hint: pip install 'graphloss\[bfloat16\]'"
    with gl.program_guard(gl.Program()):
        with pytest.raises(UnsupportedError, match=text):
            gl.data("x", [3], "bfloat16")
        with pytest.raises(UnsupportedError, match=text):
            gl.Program.parse_from_string("program @g {\n  feed %x : bf16[2]\n}")
        assert gl.data("y", [3], "float16").dtype == "float16"
