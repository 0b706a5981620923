"""The shape of the code base: which folder may import which, who may name an op, what the docs must name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from graphloss.ir.scalar import FUNCTIONS
from graphloss.ops.registry import all_ops

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "graphloss"

# A unit (a folder, or a file at the top) may import the units of the rows above its own, and its own folder. Units of
# one row do not import each other, except in the row of what users call, where only circles are forbidden.
ROWS: tuple[frozenset[str], ...] = tuple(
    frozenset(row.split())
    for row in (
        "errors version",
        "options dtypes",
        "ir",
        "ops",
        "rewrite losses",
        "passes schedule",
        "codegen",
        "runtime",
        "layers nn gluon optimizer initializer regularizer clip param_attr io metrics core framework dygraph inspect "
        "data_feeder function rules",
        "integrations cli",
        "__init__ __main__",
    )
)
RANK = {unit: rank for rank, row in enumerate(ROWS) for unit in row}
FRONT = RANK["layers"]

# Only these may be imported inside a function, on first use: they are slow to import, or optional.
ON_FIRST_USE = {"networkx", "matplotlib", "rich", "ml_dtypes"}
ON_FIRST_USE_IN_INTEGRATIONS = {"torch", "jax", "xgboost", "lightgbm", "sklearn"}

# `import llvmlite` is the business of one folder; so another way to make machine code would touch that one only.
ONLY_IN = {"llvmlite": "codegen"}

FILES = sorted(PACKAGE.rglob("*.py"))


def unit_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(tree: ast.Module) -> Iterator[tuple[ast.stmt, str, bool]]:
    """Each import statement with the dotted module it names, and whether it stands at the top level of the file.

    What is under `if TYPE_CHECKING:` counts as top level: so two files of one folder may name each other's types.
    """
    top = set(map(id, tree.body))
    for statement in tree.body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            top.update(map(id, statement.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            if module == "graphloss":  # `from graphloss import errors` names a unit, or a name of __init__
                for alias in node.names:
                    named = alias.name if alias.name in RANK else "__init__"
                    yield node, f"graphloss.{named}", id(node) in top
            else:
                yield node, module, id(node) in top


def import_faults(source: str, unit: str) -> list[str]:
    """What is wrong with the imports of a file of ``unit``, a line each."""
    faults = []
    for node, module, at_top in imports(ast.parse(source)):
        root, *rest = module.split(".")
        line = f"line {node.lineno}: "
        if module.startswith("."):
            faults.append(line + "relative import")
        elif root == "graphloss":
            target = rest[0] if rest else "__init__"
            if target not in RANK:
                faults.append(line + f"{target} has no row")
            elif target != unit and not (RANK[target] < RANK[unit] or RANK[target] == RANK[unit] == FRONT):
                faults.append(line + f"{unit} imports {target}, which is not below it")
        elif root in ONLY_IN and ONLY_IN[root] != unit:
            faults.append(line + f"{root} is imported outside {ONLY_IN[root]}")
        heavy = ON_FIRST_USE | (ON_FIRST_USE_IN_INTEGRATIONS if unit == "integrations" else set())
        if root in heavy:
            if at_top and node.col_offset == 0:  # under TYPE_CHECKING it is only named
                faults.append(line + f"{root} is imported before its first use")
        elif not at_top:
            faults.append(line + f"import of {module} is not at the top of the file")
    return faults


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_run_downwards(path: Path) -> None:
    unit = unit_of(path)
    assert unit in RANK, f"{unit} is new: give it a row here and a line in docs/architecture.md"
    assert import_faults(path.read_text(), unit) == []


def test_no_circle_among_what_users_call() -> None:
    edges: dict[str, set[str]] = {unit: set() for unit in ROWS[FRONT]}
    for path in FILES:
        unit = unit_of(path)
        if unit in edges:
            for _, module, _ in imports(ast.parse(path.read_text())):
                root, *rest = module.split(".")
                if root == "graphloss" and rest and rest[0] in edges and rest[0] != unit:
                    edges[unit].add(rest[0])
    while leaves := [unit for unit, targets in edges.items() if not targets & edges.keys()]:
        for unit in leaves:
            del edges[unit]
    assert edges == {}


@pytest.mark.parametrize(
    ("source", "unit", "fault"),
    [
        ("from graphloss.codegen import jit", "ops", "line 1: ops imports codegen, which is not below it"),
        ("from graphloss import codegen", "ops", "line 1: ops imports codegen, which is not below it"),
        ("import graphloss", "ir", "line 1: ir imports __init__, which is not below it"),
        ("from graphloss import exp", "ir", "line 1: ir imports __init__, which is not below it"),
        ("import graphloss.passes.cse", "schedule", "line 1: schedule imports passes, which is not below it"),
        ("from . import graph", "ir", "line 1: relative import"),
        ("def f():\n    import os", "ir", "line 2: import of os is not at the top of the file"),
        ("if X:\n    from graphloss.ir import graph", "ops", "import of graphloss.ir is not at the top"),
        (
            "if TYPE_CHECKING:\n    from graphloss.passes import cse",
            "ir",
            "line 2: ir imports passes, which is not below",
        ),
        ("import networkx", "ir", "line 1: networkx is imported before its first use"),
        ("import llvmlite.binding", "runtime", "line 1: llvmlite is imported outside codegen"),
        ("from graphloss.new import x", "cli", "line 1: new has no row"),
    ],
)
def test_import_rule_sees(source: str, unit: str, fault: str) -> None:
    faults = import_faults(source, unit)
    assert len(faults) == 1
    assert fault in faults[0]


@pytest.mark.parametrize(
    ("source", "unit"),
    [
        ("from graphloss.errors import ShapeError", "ir"),
        ("from graphloss import errors", "ir"),
        ("from graphloss.ir import graph", "ir"),
        ("from graphloss.initializer import Constant", "optimizer"),
        ("def f():\n    import networkx as nx", "inspect"),
        ("import llvmlite", "codegen"),
        ("if TYPE_CHECKING:\n    from graphloss.ir import graph", "ops"),
        ("import numpy as np", "errors"),
    ],
)
def test_import_rule_lets_pass(source: str, unit: str) -> None:
    assert import_faults(source, unit) == []


# schedule/ and codegen/ know scalar functions, reductions and forms; which op they came from is not theirs to ask.
SCALAR_WORDS = frozenset(FUNCTIONS)
# Words that are op names and also the plain word for something else there: kinds of reduction, NumPy and str methods.
REDUCTIONS = frozenset({"sum", "prod", "max", "min", "any", "all", "argmax", "argmin"})


def op_words(tree: ast.Module, ops: frozenset[str]) -> list[str]:
    """Op names in string constants (docstrings aside) and in names taken from graphloss.ops, with their lines."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in ops and id(node) not in docstrings:
            found.append(f"line {node.lineno}: {node.value!r}")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("graphloss.ops"):
            found.append(f"line {node.lineno}: import from {node.module}")
        elif isinstance(node, ast.Import) and any(a.name.startswith("graphloss.ops") for a in node.names):
            found.append(f"line {node.lineno}: import of graphloss.ops")
    return found


OP_NAMES = frozenset(op.name for op in all_ops()) - SCALAR_WORDS - REDUCTIONS


@pytest.mark.parametrize("path", [p for p in FILES if unit_of(p) in ("schedule", "codegen")], ids=name_of)
def test_schedule_and_codegen_name_no_op(path: Path) -> None:
    assert op_words(ast.parse(path.read_text()), OP_NAMES) == []


def test_op_name_rule_sees() -> None:
    source = '"""softmax"""\nfrom graphloss.ops import pick\nif kind == "softmax": pass\nf("exp")\n'
    assert op_words(ast.parse(source), frozenset({"softmax", "pick"})) == [
        "line 2: import from graphloss.ops",
        "line 3: 'softmax'",
    ]


@pytest.mark.parametrize("document", ["docs/architecture.md"])
def test_docs_name_every_folder(document: str) -> None:
    text = (ROOT / document).read_text()
    folders = {p.parent.relative_to(PACKAGE).as_posix() for p in FILES} - {"."}
    assert sorted(folder for folder in folders if f"{folder}/" not in text) == []
