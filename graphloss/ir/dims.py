"""Dimensions: integers, or polynomials over symbols that the feeds of a run bind."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, Union

Dim: TypeAlias = Union[int, "SymDim"]


@dataclass(frozen=True, slots=True, order=True)
class Call:
    """A non-polynomial atom, `max(a, b)` or `floordiv(a, b)`: lengths of slices of symbolic axes."""

    fn: str
    args: tuple[Dim, ...] = field(compare=True)

    def __str__(self) -> str:
        return f"{self.fn}({', '.join(str(a) for a in self.args)})"


Atom: TypeAlias = str | Call
Monomial: TypeAlias = tuple[Atom, ...]


@dataclass(frozen=True, slots=True)
class SymDim:
    """A polynomial with integer coefficients; `terms` is sorted and has no zero coefficient."""

    terms: tuple[tuple[Monomial, int], ...]

    def __str__(self) -> str:
        text = ""
        for monomial, coefficient in self.terms:
            factors = [str(a) for a in monomial]
            if abs(coefficient) != 1 or not factors:
                factors.insert(0, str(abs(coefficient)))
            sign = "-" if coefficient < 0 else "+" if text else ""
            text += f"{sign}{'*'.join(factors)}"
        return text

    __repr__ = __str__


def symbol(name: str) -> SymDim:
    return SymDim((((name,), 1),))


def _terms(d: Dim) -> dict[Monomial, int]:
    if isinstance(d, int):
        return {(): d} if d else {}
    return dict(d.terms)


def _build(terms: Mapping[Monomial, int]) -> Dim:
    kept = {m: c for m, c in terms.items() if c}
    if not kept:
        return 0
    if set(kept) == {()}:
        return kept[()]
    # constants last, so that a dimension reads N+1
    return SymDim(tuple(sorted(kept.items(), key=lambda t: (not t[0], [str(a) for a in t[0]]))))


def add(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int):
        if isinstance(b, int):
            return a + b
        if a == 0:
            return b
    elif b == 0:
        return a
    terms = _terms(a)
    for m, c in _terms(b).items():
        terms[m] = terms.get(m, 0) + c
    return _build(terms)


def mul(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int):
        if isinstance(b, int):
            return a * b
        if a == 1:
            return b
    elif b == 1:
        return a
    terms: dict[Monomial, int] = {}
    for m, c in _terms(a).items():
        for n, d in _terms(b).items():
            key = tuple(sorted(m + n, key=str))
            terms[key] = terms.get(key, 0) + c * d
    return _build(terms)


def sub(a: Dim, b: Dim) -> Dim:
    return add(a, mul(-1, b))


def product(dims: tuple[Dim, ...]) -> Dim:
    result: Dim = 1
    for d in dims:
        result = mul(result, d)
    return result


def maximum(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return SymDim((((Call("max", (a, b)),), 1),))


def floordiv(a: Dim, b: Dim) -> Dim:
    """a // b; a plain polynomial where every term divides exactly."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    if isinstance(b, int) and b > 1 and isinstance(a, SymDim):
        shared = math.gcd(b, *(c for _, c in a.terms))  # 16*n // 48 is n // 3
        if shared > 1:
            a, b = _build({m: c // shared for m, c in a.terms}), b // shared
    exact = exact_div(a, b)
    return exact if exact is not None else SymDim((((Call("floordiv", (a, b)),), 1),))


def exact_div(a: Dim, b: Dim) -> Dim | None:
    """a / b where b is one term that divides every term of a, else None."""
    if a == b:
        return 1
    divisor = _terms(b)
    if len(divisor) != 1:
        return None
    ((monomial, coefficient),) = divisor.items()
    out: dict[Monomial, int] = {}
    for m, c in _terms(a).items():
        rest = list(m)
        for atom in monomial:
            if atom not in rest:
                return None
            rest.remove(atom)
        if c % coefficient:
            return None
        out[tuple(rest)] = c // coefficient
    return _build(out)


def evaluate(d: Dim, env: Mapping[str, int]) -> int:
    """The value of `d` under `env`; KeyError names an unbound symbol."""
    if isinstance(d, int):
        return d
    total = 0
    for monomial, coefficient in d.terms:
        value = coefficient
        for atom in monomial:
            value *= env[atom] if isinstance(atom, str) else _call(atom, env)
        total += value
    return total


def _call(atom: Call, env: Mapping[str, int]) -> int:
    a, b = (evaluate(x, env) for x in atom.args)
    return max(a, b) if atom.fn == "max" else a // b


def symbols(d: Dim) -> frozenset[str]:
    if isinstance(d, int):
        return frozenset()
    found: set[str] = set()
    for monomial, _ in d.terms:
        for atom in monomial:
            found.update((atom,) if isinstance(atom, str) else (s for x in atom.args for s in symbols(x)))
    return frozenset(found)


def substitute(d: Dim, replace: Callable[[str], Dim]) -> Dim:
    """`d` with every symbol s replaced by replace(s)."""
    if isinstance(d, int):
        return d
    total: Dim = 0
    for monomial, coefficient in d.terms:
        value: Dim = coefficient
        for atom in monomial:
            if isinstance(atom, str):
                value = mul(value, replace(atom))
            else:
                a, b = (substitute(x, replace) for x in atom.args)
                value = mul(value, maximum(a, b) if atom.fn == "max" else floordiv(a, b))
        total = add(total, value)
    return total


_TOKEN = re.compile(r"\s*(?:(\d+)|([A-Za-z_][\w.@/]*)|(.))")


def parse(text: str) -> Dim:
    """The inverse of str(): `2*x.0*y.1+1`, `max(x.0-1, 0)`; ValueError on anything else."""
    tokens = [m for m in _TOKEN.findall(text) if any(m)]
    value, rest = _sum(tokens)
    if rest:
        raise ValueError(f"unexpected {''.join(rest[0])!r} in dimension {text!r}")
    return value


_Tokens: TypeAlias = list[tuple[str, str, str]]


def _sum(tokens: _Tokens) -> tuple[Dim, _Tokens]:
    sign = 1
    if tokens and tokens[0][2] == "-":
        sign, tokens = -1, tokens[1:]
    value, tokens = _product(tokens)
    value = mul(sign, value)
    while tokens and tokens[0][2] in ("+", "-"):
        sign = 1 if tokens[0][2] == "+" else -1
        term, tokens = _product(tokens[1:])
        value = add(value, mul(sign, term))
    return value, tokens


def _product(tokens: _Tokens) -> tuple[Dim, _Tokens]:
    value, tokens = _atom(tokens)
    while tokens and tokens[0][2] == "*":
        factor, tokens = _atom(tokens[1:])
        value = mul(value, factor)
    return value, tokens


def _atom(tokens: _Tokens) -> tuple[Dim, _Tokens]:
    if not tokens:
        raise ValueError("a dimension ends too early")
    number, name, other = tokens[0]
    if number:
        return int(number), tokens[1:]
    if not name:
        raise ValueError(f"unexpected {other!r} in a dimension")
    if name in ("max", "floordiv") and len(tokens) > 1 and tokens[1][2] == "(":
        a, rest = _sum(tokens[2:])
        if not rest or rest[0][2] != ",":
            raise ValueError(f"{name} takes two dimensions")
        b, rest = _sum(rest[1:])
        if not rest or rest[0][2] != ")":
            raise ValueError(f"{name}(…) is not closed")
        return (maximum(a, b) if name == "max" else floordiv(a, b)), rest[1:]
    return symbol(name), tokens[1:]


@dataclass(frozen=True, slots=True)
class Equation:
    """left == right must hold at run time; `why` names the op that needs it."""

    left: Dim
    right: Dim
    why: str

    def __str__(self) -> str:
        return f"{self.left} == {self.right}"


class Equations:
    """The equations between dimensions that the ops of one program need, with what follows from them."""

    def __init__(self, equations: tuple[Equation, ...] = ()) -> None:
        self._value: dict[str, Dim] = {}
        self._seen: set[tuple[Dim, Dim]] = set()
        self.recorded: list[Equation] = []
        for e in equations:
            self.equal(e.left, e.right, e.why)

    def canonical(self, d: Dim) -> Dim:
        """`d` with every solved symbol replaced; two dimensions known to be equal have equal canonical forms."""
        if isinstance(d, int) or not self._value:
            return d
        for _ in range(64):
            new = substitute(d, lambda s: self._value.get(s, symbol(s)))
            if new == d or isinstance(new, int):
                return new
            d = new
        return d

    def equal(self, a: Dim, b: Dim, why: str = "") -> Dim | None:
        """Records a == b and returns the canonical dimension; None where the two can never be equal."""
        left, right = self.canonical(a), self.canonical(b)
        if left == right:
            return left
        if isinstance(sub(left, right), int):
            return None
        if (left, right) not in self._seen:  # one that cannot be solved comes again each time it is needed
            self._seen.add((left, right))
            self.recorded.append(Equation(left, right, why))
        for alone, other in ((right, left), (left, right)):
            name = lone(alone)
            if name is not None and name not in symbols(other):
                self._value[name] = other
                return other
        for alone, other in ((right, left), (left, right)):
            known = shifted(alone)
            if known is not None and known[0] not in symbols(other):
                self._value[known[0]] = sub(other, known[1])
                return other
        return left

    def same(self, a: Dim, b: Dim) -> bool:
        """Whether a == b follows from what is known, or was recorded itself."""
        left, right = self.canonical(a), self.canonical(b)
        return left == right or (left, right) in self._seen or (right, left) in self._seen


def lone(d: Dim) -> str | None:
    """The name of a dimension that is one symbol and nothing else."""
    if isinstance(d, SymDim) and len(d.terms) == 1:
        ((monomial, coefficient),) = d.terms
        if coefficient == 1 and len(monomial) == 1 and isinstance(monomial[0], str):
            return monomial[0]
    return None


def shifted(d: Dim) -> tuple[str, int] | None:
    """(N, k) of a dimension N + k, one symbol and a number: a size of N + k says what N is."""
    if isinstance(d, int):
        return None
    number = dict(d.terms).get((), 0)
    name = lone(sub(d, number))
    return None if name is None else (name, number)
