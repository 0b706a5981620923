"""Data values outside the interval that a loss is defined on: named where that is asked for, free where it is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import ValueRangeError
from graphloss.gluon import loss as gluon
from graphloss.ir.printer import print_graph
from graphloss.ir.program import Program
from graphloss.ir.tensor import Tensor
from graphloss.nn import functional as F
from graphloss.options import CompileOptions
from graphloss.passes.pipelines import optimise
from graphloss.rewrite.trace import Trace

Array = npt.NDArray[np.generic]
Build = Callable[..., Tensor]


def run(
    build: Build, feed: dict[str, Array], *, on: bool = True, by: str = "", fetch_loss: bool = True, threads: int = 1,
    free: bool = True,
) -> list[Array]:  # fmt: skip
    program = gl.Program()
    with gl.program_guard(program, gl.Program()):
        inputs = {name: gl.data(name, [None] * a.ndim if free else a.shape, str(a.dtype)) for name, a in feed.items()}
        loss = build(**inputs)
        fetches = [loss] if fetch_loss else []
        if by:
            fetches += gl.gradients([loss], [inputs[by]])
        options = CompileOptions(check_values=on, cache=False, threads=threads)
        return list(gl.Executor(options=options).run(program, feed=feed, fetch_list=fetches))


def bce(z: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(z, y)


def arrays(shape: tuple[int, ...], dtype: str = "float32") -> dict[str, Array]:
    rng = np.random.default_rng(5)
    return {"z": rng.normal(size=shape).astype(dtype), "y": rng.uniform(size=shape).astype(dtype)}


def broken(build: Build, feed: dict[str, Array], **how: object) -> str:
    with pytest.raises(ValueRangeError) as e:
        run(build, feed, **how)  # type: ignore[arg-type]
    return str(e.value)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [1.5, -0.25, np.inf, -np.inf])
def test_value_and_place_are_named(value: float, dtype: str) -> None:
    feed = arrays((9, 5), dtype)
    feed["y"][7, 3] = value
    lines = broken(bce, feed).splitlines()
    assert lines[0] == f"row 7: y[7, 3] = {value} is out of range"
    assert lines[1] == f"  expected a value in [0, 1], got {value}"
    assert lines[2].startswith("  op: %check_range") and "(%y)" in lines[2]
    assert lines[3].startswith("  at: ") and __file__ in lines[3]
    assert lines[4].startswith("  hint: ")
    assert len(lines) == 5


def rows(z: Tensor, y: Tensor) -> Tensor:
    return ops.reduce_sum(ops.check_range(y, 0, 1) * ops.log_softmax(z, axis=-1))


def columns(z: Tensor, y: Tensor) -> Tensor:
    return ops.reduce_sum(ops.check_range(y, 0, 1) * ops.log_softmax(z, axis=1))


def elements(z: Tensor, y: Tensor) -> Tensor:
    return ops.check_range(y, 0, 1) * z


def turned(z: Tensor, y: Tensor) -> Tensor:
    perm = tuple(reversed(range(y.type.rank)))
    return ops.transpose(ops.check_range(y, 0, 1), perm) + ops.transpose(z, perm)


def picked(z: Tensor, y: Tensor) -> Tensor:
    index = ops.argmax(z, -1)
    return ops.pick(ops.check_range(y, 0, 1), index, -1)


SHAPES = [(), (7,), (40_000,), (33, 5), (33, 300), (3, 40), (5, 3, 70), (2, 300, 7)]


@pytest.mark.parametrize("by", ["", "z"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("build", [bce, rows, columns, elements, turned, picked])
def test_every_tile_names_the_first(build: Build, shape: tuple[int, ...], by: str) -> None:
    if (build in (rows, picked) and not shape) or (build is picked and by) or (build is columns and len(shape) < 2):
        return
    good = arrays(shape)
    want = run(build, good, on=False, by=by)
    for a, b in zip(want, run(build, good, by=by), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    rng = np.random.default_rng(1)
    for _ in range(3):
        feed = arrays(shape)
        bad = np.sort(rng.choice(max(feed["y"].size, 1), min(3, feed["y"].size), replace=False))
        feed["y"].reshape(-1)[bad] = [1.5, 2.5, 3.5][: len(bad)]
        lowest = [int(i) for i in np.unravel_index(bad[0], shape)]
        if build is turned:  # the kernel goes along the result: any of them
            continue
        place = str(lowest) if shape else ""
        assert f"y{place} = 1.5 is out of range" in broken(build, feed, by=by)


def test_turned_views_name_the_place_in_the_feed() -> None:
    for shape in [(7,), (33, 5), (5, 3, 70)]:
        feed = arrays(shape)
        last = tuple(n - 1 for n in shape)
        feed["y"][last] = -1
        assert f"y{list(last)} = -1.0 is" in broken(turned, feed)


def test_threads_agree_on_the_lowest() -> None:
    feed = arrays((400_000,))
    feed["y"][[399_999, 200_000, 131_071]] = 2
    for threads in (1, 2):
        assert "y[131071] = 2.0" in broken(bce, feed, threads=threads)


def test_a_run_of_the_gradient_alone_checks_too() -> None:
    feed = arrays((4, 5))
    feed["y"][2, 1] = 2
    assert "y[2, 1] = 2.0" in broken(bce, feed, by="z", fetch_loss=False)


def test_nan_is_no_value_out_of_range() -> None:
    feed = arrays((4, 5))
    feed["y"][2, 1] = np.nan
    (loss,) = run(lambda z, y: F.binary_cross_entropy_with_logits(z, y, reduction="none"), feed)
    assert np.flatnonzero(np.isnan(loss)).tolist() == [11]
    feed["y"][3, 0] = 2
    assert "y[3, 0] = 2.0" in broken(bce, feed)


def test_off_is_off() -> None:
    feed = arrays((4, 5))
    feed["y"][2, 1] = 2
    z, y = feed["z"].astype("float64"), feed["y"].astype("float64")
    (loss,) = run(bce, feed, on=False)
    np.testing.assert_allclose(loss, np.mean(np.logaddexp(0, z) - z * y), rtol=1e-6)


def test_ignored_elements_are_not_checked() -> None:
    feed = arrays((4, 5))
    feed["y"][1] = -100

    def build(z: Tensor, y: Tensor) -> Tensor:
        return gl.layers.sigmoid_cross_entropy_with_logits(z, y, ignore_index=-100)

    (on,), (off,) = run(build, feed), run(build, feed, on=False)
    np.testing.assert_array_equal(on, off)
    assert not on[1].any()
    feed["y"][3, 2] = -99
    assert "y[3, 2] = -99.0" in broken(build, feed)


@pytest.mark.parametrize("shape", [(6,), (9, 5), (9, 50), (3, 20, 7)])
def test_a_mask_leaves_values_as_they_are(shape: tuple[int, ...]) -> None:
    feed = arrays(shape)
    feed["y"].reshape(-1)[::2] = 7

    def build(z: Tensor, y: Tensor) -> Tensor:
        return ops.check_range(y, 0, 1, y != 7.0) + ops.log_softmax(z, axis=-1)

    np.testing.assert_allclose(run(build, feed)[0], run(build, feed, on=False)[0], rtol=1e-6)
    feed["y"].reshape(-1)[3] = 6
    where = [int(i) for i in np.unravel_index(3, shape)]
    assert f"y{where} = 6.0" in broken(build, feed)


# a loss of x and y, what is good, the operand that is then broken, and the value that breaks it
RANGES: dict[str, tuple[Build, float, float, str, float]] = {
    "sigmoid focal": (gl.losses.sigmoid_focal_loss, 3.0, 0.5, "y", 1.5),
    "tversky": (gl.losses.tversky_loss, 0.5, 1.0, "x", 1.25),
    "focal tversky": (gl.losses.focal_tversky_loss, 0.5, 1.0, "y", -1.0),
    "jaccard": (gl.losses.jaccard_loss, 0.5, 1.0, "y", 2.0),
    "generalised dice": (gl.losses.generalized_dice_loss, 0.5, 1.0, "x", -0.5),
    "dice": (lambda x, y: gl.layers.dice_loss(ops.unsqueeze(x, 2), ops.unsqueeze(y, 2)), 0.5, 1.0, "y", 7.0),
    "poisson": (F.poisson_nll_loss, -2.0, 3.0, "y", -1.0),
    "poisson of rates": (lambda x, y: F.poisson_nll_loss(x, y, log_input=False), 2.0, 3.0, "x", -0.5),
    "gamma": (gl.losses.gamma_deviance_loss, 2.0, 3.0, "y", -1.0),
    "gamma's mean": (gl.losses.gamma_deviance_loss, 2.0, 3.0, "x", -2.0),
    "tweedie": (gl.losses.tweedie_deviance_loss, 2.0, 0.0, "y", -1.0),
    "msle": (gl.losses.msle_loss, -0.5, -1.0, "x", -1.5),
    "rank": (lambda x, y: gl.layers.rank_loss(y, x, x * 2.0), 4.0, 1.0, "y", 1.5),
}


@pytest.mark.parametrize("what", RANGES)
def test_ranges_of_losses(what: str) -> None:
    loss, x, y, broken_one, value = RANGES[what]

    def build(x: Tensor, y: Tensor) -> Tensor:
        return loss(x, y)

    good = {name: np.full((3, 4), number) for name, number in (("x", x), ("y", y))}
    np.testing.assert_array_equal(run(build, good, free=False)[0], run(build, good, on=False, free=False)[0])
    good[broken_one][1, 2] = value
    run(build, good, on=False, free=False)
    assert f"{broken_one}[1, 2] = {value} is out of range" in broken(build, good, free=False)


def test_a_target_of_a_power_below_1_is_any_number() -> None:
    feed = {"x": np.full(3, 2.0), "y": np.array([-1.0, 0.0, 1.0])}
    for power in (-1.0, 0.0):
        run(lambda x, y, p=power: gl.losses.tweedie_deviance_loss(x, y, p), feed)


PROBABILITIES: list[tuple[Build, dict[str, Array], str]] = [
    (lambda p, y: F.binary_cross_entropy(p, y), {"y": np.array([[1.0, 0.0]])}, "p"),
    (lambda p, label: gl.layers.cross_entropy(p, label), {"label": np.array([[1]])}, "p"),
    (lambda p, q: gl.layers.cross_entropy(p, q, soft_label=True), {"q": np.array([[0.5, 0.5]])}, "p"),
    (lambda x, p: F.kl_div(x, p), {"x": np.array([[-1.0, -2.0]])}, "p"),
    (lambda x, p: gluon.KLDivLoss()(x, p), {"x": np.array([[-1.0, -2.0]])}, "p"),
    (lambda p, y: gluon.SigmoidBCELoss(from_sigmoid=True)(p, y), {"y": np.array([[1.0, 0.0]])}, "p"),
]


@pytest.mark.parametrize("case", PROBABILITIES, ids=["bce", "ce", "soft ce", "kl", "gluon kl", "gluon bce"])
def test_probabilities_that_are_data(case: tuple[Build, dict[str, Array], str]) -> None:
    build, others, name = case
    good = {**others, name: np.array([[0.25, 0.75]])}
    np.testing.assert_array_equal(run(build, good, free=False)[0], run(build, good, on=False, free=False)[0])
    assert f"{name}[0, 0] = -0.5" in broken(build, {**others, name: np.array([[-0.5, 0.75]])}, free=False)


def test_a_feed_behind_casts_and_reshapes_is_named() -> None:
    feed = {"z": np.zeros(6, "float64"), "y": np.array([[0, 1, 0], [1, 3, 0]], "float32")}
    text = broken(lambda z, y: bce(z, ops.reshape(gl.layers.cast(y, "float64"), (6,))), feed, free=False)
    assert text.startswith("row 1: y[1, 1] = 3.0")
    text = broken(lambda z, y: bce(z, ops.reshape(gl.layers.cast(y * 2.0, "float64"), (6,))), feed, free=False)
    assert "tmp_0[0, 1] = 2.0" in text


def rewritten(build: Build, on: bool) -> tuple[str, list[str]]:
    program = Program()
    with gl.program_guard(program, Program()):
        z = gl.data("z", [None, 5], "float32")
        y = gl.data("y", [None, 5], "float32")
        loss = build(z, y)
        fetches = [loss, *gl.gradients([loss], [z])]
        trace = Trace()
        graph = optimise(program.snapshot(fetches), CompileOptions(check_values=on), trace)
    names: dict[str, str] = {}
    text = []
    for word in print_graph(graph).replace("(", " ( ").replace(")", " ) ").replace(",", " , ").split():
        text.append(names.setdefault(word, f"%{len(names)}") if word.startswith("%") else word)
    return " ".join(text), [r.rule for r in trace.records]


def spelled(check: Callable[[Tensor], Tensor]) -> dict[str, Build]:
    """Formulas whose stable form is found through what is checked."""
    return {
        "ce": lambda z, y: -ops.reduce_sum(check(y) * ops.log(check(ops.softmax(z, axis=1)))),
        "bce": lambda z, y: ops.reduce_sum(ops.binary_cross_entropy(check(ops.sigmoid(z)), check(y))),
        "spelled": lambda z, y: ops.reduce_sum(ops.binary_cross_entropy(check(1 / (1 + ops.exp(-z))), check(y))),
        "asked": lambda z, y: gl.gradients([ops.reduce_sum(ops.exp(check(z) * y) + z)], [z])[0],
    }


@pytest.mark.parametrize("name", list(spelled(lambda x: x)))
def test_off_no_rule_sees_a_check(name: str) -> None:
    checked, plain = (
        rewritten(spelled(check)[name], on=False) for check in (lambda x: ops.check_range(x, 0, 1), lambda x: x)
    )
    assert checked == plain
    assert name == "asked" or plain[1]


@pytest.mark.parametrize("name", ["ce", "bce"])
def test_on_a_computed_probability_keeps_its_stable_form(name: str) -> None:
    fired = rewritten(spelled(lambda x: ops.check_range(x, 0, 1))[name], on=True)[1]
    assert fired == rewritten(spelled(lambda x: x)[name], on=False)[1]


def test_a_gradient_by_a_checked_value_is_its_own() -> None:
    def build(z: Tensor, y: Tensor) -> Tensor:
        checked = ops.check_range(y, 0, 1)
        return gl.gradients([ops.reduce_sum(checked * z + y * 3.0)], [checked])[0]

    feed = arrays((4, 5))
    for on in (False, True):
        np.testing.assert_array_equal(run(build, feed, on=on)[0], feed["z"])


def test_eager_mode_checks_on_request() -> None:
    feed = arrays((4, 5))
    feed["y"][2, 1] = 2
    with gl.dygraph.guard():
        assert np.isfinite(bce(*map(gl.dygraph.to_variable, feed.values())).numpy())
    with gl.dygraph.guard(check_values=True):
        with pytest.raises(ValueRangeError) as e:
            bce(*map(gl.dygraph.to_variable, feed.values()))
        assert str(e.value).startswith("row 2: x[2, 1] = 2.0 is out of range\n  expected a value in [0, 1], got 2.0")
        with gl.dygraph.guard():
            bce(*map(gl.dygraph.to_variable, feed.values()))
        z = gl.dygraph.to_variable(feed["z"])
        z.stop_gradient = False
        loss = ops.reduce_sum(ops.check_range(z, -10, 10) * 2.0)
        loss.backward()
        np.testing.assert_array_equal(z.gradient(), np.full((4, 5), 2, "float32"))


def test_an_interval_needs_its_ends_in_order() -> None:
    with gl.program_guard(gl.Program(), gl.Program()):
        y = gl.data("y", [None], "float32")
        with pytest.raises(gl.errors.AttrError, match="low is above high"):
            ops.check_range(y, 1, 0)
        with pytest.raises(gl.errors.DtypeError):
            ops.check_range(gl.data("k", [None], "int64"), 0, 1)
        with pytest.raises(gl.errors.ShapeError):
            ops.check_range(y, 0, 1, gl.data("m", [None, 2], "bool"))
