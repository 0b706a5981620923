"""From a graph of primitive ops to scheduler values: forms become scalar functions, loads and reductions over atoms."""

from __future__ import annotations

from dataclasses import replace

from graphloss.errors import UnsupportedError
from graphloss.ir import dims as d
from graphloss.ir import forms
from graphloss.ir.dims import Dim
from graphloss.ir.graph import Op
from graphloss.ir.loop_live import checks, without
from graphloss.ir.loops import GIVEN, INPUT, MADE, OUTPUT, SCRATCH, SHARED, Nest
from graphloss.ir.opdef import get
from graphloss.ir.printer import op_text
from graphloss.ir.scalar import Expr, arg
from graphloss.ir.types import TensorType
from graphloss.schedule.index import reindex
from graphloss.schedule.kernel import CheckSite
from graphloss.schedule.nest import chunk_count, dimension
from graphloss.schedule.origin import origin
from graphloss.schedule.values import (
    Checked,
    Dims,
    Extent,
    HostCall,
    NestCall,
    Position,
    Reduction,
    Ref,
    Site,
    Value,
)
from graphloss.schedule.views import Views
from graphloss.schedule.workspace import Lowered, NonEmpty, row_major, spread

# A chain of more scalar functions than this is cut by a store, so that kernels stay of a size that compiles quickly.
DEPTH_LIMIT = 160
# So is a chain of more reductions of a row: the pass of each computes again what those before it have computed.
REDUCTION_LIMIT = 8


class Lowering(Views):
    """One trip over the ops of a graph."""

    def run(self) -> Lowered:
        for name in (*self.graph.feeds, *self.graph.states):
            buffer = self.buffer(self.graph.types[name], "input", name)
            self.refs[name] = self.read(buffer, self.graph.types[name].shape)
        for op in self.graph.ops:
            self.op(op)
        for name in self.graph.results:
            if name in self.out.in_place:
                continue
            t = self.graph.types[name]
            self.refs[name] = self.beside(self.refs[name], t.shape)
            buffer = self.materialise(self.refs[name], t.shape)
            if self.out.buffers[buffer].role != "temp" or self.out.buffers[buffer].shape != t.shape:
                buffer = self.buffer(t, "output", None)
                self.store(self.refs[name], buffer, t.shape)
            self.out.buffers[buffer] = replace(self.out.buffers[buffer], role="output")
            self.out.results[name] = buffer
        return self.out

    def beside(self, ref: Ref, shape: tuple[Dim, ...]) -> Ref:
        """A result that is one number everywhere takes the loops of another result of its shape, and so its kernel."""
        if ref.value.id not in self.varying:
            for name in self.graph.results:
                other = self.refs[name]
                if other.value.id in self.varying and self.graph.types[name].shape == shape:
                    return Ref(ref.value, other.dims)
        return ref

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
            self.host(op, form, types, outs)
        elif isinstance(form, forms.Loops):
            self.loops(op, form, outs)
        else:
            self.refs[op.outputs[0]] = self.form(op, form, outs[0])

    def host(self, op: Op, form: forms.Host, types: list[TensorType], outs: list[TensorType]) -> None:
        inputs = tuple(self.materialise(self.refs[n], self.shape(n)) for n in op.inputs)
        outputs = tuple(self.buffer(t, "temp", None) for t in outs)
        call = HostCall(op.type, inputs, outputs, form, (tuple(types), tuple(outs), op.attrs))
        self.out.values.append(call)
        for buffer, name, t in zip(outputs, op.outputs, outs, strict=True):
            self.refs[name] = self.read(buffer, t.shape)

    def loops(self, op: Op, form: forms.Loops, outs: list[TensorType]) -> None:
        """A nest on buffers: operands in row-major order, outputs that somebody wants, scratch per chunk."""
        results = [a.name for a in form.nest.of_kind(*MADE)]
        wanted = {n for n in op.outputs if self.graph.users.get(n) or n in self.graph.results}
        unwanted = [a for a, n in zip(results, op.outputs, strict=True) if n not in wanted]
        nest = without(form.nest, unwanted)
        sizes = dict(zip(nest.sizes, form.sizes, strict=True))
        types = dict(zip(results, zip(op.outputs, outs, strict=True), strict=True))
        buffers: dict[str, str] = {}
        in_place = False
        given = tuple(zip(nest.of_kind(*GIVEN), op.inputs, strict=True))
        read = {a.name: self.materialise(self.refs[n], self.shape(n)) for a, n in given if a.kind == INPUT}
        for array, name in given:
            # what changes states runs last, so it must read no state that has changed by then
            fixed = not {name, *self.out.in_place.values()} & set(read.values())
            if array.kind == INPUT:
                buffers[array.name] = read[array.name]
            elif fixed and self.may_update(name, types[array.name][0]):
                buffers[array.name] = name
                self.out.in_place[types[array.name][0]] = name
                in_place = True
            else:
                buffers[array.name] = self.buffer(types[array.name][1], "temp", None)
                self.store(self.refs[name], buffers[array.name], self.shape(name))
        inputs = tuple(buffers.values())
        chunks = chunk_count(dimension(nest.extent, sizes))
        for array in nest.arrays:
            if array.kind == OUTPUT:
                buffers[array.name] = self.buffer(types[array.name][1], "temp", None)
            elif array.kind in (SCRATCH, SHARED):
                shape = tuple(dimension(n, sizes) for n in array.shape)
                shape = (chunks, *shape) if array.kind == SCRATCH else shape
                buffers[array.name] = self.buffer(TensorType(array.dtype, shape), "temp", None)
        made = [a for a in nest.of_kind(*MADE) if types[a.name][0] not in self.out.in_place]
        outputs = tuple(buffers[a.name] for a in made)
        sites = self.nest_sites(op, nest, sizes)
        arrays = tuple(buffers[a.name] for a in nest.arrays)
        self.out.values.append(NestCall(op.type, inputs, outputs, nest, form.sizes, arrays, sites, in_place))
        for array in made:
            name, t = types[array.name]
            self.refs[name] = self.read(buffers[array.name], t.shape)

    def may_update(self, state: str, value: str) -> bool:
        """Whether the memory of `state` may become that of `value`: the next value of the state, and nothing else."""
        written = [s for s, v in self.graph.writes if v == value]
        return written == [state] and value not in self.graph.fetches and not self.graph.users.get(value)

    def nest_sites(self, op: Op, nest: Nest, sizes: dict[str, Dim]) -> dict[str, CheckSite]:
        """What a failed check of the nest reports: the array is an operand of the op."""
        operands = dict(zip((a.name for a in nest.of_kind(*GIVEN)), op.inputs, strict=True))
        text = op_text(op, self.graph.types)
        sites: dict[str, CheckSite] = {}
        for check in checks(nest.body):
            operand = operands[check.array]
            in_order = origin(self.graph, operand, whole=True)
            source, axes, strides = in_order, self.shape(operand), row_major(self.shape(operand))
            if check.step is not None:
                source = origin(self.graph, operand, whole=True, moved=True)
                axes, strides = (dimension(nest.extent, sizes), d.product(axes)), strides[:-1]
            sites[check.name] = CheckSite(
                text, source, op.loc, 0, self.shape(source) if source == in_order else (), axes, strides, None,
                check.expected, tuple(sizes.items()), check.step is not None,
            )  # fmt: skip
        return sites

    def form(self, op: Op, form: forms.Form, out: TensorType) -> Ref:
        if isinstance(form, forms.Map):
            return self.map(op, form.expr, out)
        if isinstance(form, forms.Fill):
            if isinstance(form.value, d.SymDim):
                return Ref(
                    self.value(Extent(0, out.dtype, dim=form.value), ("dim", out.dtype, form.value)),
                    self.fresh(out.shape),
                )
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
        if isinstance(form, forms.Within):
            return self.within(op, ref, form)
        if isinstance(form, forms.Reduce):
            return self.reduce(op, ref, form, out)
        if isinstance(form, (forms.Pick, forms.Gather)):
            return self.pick(op, form, out)
        raise UnsupportedError(f"{op.type}: the scheduler does not know the form {type(form).__name__}")

    def map(self, op: Op, expr: Expr, out: TensorType) -> Ref:
        index: list[tuple[int, ...] | None] = [None] * out.rank
        operands: list[Value] = []
        for name in op.inputs:
            ref, shape = self.refs[name], self.shape(name)
            if self._depth[ref.value.id] > DEPTH_LIMIT:
                self.refs[name] = ref = self.reread(ref, shape)
            ref, shape = self.respelled(ref, shape, out.shape)
            if not self.align(index, ref, shape, out.shape):
                ref = self.reread(ref, shape)
                if not self.align(index, ref, shape, out.shape):
                    ref = self.read(self.materialise(ref, shape), shape)
                    if not self.align(index, ref, shape, out.shape):
                        raise UnsupportedError(
                            f"{op.type}: operand {name} has no common loop with the others", where=op.loc
                        )
            operands.append(ref.value)
        final = tuple(
            x if x is not None else (() if n == 1 else (self.atoms.new(n),))
            for x, n in zip(index, out.shape, strict=True)
        )
        self.atoms.meet(a for x in final for a in x)
        return Ref(self.expression(expr, operands), final)

    def concat(self, op: Op, form: forms.Concat, out: TensorType) -> Ref:
        buffer = self.buffer(out, "temp", None)
        steps = row_major(out.shape)
        offset: Dim = 0
        self.side_by_side([self.refs[n] for n in op.inputs], [self.shape(n) for n in op.inputs], form.axis)
        for name in op.inputs:
            shape = self.shape(name)
            self.store(self.refs[name], buffer, shape, offset, steps)
            offset = d.add(offset, d.mul(shape[form.axis], steps[form.axis]))
        return self.read(buffer, out.shape)

    def side_by_side(self, parts: list[Ref], shapes: list[tuple[Dim, ...]], axis: int) -> None:
        """Lets the parts of a concatenation share their loops, where they can: parts of equal width are one kernel."""
        slots: list[tuple[int, ...] | None] = [None] * (len(shapes[0]) - 1)
        for ref, shape in zip(parts, shapes, strict=True):
            rest = shape[:axis] + shape[axis + 1 :]
            self.align(slots, Ref(ref.value, ref.dims[:axis] + ref.dims[axis + 1 :]), rest, rest)

    def reduce(self, op: Op, ref: Ref, form: forms.Reduce, out: TensorType) -> Ref:
        over = tuple(a for axis in form.axes for a in ref.dims[axis])
        index = tuple(
            () if i in form.axes else x for i, x in enumerate(ref.dims) if form.keepdims or i not in form.axes
        )
        if form.kind in ("max", "min", "argmax", "argmin"):
            shape = self.shape(op.inputs[0])
            self.out.nonempty.append(
                NonEmpty(op.type, op.inputs[0], op.loc, d.product(tuple(shape[a] for a in form.axes)), out.size)
            )
        if form.kind in ("argmax", "argmin") and len(self.atoms.resolve(over)) > 1:
            ref = self.reread(ref, self.shape(op.inputs[0]))
            return self.reduce(op, ref, form, out)
        if over and self.reduced_along(ref.value, over) >= REDUCTION_LIMIT:
            self.refs[op.inputs[0]] = ref = self.reread(ref, self.shape(op.inputs[0]))
            return self.reduce(op, ref, form, out)
        value = ref.value
        if not over:  # only dimensions of size 1: the value itself, or index 0
            if form.kind in ("argmax", "argmin"):
                value = self.constant(0, out.dtype)
            return Ref(value, index)
        return Ref(self.value(Reduction(0, out.dtype, (value,), own=over, kind=form.kind, over=over)), index)

    def within(self, op: Op, x: Ref, form: forms.Within) -> Ref:
        variable, *masks = op.inputs
        if not masks:
            return Ref(self.checked(op, x, variable, 0, form), x.dims)
        (mask,) = masks
        where, shape = self.respelled(self.refs[mask], self.shape(mask), self.shape(variable))
        slots: list[tuple[int, ...] | None] = list(x.dims)
        if not self.align(slots, where, shape, self.shape(variable)):
            where = self.reread(where, shape)
            if not self.align(slots, where, shape, self.shape(variable)):
                raise UnsupportedError(f"{op.type}: the mask has no common loop with its operand", where=op.loc)
        dims: Dims = tuple(s if s is not None else () for s in slots)
        inside = self.constant(min(max(0.0, form.low), form.high), x.value.dtype)
        tested = Ref(self.call("select", (where.value, x.value, inside), x.value.dtype), dims)
        checked = self.checked(op, tested, variable, 0, form)
        return Ref(self.call("select", (where.value, checked, x.value), x.value.dtype), dims)

    def checked(self, op: Op, ref: Ref, variable: str, limit: Dim, interval: forms.Within | None = None) -> Value:
        shape = self.shape(variable)
        known = ("check", ref.value.id, limit, interval)
        if known not in self._shared:
            strides = [
                p for x, step in zip(ref.dims, row_major(shape), strict=True) for p in spread(self.atoms, x, step)
            ]
            source = origin(self.written, variable)
            site = Site(
                op_text(op, self.written.types), source, op.loc, limit, self.shape(source), tuple(strides), interval
            )  # fmt: skip
            self.out.sites.append(site)
            self.value(Checked(0, ref.value.dtype, (ref.value,), site=site), known)
        return self._shared[known]

    def pick(self, op: Op, form: forms.Pick | forms.Gather, out: TensorType) -> Ref:
        x, index = self.refs[op.inputs[0]], self.refs[op.inputs[1]]
        shape, index_shape = self.shape(op.inputs[0]), self.shape(op.inputs[1])
        axis = form.axis if isinstance(form, forms.Pick) else 0
        if isinstance(form, forms.Pick):
            slots: list[tuple[int, ...] | None] = list(x.dims[:axis] + x.dims[axis + 1 :])
            rest = shape[:axis] + shape[axis + 1 :]
            index, index_shape = self.respelled(index, index_shape, rest)
            if not self.align(slots, index, index_shape, rest):
                index = self.reread(index, index_shape)
                if not self.align(slots, index, index_shape, rest):
                    raise UnsupportedError(f"{op.type}: the index has no common loop with its operand", where=op.loc)
            dims: Dims = tuple(s if s is not None else () for s in slots)
        else:
            if set(self.atoms.resolve(x.atoms)) & set(self.atoms.resolve(index.atoms)):
                index = self.reread(index, index_shape)
            dims = index.dims + x.dims[1:]
            self.atoms.meet(a for y in dims for a in y)
        checked = self.checked(op, index, op.inputs[1], shape[axis])
        atoms = self.atoms.resolve(x.dims[axis])
        if len(atoms) > 1:  # the axis is several axes of what is stored: an index needs it to be one
            x, dims = self.indexable(op, form, self.read(self.materialise(x, shape), shape), index, dims, out)
            atoms = self.atoms.resolve(x.dims[axis])
        if not atoms:  # a single class: the check is all that is left
            value = self.call("select", (self.call("eq", (checked, checked), "bool"), x.value, x.value), x.value.dtype)
            return Ref(value, dims)
        picked = reindex(self, x.value, atoms[0], checked)
        if picked is None:
            again, dims = self.indexable(op, form, self.reread(x, shape), index, dims, out)
            picked = reindex(self, again.value, self.atoms.resolve(again.dims[axis])[0], checked)
            if picked is None:
                raise UnsupportedError(f"{op.type}: a stored operand cannot be indexed", where=op.loc)
        return Ref(picked, dims)

    def indexable(
        self, op: Op, form: forms.Pick | forms.Gather, x: Ref, index: Ref, dims: Dims, out: TensorType
    ) -> tuple[Ref, Dims]:
        """`x`, read anew, in the loops of the result; and the result's dimensions."""
        if isinstance(form, forms.Gather):
            dims = index.dims + x.dims[1:]
            self.atoms.meet(a for y in dims for a in y)
            return x, dims
        slots: list[tuple[int, ...] | None] = list(dims)
        shape = self.shape(op.inputs[0])
        kept = Ref(x.value, x.dims[: form.axis] + x.dims[form.axis + 1 :])
        if not self.align(slots, kept, shape[: form.axis] + shape[form.axis + 1 :], out.shape):
            raise UnsupportedError(f"{op.type}: the operand has no common loop with the index", where=op.loc)
        return x, dims
