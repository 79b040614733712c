"""Names of the cars: ids, makes and models as in Kaggle's metadata."""

from dataclasses import dataclass

import numpy as np

from demo_studio.cars import car_generator, draw_car

FIRST_TEST_CAR = 1_000_000
"""Number of the first test car, so that test cars are the same for any number of train cars."""

ALL_VIEWS = tuple(range(1, 17))

MODELS = {
    "Aldane": {"sedan": "Corvid", "coupe": "Corvid Sport", "suv": "Tundral", "convertible": "Breva"},
    "Brightwell": {"sedan": "B4", "wagon": "B4 Estate", "suv": "X-Ridge", "hatchback": "B2"},
    "Kestrel": {"sedan": "Merlin", "hatchback": "Hobby", "coupe": "Peregrine", "pickup": "Harrier"},
    "Noribashi": {"sedan": "Sora", "hatchback": "Mame", "van": "Hako", "suv": "Yama 4x4"},
    "Ostmark": {"sedan": "300", "coupe": "C30", "convertible": "R30", "wagon": "300 T"},
    "Rancher": {"pickup": "Longhorn 1500", "suv": "Prairie", "van": "Homestead", "sedan": "Plainsman"},
}
"""Invented makes, each with models for some kinds of body."""

Fields = tuple[str, str, str, str, str]

TRIMS = ("Base", "LX", "Sport", "Limited", "2.5i Premium", "w/Tech Pkg")


@dataclass(frozen=True)
class Entry:
    """One car of a set.

    Attributes:
        id: 12 hexadecimal digits.
        number: of the car in the world of the seed.
        views: numbers of its photos, 1..16, rising.
        fields: year, make, model, trim1, trim2; empty if unknown.
    """

    id: str
    number: int
    views: tuple[int, ...]
    fields: Fields


def _draw_id(place: int, generator: np.random.Generator) -> str:
    """Returns an id; every sixth is all digits, and every sixth looks like a number with an exponent."""
    digits = "".join(str(digit) for digit in generator.integers(0, 10, 12))
    if place % 6 == 1:
        return "0" + digits[1:]
    if place % 6 == 2:
        cut = 9 + int(generator.integers(0, 2))
        return digits[:cut] + "e" + digits[cut + 1 :]
    return "".join(f"{digit:x}" for digit in generator.integers(0, 16, 12))


def _draw_fields(seed: int, place: int, number: int, generator: np.random.Generator) -> Fields:
    body = draw_car(seed, number).body
    make = str(generator.choice([make for make, models in MODELS.items() if body in models]))
    model, year = MODELS[make][body], str(generator.integers(2009, 2017))
    trim = str(generator.choice(TRIMS))
    if place % 10 == 7:
        return "", "", "", model, trim
    if place % 10 == 4:
        return year, make, model, "", ""
    return year, make, model, model, trim


def entries(seed: int, train_cars: int, test_cars: int) -> tuple[list[Entry], list[Entry]]:
    """Returns the train cars and the test cars of a set, each sorted by id; every id is unique."""
    taken: set[str] = set()

    def entry(place: int, number: int, views: tuple[int, ...]) -> Entry:
        generator = car_generator(seed, number, 100)
        fields = _draw_fields(seed, place, number, generator)
        name = _draw_id(place, generator)
        while name in taken:
            name = _draw_id(place, generator)
        taken.add(name)
        return Entry(name, number, views, fields)

    train = [entry(k, k, ALL_VIEWS[8:] if k % 20 == 13 else ALL_VIEWS) for k in range(train_cars)]
    test = [entry(k, FIRST_TEST_CAR + k, ALL_VIEWS) for k in range(test_cars)]
    return sorted(train, key=lambda car: car.id), sorted(test, key=lambda car: car.id)


def metadata_csv(cars: list[Entry]) -> str:
    """Returns Kaggle's metadata.csv: fields are quoted, unknown ones are empty without quotes."""
    lines = ['"id","year","make","model","trim1","trim2"']
    for car in sorted(cars, key=lambda car: car.id):
        quoted = [f'"{field}"' if field else "" for field in car.fields]
        lines.append(",".join([f'"{car.id}"', *quoted]))
    return "\n".join(lines) + "\n"
