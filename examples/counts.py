"""Count regression: a Poisson and a Tweedie model with a log link, fitted by Newton's method on compiled derivatives.

Data: the functions in some files of Python's standard library, as installed; so the numbers differ between releases.
The Poisson model tells how many branches a function has from its length and its arguments; the Tweedie model how much
of a docstring it has: for many functions exactly none, else a positive length. Scikit-learn fits the same models.

Run it as `python examples/counts.py`.
"""

from __future__ import annotations

import ast
import platform
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import TweedieRegressor
from sklearn.metrics import mean_tweedie_deviance

import graphloss as gl

Floats = npt.NDArray[np.float64]

FILES = ("argparse", "ast", "copy", "dataclasses", "datetime", "difflib", "enum", "fractions", "functools", "inspect",
         "optparse", "pickle", "random", "shutil", "statistics", "subprocess", "tarfile", "textwrap", "threading",
         "traceback", "typing", "uuid", "zipfile", "_pydatetime", "_pydecimal", "email/message", "http/client",
         "json/decoder", "unittest/case", "urllib/parse")  # fmt: skip
FEATURES = ("1", "log lines", "arguments", "method", "public")
BRANCHES = (ast.If, ast.IfExp, ast.For, ast.While, ast.ExceptHandler, ast.comprehension)


@dataclass(frozen=True)
class Functions:
    x: Floats
    branches: Floats
    docstring: Floats  # in hundreds of characters


def load() -> Functions:
    rows, branches, docstrings = [], [], []
    for path in (Path(sysconfig.get_path("stdlib")) / f"{name}.py" for name in FILES):
        if not path.exists():  # not every release has every file
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        methods = {f for c in ast.walk(tree) if isinstance(c, ast.ClassDef) for f in c.body}
        for f in ast.walk(tree):
            if isinstance(f, ast.FunctionDef):
                text = ast.get_docstring(f) or ""
                lines = (f.end_lineno or f.lineno) - f.lineno + 1 - len(text.splitlines())
                inputs = len(f.args.posonlyargs) + len(f.args.args) + len(f.args.kwonlyargs)
                rows.append([1, np.log(max(lines, 1)), inputs, f in methods, not f.name.startswith("_")])
                branches.append(sum(isinstance(n, BRANCHES) for n in ast.walk(f)))
                docstrings.append(len(text) / 100)
    return Functions(np.array(rows, float), np.array(branches, float), np.array(docstrings))


@gl.compile
def poisson(w: gl.Variable, x: gl.Variable, y: gl.Variable) -> object:
    return gl.nn.functional.poisson_nll_loss(gl.layers.matmul(x, w), y)


@gl.compile
def tweedie(w: gl.Variable, x: gl.Variable, y: gl.Variable) -> object:
    return gl.losses.tweedie_deviance_loss(gl.layers.exp(gl.layers.matmul(x, w)), y, power=1.5)


def newton(loss: gl.Function, x: Floats, y: Floats) -> Floats:
    """The minimum over w, from the model that says the mean to everything; half steps where a full one goes too far."""
    value_and_grad, product = loss.value_and_grad(), loss.hessp()
    w = np.zeros(x.shape[1])
    w[0] = np.log(y.mean())
    value, gradient = value_and_grad(w, x, y)
    for step in range(1, 30):
        hessian = np.stack([product(e, w, x, y) for e in np.eye(len(w))])
        move = np.linalg.solve(hessian, gradient)
        size = 1.0
        while loss(w - size * move, x, y) > value:
            size /= 2
        w = w - size * move
        value, gradient = value_and_grad(w, x, y)
        if np.abs(gradient).max() < 1e-10:
            print(f"  {step} steps of Newton's method: loss {value:.6f}, largest gradient {np.abs(gradient).max():.1e}")
            return w
    raise AssertionError("no minimum found")


def report(name: str, w: Floats, reference: Floats, deviances: tuple[float, float]) -> None:
    print(f"  {name}: " + ", ".join(f"{f} {v:+.4f}" for f, v in zip(FEATURES, w, strict=True)))
    print(f"  deviance on functions not seen: {deviances[0]:.4f}; of the mean alone {deviances[1]:.4f}")
    np.testing.assert_allclose(w, reference, rtol=1e-3, atol=1e-4)
    assert deviances[0] < deviances[1]


def main() -> None:
    functions = load()
    test = np.arange(len(functions.x)) % 5 == 0
    train = ~test
    x, unseen = functions.x[train], functions.x[test]
    print(f"{len(functions.x)} functions of Python {platform.python_version()}")
    for name, loss, y, power in (
        ("branches, Poisson", poisson, functions.branches, 1.0),
        ("docstring, Tweedie", tweedie, functions.docstring, 1.5),
    ):
        print(f"{name}: mean {y.mean():.3f}, {np.mean(y == 0):.1%} are 0")
        w = newton(loss, x, y[train])
        model = TweedieRegressor(power=power, alpha=0, link="log", fit_intercept=False, tol=1e-8, max_iter=5000)
        reference = model.fit(x, y[train]).coef_
        constant = np.full(test.sum(), y[train].mean())
        report("coefficients", w, reference, (
            mean_tweedie_deviance(y[test], np.exp(unseen @ w), power=power),
            mean_tweedie_deviance(y[test], constant, power=power),
        ))  # fmt: skip
        # the compiled loss, against scikit-learn's formula; the Poisson loss leaves out what does not depend on w
        if loss is tweedie:
            theirs = mean_tweedie_deviance(y[train], np.exp(x @ w), power=power)
            np.testing.assert_allclose(loss(w, x, y[train]), theirs, rtol=1e-10)


if __name__ == "__main__":
    main()
