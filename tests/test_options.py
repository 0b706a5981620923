"""Options and the three environment variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphloss import options
from graphloss.errors import ArgumentTypeError, AttrError
from graphloss.options import CompileOptions, get_num_threads, set_num_threads

VARIABLES = ("GRAPHLOSS_CACHE_DIR", "GRAPHLOSS_NUM_THREADS", "GRAPHLOSS_DUMP")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(options, "_num_threads", None)


def test_threads_by_default_are_the_cpus_there_are() -> None:
    assert 1 <= get_num_threads() <= 1024


def test_threads_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHLOSS_NUM_THREADS", " 3 ")
    assert get_num_threads() == 3
    set_num_threads(5)
    assert get_num_threads() == 5
    assert CompileOptions().num_threads() == 5
    assert CompileOptions(threads=2).num_threads() == 2


@pytest.mark.parametrize("text", ["0", "-2", "many", "1.5", "100000"])
def test_an_environment_that_makes_no_sense(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("GRAPHLOSS_NUM_THREADS", text)
    with pytest.raises(AttrError, match="GRAPHLOSS_NUM_THREADS"):
        get_num_threads()


@pytest.mark.parametrize(
    ("n", "error"),
    [
        (0, AttrError),
        (-1, AttrError),
        (1025, AttrError),
        (True, ArgumentTypeError),
        (2.0, ArgumentTypeError),
        ("2", ArgumentTypeError),
        (None, ArgumentTypeError),
    ],
)
def test_the_number_of_threads_is_checked(n: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        set_num_threads(n)  # type: ignore[arg-type]
    if n is not None:
        with pytest.raises(error):
            CompileOptions(threads=n)  # type: ignore[arg-type]


def test_dump_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CompileOptions().dump_folder() is None
    monkeypatch.setenv("GRAPHLOSS_DUMP", "somewhere")
    assert CompileOptions().dump_folder() == Path("somewhere")
    assert CompileOptions(dump="else").dump_folder() == Path("else")


def test_options_are_values() -> None:
    assert CompileOptions(threads=2) == CompileOptions(threads=2) != CompileOptions()
    assert hash(CompileOptions(passes=False)) == hash(CompileOptions(passes=False))
    with pytest.raises(AttributeError):
        CompileOptions().passes = False  # type: ignore[misc]
