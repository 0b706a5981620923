"""Losses and the bytes that their kernels move, next to what is needed at least; where it is more, why.

Run as a program it prints the page docs/fusion.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphloss.inspect.traffic import CACHE, Traffic, ideal, moved
from graphloss.ir.dims import Dim
from graphloss.schedule.launches import parts
from graphloss.schedule.plan import Plan
from tests.schedule.cases import CASES, Case, walking

# More than this many times the ideal, or more than one kernel, and the page says why.
LIMIT = 1.5

DIVISOR = "the labels that count are counted first: the gradient divides by their number"
PAIRS = "N×N products of the rows, and their gradients, go to and from calls that multiply matrices"
REASONS: dict[str, str] = {
    "layers.sigmoid_cross_entropy_with_logits normalize": DIVISOR,
    "nn.functional.multilabel_margin_loss": "three walks over pairs of classes: one side's sums need the other's",
    "layers.npair_loss": PAIRS,
    "layers.dice_loss": "the gradient divides by sums over all of a sample, too large to stay in the cache",
    "layers.center_loss": "centres are gathered and what moves them is summed by kernels of their own",
    "gluon.loss.SDMLLoss": "N×N distances and their gradients are stored: rows, columns and features reduce them",
    "losses.generalized_dice_loss": "sums over the pixels, then over the classes, then the gradient walks the pixels",
    "losses.dice_cross_entropy_loss": "three walks over the logits: softmax of each pixel, sums over pixels, gradient",
    **dict.fromkeys(("losses.info_nce_loss", "losses.info_nce_loss symmetric", "losses.nt_xent_loss",
                     "losses.supervised_contrastive_loss"), PAIRS),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    case: Case
    kernels: int
    ahead: bool
    calls: int
    moved: Traffic
    ideal: Traffic

    @property
    def ratio(self) -> float:
        return number(self.moved.total) / number(self.ideal.total)

    @property
    def needs_reason(self) -> bool:
        return self.ratio > LIMIT or self.kernels > 1 or self.calls > 0


def number(d: Dim) -> int:
    assert isinstance(d, int), d
    return d


def measured(case: Case, plan: Plan | None = None) -> Row:
    plan = case.plan() if plan is None else plan
    ahead = any(part.ahead for part in parts(plan.steps).values())
    return Row(case, len(walking(plan)), ahead, len(plan.steps) - len(plan.kernels), moved(plan), ideal(plan))


HEAD = """# Kernels of each loss

What the value of a loss and its gradients take together: how many kernels, and how many bytes go between them and
memory. The ideal is what is needed of each input read once, and each result written once. To a kernel belong the small
steps that `explain` names with it: the sums of its partial results and scalars made of them; and, where it says *counts
first*, a sum over what the kernel reads once per row, as the number of labels that are not ignored, by which the
gradient divides.

*Moved* counts what comes from memory. A kernel takes a tile of 16 rows through all its passes before the next tile
(256 columns, where the row is not the last axis). Where what it touches of a tile is at most {cache} KB, a second-level
cache holds it: then only the first pass over a row reads memory. *Every pass* is the same count as if there were no
cache. Partial results count, and so do operands and results of calls between kernels; a picked element counts as
itself. `explain` shows these numbers for any program; `graphloss/inspect/traffic.py` says how they are counted.

Losses of sequences and of sampled or clustered classes are loop nests, and not here. Each row is float32 and of the
shapes that it names; the gradients are by the inputs in *by*.
`python -m tests.schedule.fusion > docs/fusion.md` prints this page anew.

| Loss | Inputs | By | Kernels | Moved | Ideal | Ratio | Every pass | Why not less |
|---|---|---|---|---|---|---|---|---|
"""


def size(n: int) -> str:
    return f"{n / 1e6:.2f} MB"


def line(row: Row) -> str:
    case, best = row.case, number(row.ideal.total)
    inputs = "; ".join(
        f"{n} {'×'.join(map(str, s[0] if isinstance(s[0], tuple) else s))}" for n, s in case.shapes.items()
    )
    first = ", counts first" if row.ahead else ""
    kernels = f"{row.kernels}{first}" + (f" + {row.calls} calls" if row.calls else "")
    name = f"`{case.name}`" + (f" {case.label}" if case.label else "")
    cells = (
        name, inputs, ", ".join(case.by), kernels, size(number(row.moved.total)), size(best), f"{row.ratio:.2f}",
        f"{number(row.moved.every_pass) / best:.2f}", REASONS.get(case.id, ""),
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def page() -> str:
    return HEAD.format(cache=CACHE // 1024) + "\n".join(line(measured(c)) for c in CASES) + "\n"


if __name__ == "__main__":
    print(page(), end="")
