"""How fast are value and all gradients of a linear-chain CRF, against NumPy and PyTorch, one thread each?

    python -m benchmarks.crf [--seconds 5] [--json FILE]

B sequences of T rows and K tags in float32; gradients by emissions, transitions, start and end weights. NumPy computes
all sequences at once, by the forward-backward recursions: in logarithms, as the definition reads, and by products of
exponentials that are scaled in each step, as matrix products, which is wrong where weights are far apart. PyTorch has
the forward recursion in logarithms and its autograd. All results are checked against float64 first; then contestants
run in turn, and medians are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

import graphloss as gl
from benchmarks.measure import in_turn, medians, parser, seconds_of, shown, table, verdict, write_json

Array = Any
NEEDED = 10.0
FLOATS = ("emission", "transition", "start", "end")


@dataclass(frozen=True)
class Case:
    """B sequences of T rows, K tags."""

    B: int
    T: int
    K: int

    def inputs(self) -> dict[str, Array]:
        rng = np.random.default_rng(0)
        shapes = ((self.B, self.T, self.K), (self.K, self.K), (self.K,), (self.K,))
        data: dict[str, Array] = {
            name: rng.normal(size=shape).astype(np.float32) for name, shape in zip(FLOATS, shapes, strict=True)
        }
        return {**data, "label": rng.integers(0, self.K, (self.B, self.T))}


CASES = (Case(64, 100, 20), Case(64, 100, 5), Case(16, 400, 50))


def with_graphloss(data: dict[str, Array]) -> Callable[[], list[Array]]:
    main = gl.Program()
    with gl.program_guard(main):
        given = {name: gl.data(name, [None] * a.ndim, a.dtype.name) for name, a in data.items()}
        cost = gl.nn.functional.linear_chain_crf(*(given[n] for n in ("emission", "label", *FLOATS[1:])))
        loss = gl.layers.reduce_sum(cost)
        gradients = gl.gradients([loss], [given[name] for name in FLOATS])
    executor = gl.Executor(gl.CPUPlace())
    return lambda: executor.run(main, feed=data, fetch_list=[loss, *gradients])


def less_the_path(data: dict[str, Array], log_z: Array, gradients: list[Array]) -> list[Array]:
    """The loss and its gradients, of log Z and the marginals: the path of the labels is taken off, in place."""
    x, w, start, end = (data[name] for name in FLOATS)
    y = data["label"]
    b, t = np.ogrid[: y.shape[0], : y.shape[1]]
    score = x[b, t, y].sum() + w[y[:, :-1], y[:, 1:]].sum() + start[y[:, 0]].sum() + end[y[:, -1]].sum()
    K = len(start)
    dx, dw, d_start, d_end = gradients
    dx[b, t, y] -= 1
    dw -= np.bincount((y[:, :-1] * K + y[:, 1:]).reshape(-1), minlength=K * K).reshape(K, K)
    d_start -= np.bincount(y[:, 0], minlength=K)
    d_end -= np.bincount(y[:, -1], minlength=K)
    return [log_z.sum() - score, dx, dw, d_start, d_end]


def log_sum_exp(x: Array, axis: int) -> Array:
    top = x.max(axis, keepdims=True)
    return np.log(np.exp(x - top).sum(axis)) + np.squeeze(top, axis)


def numpy_logarithms(data: dict[str, Array]) -> list[Array]:
    x, w, start, end = (data[name] for name in FLOATS)
    T = x.shape[1]
    rows = np.ascontiguousarray(x.transpose(1, 0, 2))
    alpha, beta = np.empty_like(rows), np.empty_like(rows)
    alpha[0], beta[-1] = start + rows[0], end
    for t in range(1, T):
        alpha[t] = rows[t] + log_sum_exp(alpha[t - 1][:, :, None] + w, 1)
    dw = np.zeros_like(w)
    log_z = log_sum_exp(alpha[-1] + end, 1)
    for t in range(T - 1, 0, -1):
        on = rows[t] + beta[t]
        ways = w + on[:, None, :]
        beta[t - 1] = log_sum_exp(ways, 2)
        dw += np.exp(alpha[t - 1][:, :, None] + ways - log_z[:, None, None]).sum(0)
    marginals = np.exp(alpha + beta - log_z[:, None])
    return less_the_path(
        data, log_z, [np.ascontiguousarray(marginals.transpose(1, 0, 2)), dw, marginals[0].sum(0), marginals[-1].sum(0)]
    )


def numpy_products(data: dict[str, Array]) -> list[Array]:
    x, w, start, end = (data[name] for name in FLOATS)
    T = x.shape[1]
    rows = np.ascontiguousarray(x.transpose(1, 0, 2))
    top = rows.max(2, keepdims=True)
    emitted = np.exp(rows - top)
    way, back = np.exp(w), np.exp(w).T.copy()
    alpha, beta, scale = np.empty_like(rows), np.empty_like(rows), np.empty((*rows.shape[:2], 1), rows.dtype)
    now = np.exp(start) * emitted[0]
    for t in range(T):
        if t:
            now = (now @ way) * emitted[t]
        now.sum(1, keepdims=True, out=scale[t])
        now /= scale[t]
        alpha[t] = now
    last = np.exp(end)
    whole = (now * last).sum(1, keepdims=True)
    beta[-1] = last / whole
    for t in range(T - 1, 0, -1):
        np.matmul(beta[t] * (emitted[t] / scale[t]), back, out=beta[t - 1])
    log_z = np.log(whole[:, 0]) + (np.log(scale) + top).sum(0)[:, 0]
    marginals = alpha * beta
    on = (beta[1:] * (emitted[1:] / scale[1:])).reshape(-1, len(w))
    dw = (alpha[:-1].reshape(-1, len(w)).T @ on) * way
    return less_the_path(
        data, log_z, [np.ascontiguousarray(marginals.transpose(1, 0, 2)), dw, marginals[0].sum(0), marginals[-1].sum(0)]
    )


def with_torch(data: dict[str, Array]) -> Callable[[], list[Array]]:
    leaves = [torch.from_numpy(data[name]).requires_grad_() for name in FLOATS]
    x, w, start, end = leaves
    y = torch.from_numpy(data["label"])

    def run() -> list[Array]:
        alpha = start + x[:, 0]
        for row in x.unbind(1)[1:]:
            alpha = row + torch.logsumexp(alpha.unsqueeze(2) + w, 1)
        score = x.gather(2, y.unsqueeze(2)).sum() + w[y[:, :-1], y[:, 1:]].sum()
        score = score + start[y[:, 0]].sum() + end[y[:, -1]].sum()
        loss = torch.logsumexp(alpha + end, 1).sum() - score
        return [loss.detach().numpy(), *(g.numpy() for g in torch.autograd.grad(loss, leaves))]

    return run


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=5.0, help="time for each case")
    arguments = options.parse_args()
    rows, results = [], []
    for case in CASES:
        data = case.inputs()
        runs = {
            "graphloss": with_graphloss(data), "NumPy": partial(numpy_logarithms, data),
            "products": partial(numpy_products, data), "PyTorch": with_torch(data),
        }  # fmt: skip
        exact = numpy_logarithms({n: a.astype(np.float64) if n in FLOATS else a for n, a in data.items()})
        errors = {}
        for who, run in runs.items():
            found = run()
            np.testing.assert_allclose(found[0], exact[0], rtol=1e-5, err_msg=who)
            for f, e in zip(found[1:], exact[1:], strict=True):
                near = 1e-4 if who == "graphloss" else 0.1  # logarithms in float32 lose digits along a sequence
                np.testing.assert_allclose(f, e, rtol=near, atol=near, err_msg=who)
            errors[who] = float(np.abs(found[1] - exact[1]).max())
        assert errors["graphloss"] < 1e-5
        s = medians(in_turn({who: partial(seconds_of, run) for who, run in runs.items()}, arguments.seconds))
        times = {who: s[who] / s["graphloss"] for who in runs}
        rows.append((
            f"B={case.B} T={case.T} K={case.K}", *(shown(s[who]) for who in runs), f"{times['NumPy']:.1f}",
            f"{NEEDED:g}", verdict(times["NumPy"], NEEDED, at_least=True), f"{times['products']:.1f}",
            f"{times['PyTorch']:.1f}", f"{errors['graphloss']:.1e}", f"{errors['NumPy']:.1e}",
        ))  # fmt: skip
        results.append({"case": str(case), "seconds": s, "times": times, "gradient_error": errors})
    head = (
        "value and gradients", *runs, "times NumPy", "needed", "reached", "times products", "times PyTorch",
        "its error", "NumPy's",
    )  # fmt: skip
    print(table(head, rows))
    write_json(arguments.json, results)


if __name__ == "__main__":
    main()
