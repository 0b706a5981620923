"""What all tests share: a private cache folder, seeded numbers, comparison in units in the last place."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest

from graphloss.ir import program as program_module
from graphloss.ir.graph import Graph
from graphloss.ir.parser import parse_graph
from graphloss.ir.printer import print_graph
from graphloss.runtime import compile as compile_module
from tests.numerics import assert_ulp as _assert_ulp

# Before graphloss is imported by any test, and never the user's own cache.
_CACHE = tempfile.mkdtemp(prefix="graphloss-tests-")
os.environ["GRAPHLOSS_CACHE_DIR"] = _CACHE

hypothesis.settings.register_profile(
    "tests",
    derandomize=True,  # the same examples in each run
    database=None,
    deadline=None,  # a slow machine is no failure
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in set(slow)]


def pytest_unconfigure() -> None:
    shutil.rmtree(_CACHE, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def text_reads_back() -> Iterator[None]:
    """Whatever graph a test makes of a program, or compiles, is equal to the one its text parses to."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((program_module, "snapshot"), (compile_module, "optimise")):
            patch.setattr(module, name, _reading_back(getattr(module, name)))
        yield


def _reading_back(make: Callable[..., Graph]) -> Callable[..., Graph]:
    seen: set[str] = set()

    def made(*args: object, **keywords: object) -> Graph:
        graph = make(*args, **keywords)
        if len(graph.ops) < 500 and (text := print_graph(graph)) not in seen:
            seen.add(text)
            again = parse_graph(text)
            assert again == graph, f"reads back differently:\n{text}"
        return graph

    return made


@pytest.fixture(autouse=True)
def seeds_by_chance(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed that nobody gave follows from the test's name: what passes once passes always."""
    chance = random.Random(request.node.nodeid)
    monkeypatch.setattr(secrets, "randbits", chance.getrandbits)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A seed of the test's own, the same in each run; a failing test shows it."""
    value = zlib.crc32(request.node.nodeid.encode())
    request.node.add_report_section("setup", "seed", f"np.random.default_rng({value})")
    return value


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    """Random numbers that are the same in each run and for each order of the tests."""
    return np.random.default_rng(seed)


@pytest.fixture
def cache_dir(tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty cache folder for one test."""
    path = os.path.join(tmp_path, "cache")
    os.mkdir(path, mode=0o700)
    monkeypatch.setenv("GRAPHLOSS_CACHE_DIR", path)
    return path


@pytest.fixture
def assert_ulp() -> Callable[[npt.ArrayLike, npt.ArrayLike, float], None]:
    """``assert_ulp(got, want, bound)``: see :func:`tests.numerics.assert_ulp`."""
    return _assert_ulp
