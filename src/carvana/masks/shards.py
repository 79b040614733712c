"""Run lists by photo as Parquet: predictions in some 100 shards of whole cars, and the true runs in the cache.

Columns: `image` (string, the photo's name), `starts` and `lengths` (list<int32>, Kaggle's runs at 1918×1280,
starts counted from 1). `pandas.read_parquet("data/predictions/000.parquet")` shows one. The file's metadata has a
SHA-256 of all three columns, which every reader verifies.
"""

import hashlib
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from carvana.base.errors import UserError, reading
from carvana.base.files import whole_file
from carvana.competition import car_of
from carvana.masks.rle import Runs

# DVC's time grows with the number of files: with 100 a command takes under a second, with 100,000 up to minutes.
SHARDS = 100

_DIGEST = b"sha256"
_MOST_BYTES = 2**29  # the cache of Kaggle's 5,088 training photos has 26 million
_NAMES = "image"
_AGAIN = "`dvc repro -f` of its stage makes it again"
_SCHEMA = pa.schema([(_NAMES, pa.string()), ("starts", pa.list_(pa.int32())), ("lengths", pa.list_(pa.int32()))])


def plan(photos: list[str], shards: int = SHARDS) -> list[list[str]]:
    """Returns the photos of every shard: at most `shards` lists of whole cars, of nearly equal numbers of cars."""
    cars = [list(group) for _, group in groupby(sorted(photos), key=car_of)]
    count = min(shards, len(cars))
    bounds = [i * len(cars) // count for i in range(count + 1)] if count else []
    return [[photo for car in cars[a:b] for photo in car] for a, b in pairwise(bounds)]


def path_of(folder: Path, number: int) -> Path:
    """Returns the path of a shard by its number."""
    return folder / f"{number:03d}.parquet"


def write(path: Path, photos: list[str], runs: list[Runs]) -> None:
    """Writes one shard: the photos' names and their runs."""
    offsets = pa.array(np.cumsum([0, *map(len, runs)]), pa.int32())
    joined = np.concatenate(runs) if runs else np.empty((0, 2), np.int32)
    columns = [pa.ListArray.from_arrays(offsets, pa.array(joined[:, side])) for side in (0, 1)]
    table = pa.Table.from_arrays([pa.array(photos, pa.string()), *columns], schema=_SCHEMA)
    table = table.replace_schema_metadata({_DIGEST: _digest(table)})
    with whole_file(path) as temporary:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            use_dictionary=False,
            # A third of the bytes of plain numbers, in half the time, because adjacent rows of pixels differ little.
            column_encoding={f"{name}.list.element": "DELTA_BINARY_PACKED" for name in ("starts", "lengths")},
        )


def is_whole(path: Path, photos: list[str]) -> bool:
    """Returns whether a shard exists, is undamaged, and holds these photos."""
    try:
        return read_names(path) == photos
    except UserError:
        return False


def read_names(path: Path) -> list[str]:
    """Returns the photos of a shard. Raises UserError if it is damaged."""
    return _verified_table(path)[_NAMES].to_pylist()


def read(path: Path, advice: str = _AGAIN) -> Iterator[tuple[str, Runs]]:
    """Yields photos and runs of a shard, as written. Raises UserError, which ends in `advice`, if it is damaged."""
    table = _verified_table(path, advice)
    starts, lengths = (table[name].combine_chunks() for name in ("starts", "lengths"))
    runs = np.stack([starts.flatten(), lengths.flatten()], axis=1)
    offsets = np.cumsum([0, *starts.value_lengths().to_numpy()])
    for photo, (first, end) in zip(table[_NAMES].to_pylist(), pairwise(offsets), strict=True):
        yield photo, runs[first:end]


def _verified_table(path: Path, advice: str = _AGAIN) -> pa.Table:
    with reading(path, "is not an intact file of runs", advice):
        with pq.ParquetFile(path) as file:
            # What the file declares, before memory is taken for it.
            groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
            size, rows = sum(group.total_byte_size for group in groups), file.metadata.num_rows
            if max(size, rows) > _MOST_BYTES:
                raise ValueError(f"it would take {size} bytes for {rows} rows; the limit is {_MOST_BYTES}")
            if not file.schema_arrow.equals(_SCHEMA):
                raise ValueError(f"its columns are {', '.join(file.schema_arrow.names)}")
            table = file.read()
        if (table.schema.metadata or {}).get(_DIGEST) != _digest(table):
            raise ValueError("its content does not match its checksum")
        starts, lengths = (table[name].combine_chunks().value_lengths() for name in table.column_names[1:])
        if not starts.equals(lengths):
            raise ValueError("it has not as many lengths as starts")
        return table


def _digest(table: pa.Table) -> bytes:
    # Raises an exception if there is a NULL: join takes no None, and to_numpy makes no copy.
    digest = hashlib.sha256("\n".join(table[_NAMES].to_pylist()).encode())
    for name in table.column_names[1:]:
        column = table[name].combine_chunks()
        digest.update(column.value_lengths().to_numpy())
        digest.update(column.flatten().to_numpy())
    return digest.hexdigest().encode()
