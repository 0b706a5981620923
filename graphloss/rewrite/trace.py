"""What a compilation did: one record for each rule that fired."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from graphloss.ir.graph import Op
from graphloss.ir.location import Location


@dataclass(frozen=True, slots=True)
class Record:
    """`rule` of pass `pass_name` replaced `before` by `after` (the ops built for it, possibly none); `loc` is the
    user's line."""

    pass_name: str
    rule: str
    before: Op
    after: tuple[Op, ...]
    loc: Location | None

    def __str__(self) -> str:
        made = ", ".join(op.type for op in self.after) or "an existing value"
        return f"{self.pass_name}: {self.rule}: {self.before.type} -> {made}" + (f"  ({self.loc})" if self.loc else "")


@dataclass(slots=True)
class Trace:
    """Filled by passes, read by `explain` and tests. Nothing that a pass does depends on it."""

    records: list[Record] = field(default_factory=list)

    def add(self, record: Record) -> None:
        self.records.append(record)

    def rules(self, pass_name: str | None = None) -> tuple[str, ...]:
        """Names of the rules that fired, each once, in the order of their first firing."""
        return tuple(dict.fromkeys(r.rule for r in self.records if pass_name in (None, r.pass_name)))

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __str__(self) -> str:
        return "\n".join(str(r) for r in self.records)
