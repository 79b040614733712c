"""Reads files that are damaged at random: `PYTHONPATH=src:. python tests/fuzz.py SEED FIRST COUNT [READER …]`.

Every reader of the library has an entry in READERS (tests/fuzz_readers.py). A damaged file must end in a UserError that
names it or, where nothing notices the damage, in what a valid file may hold; behind a checksum, in what the file held
before. Everything else fails: another exception, more than a gigabyte, more than ten seconds. A failure is read again
alone by its seed, its number and its reader: `0 37 1 archive`.
"""

import json
import os
import random
import re
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import Any

import torch
from fuzz_readers import READERS, VARIES

from carvana.base.errors import UserError

GIGABYTE = 2**30
SECONDS = 10  # for one file


EXTREMES = [
    *(b"0 -1 1.5 1e999 -1e308 nan .inf true null 2147483648 18446744073709551616 2020-13-45".split()),
    *(b"!!timestamp x|!!bool x|&a [*a]|[[|{}|\xff|\x00|\xc3\x97".split(b"|")),
    b"9" * 30,
    b"9" * 5000,
    b"[" * 2000,
    b"",
]


def damage(data: bytes, random_: random.Random, others: list[bytes]) -> bytes:
    """Damages a file in one way, or in two."""
    for _ in range(random_.choice([1, 1, 1, 2])):
        data = random_.choice(WAYS)(data, random_, others)
    return data


def place(data: bytes, random_: random.Random) -> int:
    """A place in a file, every second time near its beginning or its end, where the headers are."""
    if random_.random() < 0.5 or len(data) < 400:
        return random_.randrange(len(data) + 1)
    return random_.choice([random_.randrange(200), len(data) - random_.randrange(200)])


def block(data: bytes, random_: random.Random) -> slice:
    start = place(data, random_)
    return slice(start, min(start + int(2 ** random_.uniform(0, 10)), len(data)))


def flip(data: bytes, random_: random.Random, others: list[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(random_.choice([1, 1, 2, 8])):
        if changed:
            changed[min(place(data, random_), len(data) - 1)] ^= 1 << random_.randrange(8)
    return bytes(changed)


def truncate(data: bytes, random_: random.Random, others: list[bytes]) -> bytes:
    return data[: place(data, random_)]


def replace_block(data: bytes, random_: random.Random, others: list[bytes]) -> bytes:
    """Deletes, doubles or fills a block, or adds noise or a part of another file to it."""
    part, other = block(data, random_), random_.choice(others)
    length = part.stop - part.start
    added = [data[part], random_.randbytes(length), other[block(other, random_)]]
    instead = [b"", b"\0" * length, b"\xff" * length, *(data[part] + each for each in added)]
    return data[: part.start] + random_.choice(instead) + data[part.stop :]


def replace_number(data: bytes, random_: random.Random, others: list[bytes]) -> bytes:
    """Another value for a number in a text, or four bytes that may be a length."""
    numbers = list(re.finditer(rb"-?\d+(\.\d+)?", data))
    if numbers and random_.random() < 0.8:
        number = random_.choice(numbers)
        return data[: number.start()] + random_.choice(EXTREMES) + data[number.end() :]
    at = place(data, random_)
    return data[:at] + random_.choice([b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\0" * 4]) + data[at + 4 :]


def other_file(data: bytes, random_: random.Random, others: list[bytes]) -> bytes:
    return random_.choice(others)


# Some are drawn more often than others.
WAYS = [flip] * 3 + [replace_block] * 4 + [replace_number] * 2 + [truncate, other_file]


class Late(BaseException):
    """No Exception, which a reader would turn into a message."""


def late(number: int, frame: object) -> None:
    raise Late(f"took more than {SECONDS} seconds")


def peak() -> int:
    # Of this process alone: `ru_maxrss` begins with what its parent took.
    return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) * 1024


def fuzz(name: str, path: Path, others: list[bytes], seed: int, numbers: range) -> dict[str, Any]:
    """The number of damaged files of a reader that were read and that were refused, and what failed."""
    reader = READERS[name]
    data, expected = path.read_bytes(), reader.read(path)
    result: dict[str, Any] = {"reader": name, "read": len(numbers), "refused": 0, "failures": []}
    before = peak()
    for number in numbers:
        changed = damage(data, random.Random(f"{seed} {name} {number}"), others)
        path.unlink(missing_ok=True)
        path.write_bytes(changed)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            if reader.read(path) != expected and reader.checksum:
                result["failures"].append(f"{number}: other content behind a checksum")
        except UserError as error:
            result["refused"] += 1
            if path.name not in str(error) and str(path.parent) not in str(error):
                result["failures"].append(f"{number}: does not name the file: {error}")
        except (Exception, Late):
            result["failures"].append(f"{number}: {traceback.format_exc()}")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if peak() > before + GIGABYTE:
            result["failures"].append(f"{number}: took more than a gigabyte")
            before = peak()
    return result


def main(names: list[str], seed: int, numbers: range) -> int:
    """Prints a line of JSON for each reader; 1 if one of them failed."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, late)
    # Far more than a reader may take: only so that a failure does not take the machine's memory.
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + 6 * GIGABYTE, resource.getrlimit(resource.RLIMIT_AS)[1]))
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        paths = {}
        for number, (name, reader) in enumerate(READERS.items()):
            paths[name] = Path(temporary) / str(number) / reader.name
            paths[name].parent.mkdir(parents=True)
            reader.make(paths[name])
        others = [path.read_bytes() for name, path in paths.items() if name != VARIES]
        for name in names:
            print(f"reading {name}", file=sys.stderr, flush=True)
            result = fuzz(name, paths[name], others, seed, numbers)
            failed |= bool(result["failures"])
            print(json.dumps(result), flush=True)
    return int(failed)


if __name__ == "__main__":
    seed, first, count = map(int, sys.argv[1:4])
    sys.exit(main(sys.argv[4:] or list(READERS), seed, range(first, first + count)))
