"""Dice for each of several thresholds, in one pass over the logits."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from carvana.masks.fullsize import Axis, Floats, axis
from carvana.masks.metrics import Overlap

THRESHOLDS = tuple(round(percent / 100, 2) for percent in range(10, 91, 5))
HALF = THRESHOLDS.index(0.5)


def overlaps(logits: Floats, mask: NDArray[np.uint8], at_half: Overlap) -> list[Overlap]:
    """Returns the overlap at full size for each of THRESHOLDS.

    Logits [height, width] are interpolated as in `fullsize.runs_of_logits`, `mask` uint8 [1280, 1918] of {0, 1} is the
    truth, and `at_half` is the overlap for the threshold 0.5. Only pixels on which the thresholds may disagree are
    counted: all others are in `at_half`.
    """
    share = np.array(THRESHOLDS)
    levels = np.log(share / (1 - share)).astype(np.float32)
    tally = np.zeros((len(levels) + 1, 2), np.int64)
    values = np.ascontiguousarray(logits, np.float32)
    _tally(values, mask, axis(values.shape[0], mask.shape[0]), axis(values.shape[1], mask.shape[1]), levels, tally)
    # From the highest down: what exceeds a threshold exceeds all below it.
    above = tally[:0:-1].cumsum(axis=0)[::-1]
    more = above - above[HALF]
    return [
        Overlap(at_half.predicted + int(added + both), at_half.true, at_half.both + int(both)) for added, both in more
    ]


@njit(nogil=True, cache=True)
def _tally(
    values: Floats, mask: NDArray[np.uint8], rows: Axis, columns: Axis, levels: Floats, tally: NDArray[np.int64]
) -> None:
    """Adds to `tally` [levels exceeded, truth] the pixels of all cells on which the levels may disagree."""
    height, width = values.shape
    first_row, _, row_weight = rows
    first_column, _, column_weight = columns
    cells = np.empty(width, np.int32)
    exceeded = 0
    for row in range(height):
        above, below = values[row], values[min(row + 1, height - 1)]
        found = _find_unsure(above, below, levels[0], levels[-1], cells)
        for y in range(first_row[row], first_row[row + 1]):
            weight = row_weight[y]
            rest = np.float32(1) - weight
            for cell in cells[:found]:
                right = min(cell + 1, width - 1)
                a, b, c, d = above[cell], above[right], below[cell], below[right]
                for x in range(first_column[cell], first_column[cell + 1]):
                    across = column_weight[x]
                    back = np.float32(1) - across
                    # The operations of `fullsize`, in its order: rounding must be the same.
                    value = rest * (back * a + across * b) + weight * (back * c + across * d)
                    # The search starts at the neighbour's level, which is near.
                    while exceeded < len(levels) and value > levels[exceeded]:
                        exceeded += 1
                    while exceeded and value <= levels[exceeded - 1]:
                        exceeded -= 1
                    tally[exceeded, mask[y, x]] += 1


@njit(nogil=True, cache=True)
def _find_unsure(above: Floats, below: Floats, lowest: float, highest: float, cells: NDArray[np.int32]) -> int:
    """Writes to `cells` the cells between two rows of logits that some level may divide; returns their number."""
    width = len(above)
    found = 0
    for cell in range(width):
        right = min(cell + 1, width - 1)
        a, b, c, d = above[cell], above[right], below[cell], below[right]
        if (a > lowest or b > lowest or c > lowest or d > lowest) and not (
            a > highest and b > highest and c > highest and d > highest
        ):
            cells[found] = cell
            found += 1
    return found
