"""Run lists by photo as Parquet: predictions in some 100 shards of whole cars, and the true ones beside the cache.

Columns: `image` (string, the photo's name), `starts` and `lengths` (list<int32>, Kaggle's runs at 1918×1280,
starts counted from 1). `pandas.read_parquet("data/predictions/000.parquet")` shows one.
"""

from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from carvana.archive import car_of
from carvana.errors import UserError
from carvana.rle import Runs
from carvana.work import whole_file

# DVC's cost is per file: with 100 of them every command stays under a second, with 100,000 it takes minutes.
SHARDS = 100

_SCHEMA = pa.schema([("image", pa.string()), ("starts", pa.list_(pa.int32())), ("lengths", pa.list_(pa.int32()))])


def plan(photos: list[str], shards: int = SHARDS) -> list[list[str]]:
    """The photos of every shard: whole cars, at most `shards` lists of near equal numbers of cars."""
    cars = [list(group) for _, group in groupby(sorted(photos), key=car_of)]
    count = min(shards, len(cars))
    bounds = [i * len(cars) // count for i in range(count + 1)] if count else []
    return [[photo for car in cars[a:b] for photo in car] for a, b in pairwise(bounds)]


def path_of(folder: Path, number: int) -> Path:
    """The file of a shard's number."""
    return folder / f"{number:03d}.parquet"


def write(path: Path, photos: list[str], runs: list[Runs]) -> None:
    """Writes one shard."""
    offsets = pa.array(np.cumsum([0, *map(len, runs)]), pa.int32())
    joined = np.concatenate(runs) if runs else np.empty((0, 2), np.int32)
    columns = [pa.ListArray.from_arrays(offsets, pa.array(joined[:, side])) for side in (0, 1)]
    table = pa.Table.from_arrays([pa.array(photos, pa.string()), *columns], schema=_SCHEMA)
    with whole_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_names(path: Path) -> list[str]:
    """The photos of a shard, without its runs."""
    return _table(path, ["image"])["image"].to_pylist()


def read(path: Path) -> Iterator[tuple[str, Runs]]:
    """Photos and runs of a shard, in the order in which they were written."""
    table = _table(path, None).combine_chunks()
    starts, lengths = (table[name].chunk(0) if table.num_rows else [] for name in ("starts", "lengths"))
    for row, photo in enumerate(table["image"].to_pylist()):
        yield photo, np.stack([starts[row].values.to_numpy(), lengths[row].values.to_numpy()], axis=1)


def _table(path: Path, columns: list[str] | None) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns, schema=_SCHEMA)
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"{path} is not a whole file of runs ({error}); `dvc repro -f` of its stage makes it again"
        ) from error
