"""Shorter forms of functions, for arguments of which something is known from how they were made."""

from __future__ import annotations

from typing import Final

from graphloss.codegen.values import Lanes

# From a function and those that made its argument, the last one first, to the form for such arguments.
_FORMS: Final = {
    ("exp", "neg", "abs"): "exp_nonpositive",
    ("log1p", "exp", "neg", "abs"): "log1p_unit",
}
# Within the bounds of the whole function in this format only, and with fused products.
_FLOAT32: Final = frozenset({"log1p_unit"})

DEPTH: Final = max(map(len, _FORMS))


def form(lanes: Lanes, dtype: str, chain: tuple[str, ...]) -> str:
    """The function to emit for `chain[0]` of `chain[1]` of …, at most `DEPTH` of them."""
    for known in range(len(chain), 1, -1):
        found = _FORMS.get(chain[:known])
        if found is not None and (found not in _FLOAT32 or (dtype == "float32" and lanes.target.has_fma)):
            return found
    return chain[0]
