"""Whether a kernel may write one buffer over another that it reads."""

from __future__ import annotations

from graphloss.ir.dims import Dim
from graphloss.schedule.kernel import IndexedLoad, Keep, Kernel, Level, Load, Store, Tile


def overwrites(kernel: Kernel, written: str, read: str) -> bool:
    """Whether `written` may lie in the memory of `read`, a buffer of the same rows: no element is read after the kernel
    wrote to its place.

    That is so if all writes go through one access, the reads that come in the same pass go through the same one and
    stand before the write, and no read comes in a later pass. Where a row is cut into lanes or chunks, each of which
    goes through all passes, no read may leave its own.
    """
    if kernel.tile == Tile.LANES_ARE_ROWS:
        return False
    sizes = {b.name: b.dtype for b in kernel.buffers}
    if sizes[written] != sizes[read]:
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
        if not node.at or node.at[-1] > first or not _stays(kernel, action, places):
            return False
        # row-level nodes come before the loop of their pass
        if node.level is not Level.ROW and node.at[-1] == first and not _same(action, places, i < position):
            return False
    return True


def _stays(kernel: Kernel, action: Load | IndexedLoad, places: set[tuple[Dim, tuple[Dim, ...]]]) -> bool:
    """Whether a read stays in the lane, or the chunk of elements, that the write at the same position is in."""
    if kernel.split_row:
        return _same(action, places, before=True)
    if kernel.tile != Tile.COLUMNS:
        return True
    ((offset, strides),) = places
    row = kernel.row_axis
    across = [s for axis, s in enumerate(strides) if axis != row]
    if action.access.offset != offset or [s for axis, s in enumerate(action.access.strides) if axis != row] != across:
        return False
    return isinstance(action, Load) or action.stride == strides[row]


def _same(action: Load | IndexedLoad, places: set[tuple[Dim, tuple[Dim, ...]]], before: bool) -> bool:
    access = action.access
    return isinstance(action, Load) and before and (access.offset, access.strides) in places
