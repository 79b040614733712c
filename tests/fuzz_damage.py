"""Ways to damage a file, drawn at random; see tests/fuzz.py."""

import random
import re

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
