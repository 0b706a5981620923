"""A new loss, layer, op or class touches one source file: its own; the package finds it there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "graphloss"

FUNCTION = '''

@checks.located
def {name}(input: Tensor, target: Tensor) -> Tensor:
    """The mean of (x − y)⁴, shapes as in `mse_loss`.

    Args:
        input, target: x and y.

    Raises:
        ShapeError: at the call.

    Source:
        none.

    Example:
        >>> {name}.__name__
        '{name}'
    """
    d = checks.tensor(input, "input", "{name}") - target
    return {reduced}
'''

CLASS = '''

class {name}({base}):
    """|x − y|, as `L1Loss`; see `nn.functional.l1_loss`. Args, Raises and shapes as there.

    Source:
        none.

    Example:
        >>> {name}.__name__
        '{name}'
    """
'''


def function(name: str, reduced: str) -> str:
    return FUNCTION.format(name=name, reduced=reduced)


# Where a new one is written: the file, its name, what is appended, and the spelling under which users find it.
NEW = [
    ("losses/regression.py", "quartic_loss", function("quartic_loss", 'reduced(d**4.0, "mean")'), "losses"),
    ("layers/loss_rank.py", "quartic_rank_loss", function("quartic_rank_loss", "ops.reduce_mean(d**4.0)"), "layers"),
    ("nn/functional/regression.py", "quartic_loss", function("quartic_loss", 'reduced(d**4.0, "mean")'),
     "nn.functional"),
    ("nn/loss.py", "OtherL1Loss", CLASS.format(name="OtherL1Loss", base="L1Loss"), "nn"),
    ("gluon/loss/regression.py", "OtherL1Loss", CLASS.format(name="OtherL1Loss", base="L1Loss"), "gluon.loss"),
    ("dygraph/loss.py", "OtherL1Loss", CLASS.format(name="OtherL1Loss", base="L1Loss"), "dygraph"),
    ("ops/elementwise.py", "twice", "\n\ndef twice(x: Tensor) -> Tensor:\n    return add(x, x)\n", "ops"),
]  # fmt: skip

PROGRAM = """
import importlib.util, sys
import numpy as np
import graphloss as gl

assert gl.__file__.startswith({root!r}), gl.__file__
for path, name in {found!r}:
    space = gl
    for part in path.split("."):
        space = getattr(space, part)
    assert name in space.__all__ and callable(getattr(space, name)), (path, name)

main = gl.Program()
with gl.program_guard(main):
    x, y = (gl.data(n, [None], "float64") for n in "xy")
    loss = gl.losses.quartic_loss(x, y)
    (dx,) = gl.gradients(loss, x)
    fetched = [loss, dx, gl.nn.functional.quartic_loss(x, y), gl.layers.quartic_rank_loss(x, y), gl.ops.twice(x)]
a, b = np.array([1.0, 2.0, -1.0]), np.array([0.0, 3.0, 1.0])
got = gl.Executor().run(main, feed={{"x": a, "y": b}}, fetch_list=fetched)
for have, want in zip(got, (6.0, 4 / 3 * (a - b) ** 3, 6.0, 6.0, 2 * a), strict=True):
    np.testing.assert_allclose(have, want, rtol=1e-14)
with gl.dygraph.guard():
    x, y = gl.dygraph.to_variable(a), gl.dygraph.to_variable(b)
    for made in (gl.nn.OtherL1Loss(), gl.gluon.loss.OtherL1Loss(), gl.dygraph.OtherL1Loss()):
        np.testing.assert_allclose(made(x, y).numpy().mean(), 4 / 3, rtol=1e-14)

# what goes through the public names meets the new ones
spec = importlib.util.spec_from_file_location("docstrings", {docstrings!r})
docstrings = importlib.util.module_from_spec(spec)
spec.loader.exec_module(docstrings)
listed = {{(m.__name__, n) for m, n in docstrings.LOSSES}}
for path, name in {found!r}:
    if path not in ("nn", "ops"):
        assert ("graphloss." + path, name) in listed, (path, name)
        docstrings.test_source_and_example(sys.modules["graphloss." + path], name)
"""


def test_a_new_one_touches_its_own_file_only(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "graphloss")
    for file, name, text, _ in NEW:
        path = tmp_path / "graphloss" / file
        source, named = re.subn(r"(?m)^__all__ = \[", f'__all__ = ["{name}", ', path.read_text())
        assert named == 1
        path.write_text(source + text)
    program = PROGRAM.format(
        root=str(tmp_path),
        found=[(space, name) for _, name, _, space in NEW],
        docstrings=str(ROOT / "tests" / "docs" / "test_loss_docstrings.py"),
    )
    script = tmp_path / "program.py"
    script.write_text(program)
    run = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


SPACES = ["losses", "layers", "nn", "nn/functional", "gluon/loss", "dygraph", "ops"]


@pytest.mark.parametrize("space", SPACES)
def test_the_package_passes_on_every_file_that_has_public_names(space: str) -> None:
    init = (PACKAGE / space / "__init__.py").read_text()
    dotted = f"graphloss.{space.replace('/', '.')}"
    for path in sorted((PACKAGE / space).glob("*.py")):
        public = path.name != "__init__.py" and re.search(r"(?m)^__all__\b", path.read_text())
        if public and (space, path.stem) not in {("ops", "registry")}:
            assert f"from {dotted}.{path.stem} import " in init, f"{path.name} has public names that {space} lacks"
