"""From logits at network size to runs at full size, without a mask in between.

A pixel of a bilinear enlargement is a weighted mean of four logits, the corners of its cell. Where those have one sign,
so has every pixel of the cell. Only the cells that the outline runs through need arithmetic; a run can begin or end in
them, or where they end, and nowhere else.
"""

import functools
import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from carvana.competition import HEIGHT, WIDTH
from carvana.errors import UserError
from carvana.masks import rle

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]
Signs = NDArray[np.uint8]
Axis = tuple[Ints, Ints, Floats]

_FEW_EDGES = 2**13  # room for those of an ordinary mask


def runs_of_logits(logits: Floats, threshold: float) -> rle.Runs:
    """Runs at 1918×1280 of where the probability exceeds `threshold`.

    Logits [height, width], less the threshold's, are interpolated bilinearly between pixel centres (torch's
    `interpolate(mode="bilinear", align_corners=False)` in float32) and compared with 0 at full size: hardening them
    at network size would cost 0.2 to 0.5 % of Dice. Every pixel is as torch has it, but for those whose value is 0
    to float32's rounding: those may fall to either side. Raises UserError where a logit is not finite.
    """
    level = np.float32(math.log(threshold / (1 - threshold)))
    values = np.ascontiguousarray(logits, np.float32)
    if level:
        values = values - level
    height, width = values.shape
    edges, finite = _edges(values, axis(height, HEIGHT), axis(width, WIDTH))
    if not finite:
        raise UserError("the network's output is not finite; its training has diverged: lower train.learning_rate")
    runs = edges.reshape(-1, 2)
    runs[:, 1] -= runs[:, 0]
    runs[:, 0] += 1
    return runs


@functools.cache
def axis(count: int, full: int) -> Axis:
    """Of `full` pixels over `count` logits: every cell's first pixel [count + 1], every pixel's cell and weight [full].

    Cell c lies between logits c and c + 1, the last one beyond the last logit; the weight is that of c + 1. Where
    there are fewer pixels than logits, a cell may have none.
    """
    scale = np.float32(count) / np.float32(full)
    # Rounded once, as the fused multiply-add of torch's compiler does.
    place = np.maximum(np.float64(scale) * (np.arange(full) + 0.5) - 0.5, 0).astype(np.float32)
    cell = np.minimum(place.astype(np.int32), count - 1)
    weight = np.clip(place - cell.astype(np.float32), 0, 1)
    return np.searchsorted(cell, np.arange(count + 1)).astype(np.int32), cell, weight


@njit(nogil=True, cache=True)
def _edges(values: Floats, rows: Axis, columns: Axis) -> tuple[Ints, bool]:
    """Places in row-major order at which a run begins or ends, by turns; and whether all values are finite."""
    height, width = values.shape
    first_row, _, row_weight = rows
    full_width = len(columns[2])
    upper = np.empty(width + 1, np.uint8)
    lower = np.empty(width + 1, np.uint8)
    mixed = np.zeros((width + 7) // 8 * 8, np.uint8)
    cells = np.empty(width, np.int32)
    edges = np.empty(_FEW_EDGES + full_width, np.int32)
    count = 0
    finite = _take_signs(values[0], lower)
    for row in range(height):
        upper, lower = lower, upper
        below = min(row + 1, height - 1)
        finite &= _take_signs(values[below], lower)
        if first_row[row] == first_row[row + 1]:
            continue
        found = _find_mixed(upper, lower, mixed, cells)
        for y in range(first_row[row], first_row[row + 1]):
            if count + full_width > len(edges):
                longer = np.empty(2 * len(edges), np.int32)
                longer[:count] = edges[:count]
                edges = longer
            pair = (values[row], values[below], row_weight[y])
            count = _scan_row(y * full_width, pair, upper, cells[:found], columns, edges, count)
    if count % 2:
        edges[count] = full_width * len(row_weight)
        count += 1
    return edges[:count], finite


@njit(nogil=True, cache=True)
def _take_signs(values: Floats, signs: Signs) -> bool:
    """Fills `signs` with 1 where a value is above 0, the last one twice; gives whether all values are finite.

    Twice, because the cell beyond the last logit has nothing to its right.
    """
    nothing = np.float32(0)
    for x in range(len(values)):
        signs[x] = values[x] > 0
        # 0 for finite values; for others not a number, and so is the sum from there on.
        nothing += values[x] - values[x]
    signs[len(values)] = signs[len(values) - 1]
    return nothing == 0


@njit(nogil=True, cache=True)
def _find_mixed(upper: Signs, lower: Signs, mixed: Signs, cells: Ints) -> int:
    """Writes the cells between two rows of signs whose corners differ to `cells`, and gives their number."""
    width = len(upper) - 1
    for x in range(width):
        mixed[x] = (upper[x] ^ upper[x + 1]) | (upper[x] ^ lower[x]) | (lower[x] ^ lower[x + 1])
    eights = mixed.view(np.uint64)
    found = 0
    for eight in range(len(eights)):
        if eights[eight]:
            for x in range(eight * 8, min(eight * 8 + 8, width)):
                if mixed[x]:
                    cells[found] = x
                    found += 1
    return found


@njit(nogil=True, cache=True)
def _scan_row(
    start: int, pair: tuple[Floats, Floats, float], signs: Signs, mixed: Ints, columns: Axis, edges: Ints, count: int
) -> int:
    """Adds the edges of a row of pixels that begins at `start` to `edges`, of which there are `count`; their number.

    `pair` is the logits above and below and the weight of the latter; `signs` are of those above. Outside of the
    mixed cells a pixel has the sign of its cell's corners, any of them.
    """
    above, below, weight = pair
    first_column, column_cell, column_weight = columns
    width = len(above)
    rest = np.float32(1) - weight
    inside = count % 2
    end = 0
    for number in range(len(mixed) + 1):
        cell = mixed[number] if number < len(mixed) else width
        if first_column[cell] > end and signs[column_cell[end]] != inside:
            inside ^= 1
            edges[count] = start + end
            count += 1
        if cell == width:
            break
        right = min(cell + 1, width - 1)
        a, b, c, d = above[cell], above[right], below[cell], below[right]
        end = first_column[cell + 1]
        for x in range(first_column[cell], end):
            across = column_weight[x]
            back = np.float32(1) - across
            # In torch's order.
            value = rest * (back * a + across * b) + weight * (back * c + across * d)
            if (value > 0) != inside:
                inside ^= 1
                edges[count] = start + x
                count += 1
    return count
