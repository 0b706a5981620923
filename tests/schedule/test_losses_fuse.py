"""Value and gradient of each elementwise or row-wise loss are one kernel that walks over the tensors.

The page docs/fusion.md states kernels and bytes of every loss; these tests hold it to what the scheduler does.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from graphloss import layers, losses
from graphloss.gluon import loss as gluon
from graphloss.nn import functional as F
from tests.schedule.cases import CASES, Case, walking
from tests.schedule.fusion import REASONS, measured, page

# Losses of sequences and of sampled or clustered classes: loop nests and gathers of their own.
STRUCTURED = (
    "adaptive", "alignment", "crf", "ctc", "edit", "hierarchical", "hsigmoid", "linear_c", ".nce", "noise", "packed",
    "sampled", "sequence", "transducer", "warp",
)  # fmt: skip
PAGE = Path(__file__).parent.parent.parent / "docs" / "fusion.md"


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_one_kernel_or_a_reason(case: Case) -> None:
    row = measured(case)
    assert row.needs_reason == (case.id in REASONS), f"{row.kernels} kernels, {row.ratio:.2f} times the ideal"
    if case.id not in REASONS:
        assert len(walking(case.plan(any_batch=True))) == 1, "of batches of any size"


def test_each_case_has_its_name() -> None:
    names = [c.id for c in CASES]
    assert len(set(names)) == len(names)
    assert set(REASONS) <= set(names)


def test_every_public_loss_is_there() -> None:
    shown = {c.name for c in CASES}
    wanted = {f"losses.{n}" for n in losses.__all__}
    wanted |= {f"gluon.loss.{getattr(gluon, n).__name__}" for n in gluon.__all__} - {"gluon.loss.Loss"}
    wanted |= {f"nn.functional.{n}" for n in F.__all__ if n.endswith("_loss") or "entropy" in n or n == "kl_div"}
    wanted |= {f"layers.{n}" for n in layers.__all__ if n.endswith("_loss") or "entropy" in n}
    assert {n for n in wanted if not any(part in n.lower() for part in STRUCTURED)} <= shown


def test_page_shows_what_the_scheduler_does() -> None:
    assert PAGE.read_text() == page(), "print it anew: python -m tests.schedule.fusion > docs/fusion.md"
