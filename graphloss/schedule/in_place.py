"""Whether a kernel may write one buffer over another that it reads."""

from __future__ import annotations

from graphloss.ir import dims as d
from graphloss.ir.dims import Dim
from graphloss.schedule.kernel import Buffer, IndexedLoad, Keep, Kernel, Level, Load, Store, Tile


def overwrites(kernel: Kernel, written: str, read: str) -> bool:
    """Whether `written` may lie in the memory of `read`, a buffer of the same rows: no element is read after the kernel
    wrote to its place.

    That is so if all writes go through one access, the reads that come in the same pass go through the same one and
    stand before the write, and no read comes in a later pass. Each row of the kernel, or lane or chunk of it, goes
    through all passes before the next one: no read may leave its own.
    """
    if kernel.tile == Tile.LANES_ARE_ROWS:
        return False
    buffers = {b.name: b for b in kernel.buffers}
    if buffers[written].dtype != buffers[read].dtype:
        return False
    stores = [
        (i, n, n.action.access)
        for i, n in enumerate(kernel.nodes)
        if isinstance(n.action, (Store, Keep)) and n.action.access.buffer == written
    ]
    if not stores or any(n.level is not Level.ELEMENT for _, n, _ in stores):
        return False
    places = {(a.offset, a.strides) for _, _, a in stores}
    if len(places) != 1:
        return False
    first = min(n.at[0] for _, n, _ in stores)
    position = min(i for i, n, _ in stores if n.at[0] == first)
    for i, node in enumerate(kernel.nodes):
        action = node.action
        if not isinstance(action, (Load, IndexedLoad)) or action.access.buffer != read:
            continue
        if not node.at or node.at[-1] > first or not _stays(kernel, action, buffers[written], places):
            return False
        # row-level nodes come before the loop of their pass
        if node.level is not Level.ROW and node.at[-1] == first and not _same(action, places, i < position):
            return False
    return True


def _stays(
    kernel: Kernel, action: Load | IndexedLoad, written: Buffer, places: set[tuple[Dim, tuple[Dim, ...]]]
) -> bool:
    """Whether a read stays in the row, lane or chunk of elements that the write at the same position is in."""
    if kernel.split_row or kernel.row is None:
        return _same(action, places, before=True)
    ((offset, strides),) = places
    if kernel.tile == Tile.ROWS and len(kernel.outer) == 1 and strides[0] == d.product(written.shape[1:]):
        return True  # a row of the kernel is one of the buffer
    row, own = kernel.row_axis, action.access.strides
    across = [s for axis, s in enumerate(strides) if axis != row]
    if action.access.offset != offset or [s for axis, s in enumerate(own) if axis != row] != across:
        return False
    return own[row] in (0, strides[row]) and (isinstance(action, Load) or action.stride == strides[row])


def _same(action: Load | IndexedLoad, places: set[tuple[Dim, tuple[Dim, ...]]], before: bool) -> bool:
    access = action.access
    return isinstance(action, Load) and before and (access.offset, access.strides) in places
