"""From a graph of primitive ops to scheduler values: forms become scalar functions, loads and reductions over atoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from graphloss import dtypes
from graphloss.errors import UnsupportedError
from graphloss.ir import dims as d
from graphloss.ir import forms
from graphloss.ir.dims import Dim
from graphloss.ir.graph import Graph, Op
from graphloss.ir.location import Location
from graphloss.ir.opdef import get
from graphloss.ir.printer import op_text
from graphloss.ir.scalar import Expr, arg
from graphloss.ir.types import TensorType
from graphloss.schedule.atoms import Atoms
from graphloss.schedule.index import rebase, reindex
from graphloss.schedule.kernel import Buffer
from graphloss.schedule.values import (
    Call,
    Checked,
    Constant,
    Dims,
    Extent,
    HostCall,
    Position,
    Producer,
    Read,
    Reduction,
    Ref,
    Root,
    Site,
    Value,
)

# A chain of more scalar functions than this is cut by a store, so that kernels stay of a size that compiles quickly.
DEPTH_LIMIT = 160


@dataclass(frozen=True, slots=True)
class NonEmpty:
    """A maximum over `extent` elements: none at all is an error, unless there is no result either."""

    op: str
    variable: str
    loc: Location | None
    extent: Dim
    results: Dim


@dataclass
class Lowered:
    """All values of a graph, the buffers between them and what is delivered."""

    atoms: Atoms = field(default_factory=Atoms)
    values: list[Value | HostCall | Root] = field(default_factory=list)  # in topological order
    buffers: dict[str, Buffer] = field(default_factory=dict)
    producers: dict[str, Producer] = field(default_factory=dict)
    sites: list[Site] = field(default_factory=list)
    nonempty: list[NonEmpty] = field(default_factory=list)
    results: dict[str, str] = field(default_factory=dict)  # graph value -> buffer


class Lowering:
    """One trip over the ops of a graph. `refs` holds what each graph value is."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.out = Lowered()
        self.atoms = self.out.atoms
        self.refs: dict[str, Ref] = {}
        self._shared: dict[tuple[object, ...], Value] = {}
        self._depth: dict[int, int] = {}
        self._next = 0
        self.varying: set[int] = set()

    def run(self) -> Lowered:
        for name in (*self.graph.feeds, *self.graph.states):
            buffer = self.buffer(self.graph.types[name], "input", name)
            self.refs[name] = self.read(buffer, self.graph.types[name].shape)
        for op in self.graph.ops:
            self.op(op)
        for name in self.graph.results:
            t = self.graph.types[name]
            buffer = self.materialise(self.refs[name], t.shape)
            if self.out.buffers[buffer].role != "temp" or self.out.buffers[buffer].shape != t.shape:
                buffer = self.buffer(t, "output", None)
                self.store(self.refs[name], buffer, t.shape)
            self.out.buffers[buffer] = replace(self.out.buffers[buffer], role="output")
            self.out.results[name] = buffer
        return self.out

    # --- values

    def value(self, value: Value, key: tuple[object, ...] | None = None) -> Value:
        """Registers a new value; equal keys share one."""
        if key is not None:
            known = self._shared.get(key)
            if known is not None:
                return known
            self._shared[key] = value
        value.id = self._next
        self._next += 1
        self._depth[value.id] = 1 + max((self._depth[x.id] for x in value.deps), default=0)
        if value.own or any(x.id in self.varying for x in value.deps):
            self.varying.add(value.id)
        self.out.values.append(value)
        return value

    def constant(self, value: float | int | bool, dtype: str) -> Value:
        # the sign of zero and the type of a number are part of the key
        return self.value(Constant(0, dtype, value=value), ("const", dtype, type(value), repr(value)))

    def call(self, fn: str, args: tuple[Value, ...], dtype: str) -> Value:
        return self.value(Call(0, dtype, args, fn=fn), ("call", fn, dtype, *(a.id for a in args)))

    def expression(self, expr: Expr, operands: Sequence[Value]) -> Value:
        if expr.fn == "arg":
            return operands[expr.index]
        if expr.fn == "const":
            return self.constant(expr.value, expr.dtype)
        return self.call(expr.fn, tuple(self.expression(a, operands) for a in expr.args), expr.dtype)

    # --- memory

    def buffer(self, t: TensorType, role: str, name: str | None) -> str:
        key = name if name is not None else f"{role}.{len(self.out.buffers)}"
        self.out.buffers[key] = Buffer(key, t.dtype, t.shape, role)
        return key

    def read(self, buffer: str, shape: tuple[Dim, ...], offset: Dim = 0, strides: Sequence[Dim] | None = None) -> Ref:
        """A fresh view of a buffer (row-major unless strides are given), with atoms of its own."""
        steps = row_major(shape) if strides is None else tuple(strides)
        index: list[tuple[int, ...]] = [() if n == 1 else (self.atoms.new(n),) for n in shape]
        pairs = tuple((a[0], s) for a, s in zip(index, steps, strict=True) if a)
        self.atoms.meet(a for a, _ in pairs)
        value = Read(0, self.out.buffers[buffer].dtype, own=tuple(a for a, _ in pairs), buffer=buffer, offset=offset, strides=pairs)
        return Ref(self.value(value), tuple(index))

    def store(self, ref: Ref, buffer: str, shape: tuple[Dim, ...], offset: Dim = 0, strides: Sequence[Dim] | None = None) -> None:
        steps = row_major(shape) if strides is None else tuple(strides)
        pairs = [p for atoms, step in zip(ref.dims, steps, strict=True) for p in _spread(self.atoms, atoms, step)]
        root = Root(ref.value, buffer, offset, tuple(pairs))
        self.out.producers.setdefault(buffer, Producer()).roots.append(root)
        self.out.values.append(root)

    def materialise(self, ref: Ref, shape: tuple[Dim, ...]) -> str:
        """The buffer that holds `ref` in row-major order; inputs are used as they are."""
        value = ref.value
        if isinstance(value, Read) and value.index_stride is None and value.offset == 0:
            if self.out.buffers[value.buffer].shape == shape and self._is_whole(value, ref, shape):
                return value.buffer
        key = ("buffer", value.id, tuple(self.atoms.resolve(x) for x in ref.dims))
        known = self._shared.get(key)
        if isinstance(known, Read):
            return known.buffer
        buffer = self.buffer(TensorType(value.dtype, shape), "temp", None)
        self.store(ref, buffer, shape)
        self._shared[key] = Read(-1, value.dtype, buffer=buffer)
        return buffer

    def _is_whole(self, value: Read, ref: Ref, shape: tuple[Dim, ...]) -> bool:
        steps = self.atoms.strides(value.strides)
        want = self.atoms.strides([
            (a, s) for x, step in zip(ref.dims, row_major(shape), strict=True)
            for a, s in _spread(self.atoms, x, step)
        ])  # fmt: skip
        return steps == want

    def reread(self, ref: Ref, shape: tuple[Dim, ...]) -> Ref:
        """The same tensor with atoms of its own: evaluated again where that is cheap, otherwise loaded."""
        old = self.atoms.resolve(ref.atoms)
        fresh = {a: self.atoms.new(self.atoms.sizes[a]) for a in old}
        again = rebase(self, ref.value, {a: (n, 0, 1) for a, n in fresh.items()})
        if again is None:
            return self.read(self.materialise(ref, shape), shape)
        self.atoms.meet(fresh.values())
        return Ref(again, tuple(tuple(fresh[a] for a in self.atoms.resolve(x)) for x in ref.dims))

    def respelled(self, ref: Ref, shape: tuple[Dim, ...], out: tuple[Dim, ...]) -> tuple[Ref, tuple[Dim, ...]]:
        """`ref` with the sizes of `out`, to which it broadcasts, for loops to be shared.

        Sizes that are equal in each run may look different here: no symbol can be solved from a.0 * a.1 == 6 * b.0.
        """
        shift = len(out) - len(shape)
        new = tuple(n if n == 1 else out[i + shift] for i, n in enumerate(shape))
        return (ref, shape) if new == shape else (self.read(self.materialise(ref, shape), new), new)

    def shape(self, name: str) -> tuple[Dim, ...]:
        return self.graph.types[name].shape

    # --- ops

    def op(self, op: Op) -> None:
        definition = get(op.type)
        types = [self.graph.types[n] for n in op.inputs]
        outs = [self.graph.types[n] for n in op.outputs]
        if definition.scalar is not None:
            expr = definition.scalar([arg(i, t.dtype) for i, t in enumerate(types)], op.attr)
            self.refs[op.outputs[0]] = self.map(op, expr, outs[0])
            return
        if definition.lower is None:
            raise UnsupportedError(f"{op.type} reached the scheduler undecomposed", where=op.loc)
        form = definition.lower(types, outs, op.attr)
        if isinstance(form, forms.Host):
            self.host(op, form, outs)
        else:
            self.refs[op.outputs[0]] = self.form(op, form, outs[0])

    def host(self, op: Op, form: forms.Host, outs: list[TensorType]) -> None:
        inputs = tuple(self.materialise(self.refs[n], self.shape(n)) for n in op.inputs)
        outputs = tuple(self.buffer(t, "temp", None) for t in outs)
        call = HostCall(op.type, form, inputs, outputs)
        self.out.values.append(call)
        for buffer, name, t in zip(outputs, op.outputs, outs, strict=True):
            self.out.producers[buffer] = Producer(host=call)
            self.refs[name] = self.read(buffer, t.shape)

    def form(self, op: Op, form: forms.Form, out: TensorType) -> Ref:
        if isinstance(form, forms.Map):
            return self.map(op, form.expr, out)
        if isinstance(form, forms.Fill):
            if isinstance(form.value, d.SymDim):
                return Ref(self.value(Extent(0, out.dtype, dim=form.value), ("dim", out.dtype, form.value)), self.fresh(out.shape))
            return Ref(self.constant(form.value, out.dtype), self.fresh(out.shape))
        if isinstance(form, forms.Iota):
            index = self.fresh(out.shape)
            strides = tuple((a, 1) for a in index[form.axis])
            return Ref(self.value(Position(0, out.dtype, own=index[form.axis], strides=strides)), index)
        if isinstance(form, forms.Concat):
            return self.concat(op, form, out)
        ref, shape = self.refs[op.inputs[0]], self.shape(op.inputs[0])
        if isinstance(form, forms.Transpose):
            return Ref(ref.value, tuple(ref.dims[p] for p in form.perm))
        if isinstance(form, forms.Expand):
            return Ref(ref.value, self.expanded(ref.dims, shape, out.shape))
        if isinstance(form, forms.Reshape):
            index_ = self.reshaped(ref.dims, shape, out.shape)
            return Ref(ref.value, index_) if index_ is not None else self.read(self.materialise(ref, shape), out.shape)
        if isinstance(form, forms.Slice):
            return self.slice(ref, form, shape, out)
        if isinstance(form, forms.InRange):
            return Ref(self.checked(op, ref, op.inputs[0], form.limit), ref.dims)
        if isinstance(form, forms.Reduce):
            return self.reduce(op, ref, form, out)
        if isinstance(form, (forms.Pick, forms.Gather)):
            return self.pick(op, form, out)
        raise UnsupportedError(f"{op.type}: the scheduler does not know the form {type(form).__name__}")

    def fresh(self, shape: tuple[Dim, ...]) -> Dims:
        index: Dims = tuple(() if n == 1 else (self.atoms.new(n),) for n in shape)
        self.atoms.meet(a for x in index for a in x)
        return index

    def map(self, op: Op, expr: Expr, out: TensorType) -> Ref:
        index: list[tuple[int, ...] | None] = [None] * out.rank
        operands: list[Value] = []
        for name in op.inputs:
            ref, shape = self.refs[name], self.shape(name)
            if self._depth[ref.value.id] > DEPTH_LIMIT:
                self.refs[name] = ref = self.reread(ref, shape)
            ref, shape = self.respelled(ref, shape, out.shape)
            if not self._align(index, ref, shape, out.shape):
                ref = self.reread(ref, shape)
                if not self._align(index, ref, shape, out.shape):
                    raise UnsupportedError(f"{op.type}: operand {name} has no common loop with the others", where=op.loc)
            operands.append(ref.value)
        final = tuple(
            x if x is not None else (() if n == 1 else (self.atoms.new(n),)) for x, n in zip(index, out.shape, strict=True)
        )
        self.atoms.meet(a for x in final for a in x)
        return Ref(self.expression(expr, operands), final)

    def _align(self, index: list[tuple[int, ...] | None], ref: Ref, shape: tuple[Dim, ...], out: tuple[Dim, ...]) -> bool:
        shift = len(out) - len(shape)
        pairs = [(i + shift, ref.dims[i]) for i, n in enumerate(shape) if n != 1 or out[i + shift] == 1]
        mine: list[int] = []
        theirs: list[int] = []
        for i, atoms in pairs:
            known = index[i]
            if known is not None and (known or atoms):
                if self.atoms.resolve(known) == self.atoms.resolve(atoms):
                    continue
                # unifying dimension by dimension could join an axis with one beside it; the whole list is tried at once
                mine += known
                theirs += atoms
        if mine and not self.atoms.unify(mine, theirs):
            return False
        result = [a for i, x in enumerate(index) for a in (x if x is not None else ())]
        for i, atoms in pairs:
            if index[i] is None:
                if set(self.atoms.resolve(atoms)) & set(self.atoms.resolve(result)):
                    return False
                result += atoms
        for i, atoms in pairs:
            if index[i] is None:
                index[i] = atoms
        self.atoms.meet(a for x in index if x is not None for a in x)
        return True

    def expanded(self, index: Dims, shape: tuple[Dim, ...], out: tuple[Dim, ...]) -> Dims:
        shift = len(out) - len(shape)
        result: list[tuple[int, ...]] = []
        for i, n in enumerate(out):
            old = i - shift
            if old >= 0 and (shape[old] != 1 or n == 1):
                result.append(index[old])
            else:
                result.append(() if n == 1 else (self.atoms.new(n),))
        self.atoms.meet(a for x in result for a in x)
        return tuple(result)

    def reshaped(self, index: Dims, old: tuple[Dim, ...], new: tuple[Dim, ...]) -> Dims | None:
        """The atoms of the reshaped dimensions, where whole axes merge or split; None where they interleave."""
        atoms = list(self.atoms.resolve(a for x in index for a in x))
        result: list[tuple[int, ...]] = []
        if any(n == 0 for n in new):
            return None
        for position, n in enumerate(new):
            taken: list[int] = []
            size: Dim = 1
            while size != n:
                if not atoms:
                    return None
                a = atoms[0]
                grown = d.mul(size, self.atoms.sizes[a])
                rest = d.exact_div(self.atoms.sizes[a], d.floordiv(n, size)) if not taken else None
                if grown == n or d.exact_div(n, grown) is not None:
                    taken.append(atoms.pop(0))
                    size = grown
                elif rest is not None and not taken:
                    parts = self.atoms.split(a, (n, rest))
                    atoms[0:1] = list(parts)
                else:
                    return None
            del position
            result.append(tuple(taken))
        return None if atoms else tuple(result)

    def slice(self, ref: Ref, form: forms.Slice, shape: tuple[Dim, ...], out: TensorType) -> Ref:
        moved = self.moved(ref, form, out.shape)
        if moved is not None:
            return moved
        buffer = self.materialise(ref, shape)
        steps = row_major(shape)
        offset: Dim = 0
        for start, step in zip(form.starts, steps, strict=True):
            offset = d.add(offset, d.mul(start, step))
        return self.read(buffer, out.shape, offset, [d.mul(a, b) for a, b in zip(form.steps, steps, strict=True)])

    def moved(self, ref: Ref, form: forms.Slice, out: tuple[Dim, ...]) -> Ref | None:
        """The slice as loads at other places, where the operand is cheap to evaluate there."""
        new: dict[int, tuple[int, Dim, int]] = {}
        index: list[tuple[int, ...]] = []
        for x, start, step, n in zip(ref.dims, form.starts, form.steps, out, strict=True):
            atoms = self.atoms.resolve(x)
            whole = start == 0 and step == 1 and n == d.product(tuple(self.atoms.sizes[a] for a in atoms))
            if (len(atoms) > 1 and not whole) or (not atoms and n != 1):
                return None
            sizes = [self.atoms.sizes[a] for a in atoms] if whole else [n] * len(atoms)
            fresh = tuple(self.atoms.new(size) for size in sizes)
            new.update({a: (f, start, step) for a, f in zip(atoms, fresh, strict=True)})
            index.append(fresh)
        value = rebase(self, ref.value, new)
        if value is None:
            return None
        kept = tuple(() if n == 1 else x for x, n in zip(index, out, strict=True))
        self.atoms.meet(a for x in index for a in x)
        return Ref(value, kept) if all(len(x) == len(k) for x, k in zip(index, kept, strict=True)) else None

    def concat(self, op: Op, form: forms.Concat, out: TensorType) -> Ref:
        buffer = self.buffer(out, "temp", None)
        steps = row_major(out.shape)
        offset: Dim = 0
        for name in op.inputs:
            shape = self.shape(name)
            self.store(self.refs[name], buffer, shape, offset, steps)
            offset = d.add(offset, d.mul(shape[form.axis], steps[form.axis]))
        return self.read(buffer, out.shape)

    def reduce(self, op: Op, ref: Ref, form: forms.Reduce, out: TensorType) -> Ref:
        over = tuple(a for axis in form.axes for a in ref.dims[axis])
        index = tuple(
            () if i in form.axes else x for i, x in enumerate(ref.dims) if form.keepdims or i not in form.axes
        )
        if form.kind in ("max", "min", "argmax", "argmin"):
            shape = self.shape(op.inputs[0])
            self.out.nonempty.append(NonEmpty(op.type, op.inputs[0], op.loc, d.product(tuple(shape[a] for a in form.axes)), out.size))
        if form.kind in ("argmax", "argmin") and len(self.atoms.resolve(over)) > 1:
            ref = self.reread(ref, self.shape(op.inputs[0]))
            return self.reduce(op, ref, form, out)
        value = ref.value
        if not over:  # only dimensions of size 1: the value itself, or index 0
            if form.kind in ("argmax", "argmin"):
                value = self.constant(0, out.dtype)
            return Ref(value, index)
        return Ref(self.value(Reduction(0, out.dtype, (value,), own=over, kind=form.kind, over=over)), index)

    def checked(self, op: Op, ref: Ref, variable: str, limit: Dim) -> Value:
        shape = self.shape(variable)
        known = ("check", ref.value.id, limit)
        if known not in self._shared:
            strides = [p for x, step in zip(ref.dims, row_major(shape), strict=True) for p in _spread(self.atoms, x, step)]
            source = self.source(variable)
            site = Site(op_text(op, self.graph.types), source, op.loc, limit, self.shape(source), tuple(strides))
            self.out.sites.append(site)
            self.value(Checked(0, ref.value.dtype, (ref.value,), site=site), known)
        return self._shared[known]

    def source(self, name: str) -> str:
        """The feed that `name` holds the elements of, where that is plain: what an error about an element should speak of."""
        inputs, stack, seen = set(self.graph.feeds), [name], {name}
        found: set[str] = set()
        while stack and len(seen) < 32:
            n = stack.pop()
            if n in inputs and dtypes.is_int(self.graph.types[n].dtype):
                found.add(n)
            op = self.graph.definition.get(n)
            for x in op.inputs if op is not None else ():
                if x not in seen:
                    seen.add(x)
                    stack.append(x)
        if len(found) == 1:
            (feed,) = found
            if self.graph.types[feed].size == self.graph.types[name].size:
                return feed
        return name

    def pick(self, op: Op, form: forms.Pick | forms.Gather, out: TensorType) -> Ref:
        x, index = self.refs[op.inputs[0]], self.refs[op.inputs[1]]
        shape, index_shape = self.shape(op.inputs[0]), self.shape(op.inputs[1])
        axis = form.axis if isinstance(form, forms.Pick) else 0
        if isinstance(form, forms.Pick):
            slots: list[tuple[int, ...] | None] = list(x.dims[:axis] + x.dims[axis + 1 :])
            rest = shape[:axis] + shape[axis + 1 :]
            index, index_shape = self.respelled(index, index_shape, rest)
            if not self._align(slots, index, index_shape, rest):
                index = self.reread(index, index_shape)
                if not self._align(slots, index, index_shape, rest):
                    raise UnsupportedError(f"{op.type}: the index has no common loop with its operand", where=op.loc)
            dims: Dims = tuple(s if s is not None else () for s in slots)
        else:
            if set(self.atoms.resolve(x.atoms)) & set(self.atoms.resolve(index.atoms)):
                index = self.reread(index, index_shape)
            dims = index.dims + x.dims[1:]
            self.atoms.meet(a for y in dims for a in y)
        checked = self.checked(op, index, op.inputs[1], shape[axis])
        atoms = self.atoms.resolve(x.dims[axis])
        if len(atoms) > 1:
            x = self.reread(x, shape)
            dims = dims[:axis] + x.dims[1:] if isinstance(form, forms.Gather) else dims
            atoms = self.atoms.resolve(x.dims[axis])
        if not atoms:  # a single class: the check is all that is left
            value = self.call("select", (self.call("eq", (checked, checked), "bool"), x.value, x.value), x.value.dtype)
            return Ref(value, dims)
        picked = reindex(self, x.value, atoms[0], checked)
        if picked is None:
            again = self.reread(x, shape)
            if isinstance(form, forms.Pick):
                slots = list(dims)
                kept = Ref(again.value, again.dims[:axis] + again.dims[axis + 1 :])
                if not self._align(slots, kept, shape[:axis] + shape[axis + 1 :], out.shape):
                    raise UnsupportedError(f"{op.type}: the operand has no common loop with the index", where=op.loc)
            else:
                dims = index.dims + again.dims[1:]
                self.atoms.meet(a for y in dims for a in y)
            picked = reindex(self, again.value, self.atoms.resolve(again.dims[axis])[0], checked)
            if picked is None:
                raise UnsupportedError(f"{op.type}: a stored operand cannot be indexed", where=op.loc)
        return Ref(picked, dims)


def row_major(shape: Sequence[Dim]) -> tuple[Dim, ...]:
    steps: list[Dim] = []
    step: Dim = 1
    for n in reversed(shape):
        steps.append(step)
        step = d.mul(step, n)
    return tuple(reversed(steps))


def _spread(atoms: Atoms, index: Sequence[int], step: Dim) -> list[tuple[int, Dim]]:
    out: list[tuple[int, Dim]] = []
    for a in reversed(atoms.resolve(index)):
        out.append((a, step))
        step = d.mul(step, atoms.sizes[a])
    return out[::-1]
