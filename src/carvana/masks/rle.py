"""Run-length code as Kaggle defines it: row-major, pixels numbered from 1, `start length start length …`.

`Runs` hold the code as numbers: int32 [n, 2], one run (start, length) in each row, the start counted from 1, in order
and without overlap. Predictions are stored as runs, and Dice is computed from them.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Runs = NDArray[np.int32]

_MOST_DIGITS = 18  # of a number: more may not fit into an int64


def to_runs(mask: NDArray[np.generic]) -> Runs:
    """Returns the runs of the non-zero pixels of `mask` [height, width], of any number type or bool."""
    padded = np.zeros(mask.size + 2, dtype=np.bool_)
    np.not_equal(mask.reshape(-1), 0, out=padded[1:-1])
    edges = np.flatnonzero(padded[1:] != padded[:-1]).astype(np.int32)
    starts, ends = edges[0::2], edges[1::2]
    return np.stack([starts + 1, ends - starts], axis=1)


def to_mask(runs: Runs, height: int, width: int) -> NDArray[np.uint8]:
    """Returns a mask uint8 [height, width] of {0, 1}; the inverse of `to_runs`."""
    mask = np.zeros(height * width, dtype=np.uint8)
    # A car has about a thousand runs: to fill as many slices is ten times faster than a pass over all pixels.
    for start, length in runs.tolist():
        mask[start - 1 : start - 1 + length] = 1
    return mask.reshape(height, width)


def to_text(runs: Runs) -> bytes:
    """Returns ASCII bytes `start length start length …`, empty if there are no runs."""
    words = pa.array(np.ascontiguousarray(runs).reshape(-1)).cast(pa.string())
    # In less than half of the time of a join in Python.
    joined = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(words)], pa.int32()), words), " ")
    return joined[0].as_py().encode("ascii")


def from_text(text: str, height: int, width: int) -> Runs:
    """Returns the runs of a text. Raises ValueError unless it is pairs of numbers that `check` accepts."""
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not a text; pandas reads an empty mask as NaN, unless keep_default_na=False")  # noqa: TRY004
    words = text.split()
    digits = "".join(words)
    if digits and not (digits.isascii() and digits.isdigit()):
        word = next(word for word in words if not (word.isascii() and word.isdigit()))
        raise ValueError(f"{word[:40]!r} is not a positive whole number")
    if len(words) % 2:
        raise ValueError(f"{len(words)} numbers; starts and lengths must come in pairs")
    if max(map(len, words), default=0) > _MOST_DIGITS:
        raise ValueError(f"a number is larger than the picture's {height * width} pixels")
    runs = np.array(words, dtype=np.int64).reshape(-1, 2)
    check(runs, height, width)
    return runs.astype(np.int32)


def check(runs: NDArray[np.integer], height: int, width: int) -> None:
    """Raises ValueError unless `runs` [n, 2] are the code of a mask of `height` × `width`.

    That is, for a start or a length below 1, a run that leaves the picture, and runs out of order or overlapping.
    """
    starts, lengths = runs.T.astype(np.int64)
    ends = starts + lengths
    for wrong, what in (
        (starts < 1, "has a start below 1"),
        (lengths < 1, "has a length below 1"),
        (ends - 1 > height * width, f"leaves the picture of {height * width} pixels"),
        (starts < np.append(1, ends)[:-1], "is out of order or overlaps the one before"),
    ):
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(f"run {row + 1} ({starts[row]} {lengths[row]}) {what}")
