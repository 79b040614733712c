from collections import Counter

import pytest
from competition_files import csv_text, pack
from hypothesis import given
from hypothesis import strategies as st

from carvana.base.errors import UserError
from carvana.data import split


def cars(count):
    return [f"{number:012x}" for number in range(count)]


@given(st.integers(2, 400), st.integers(2, 10), st.floats(0, 0.9), st.integers(0, 10_000), st.integers(1, 30))
def test_every_car_has_one_role_and_roles_are_even(count, folds, fraction, seed, makes):
    names = cars(count)
    make_of = {car: f"make{number % makes}" for number, car in enumerate(names) if number % 7}
    if count - round(fraction * count) < folds:
        with pytest.raises(UserError, match=r"split\.folds"):
            split.assign(names, make_of, fraction, folds, seed)
        return
    roles = split.assign(names, make_of, fraction, folds, seed)
    assert sorted(roles) == names, "each car once: a dictionary has no car in two roles"
    sizes = Counter(roles.values())
    assert sizes.pop(split.TEST, 0) == round(fraction * count)
    assert set(sizes) == {str(fold) for fold in range(folds)}
    assert max(sizes.values()) - min(sizes.values()) <= 1
    # Of a make, folds differ by one car, and by one more where a test car stood in the row.
    for make in set(make_of.values()):
        by_role = Counter(roles[car] for car in names if make_of.get(car) == make)
        counts = [by_role[str(fold)] for fold in range(folds)]
        assert max(counts) - min(counts) <= 1


def test_318_cars_are_the_slides_190_64_64():
    sizes = Counter(split.assign(cars(318), {}, 0.2, 4, seed=0).values())
    assert (sizes["1"] + sizes["2"] + sizes["3"], sizes["0"], sizes["test"]) == (190, 64, 64)


def test_makes_get_their_share_of_the_test_cars():
    names = cars(100)
    makes = {car: "Common" if number < 80 else "Rare" for number, car in enumerate(names)}
    for seed in range(20):
        roles = split.assign(names, makes, 0.2, 4, seed)
        assert sum(roles[car] == "test" for car in names[:80]) == 16


def test_seed_decides_and_order_of_cars_does_not():
    names = cars(50)
    assert split.assign(names, {}, 0.2, 4, 1) == split.assign(names[::-1], {}, 0.2, 4, 1)
    assert split.assign(names, {}, 0.2, 4, 1) != split.assign(names, {}, 0.2, 4, 2)


def test_file_keeps_ids_that_look_like_numbers(tmp_path):
    roles = {"011330127438": "0", "331659860e11": "test", "502733994e02": "10"}
    split.write(tmp_path / "split.csv", roles)
    assert split.read(tmp_path / "split.csv") == roles
    of_another_system = (tmp_path / "split.csv").read_text(encoding="ascii").strip().replace("\n", "\r\n")
    (tmp_path / "split.csv").write_bytes(of_another_system.encode())
    assert split.read(tmp_path / "split.csv") == roles


WRONG_HEADERS = ["", "\n", "car\n", "car,fold\n", "car,role,make\n"]
CAR = "011330127438"
WRONG_ROLES = ["tset", "", "Test", " test", "00", "-1", "1.0", "nan", '"1"0', "0,1", "0\0", "²"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        *((f"{header}{CAR},0\n".encode(), ", line 1 must be car,role") for header in WRONG_HEADERS),
        *((f"car,role\n{CAR},{role}\n".encode(), f", line 2: '{CAR},.*' must be") for role in WRONG_ROLES),
        (f"car,role\n{CAR},te".encode() + b"\xffst\n", rf", line 2: '{CAR},te.*xffst' must be"),
        (f"car,role\n{CAR}\n".encode(), f", line 2: '{CAR}' must be a car"),
        (f"car,role\n{CAR},".encode() + b"0" * 200_000, f", line 2: '{CAR},0000"),
        (f"car,role\n{CAR},0\n\n331659860e11,1\n".encode(), ", line 3: '' must be a car"),
        (b"car,role\n11330127438,0\n", ", line 2: '11330127438,0' must be a car"),
        (b"car,role\n0CDF5B5D0CE1,0\n", ", line 2: '0CDF5B5D0CE1,0' must be a car"),
        (f'car,role\n{CAR},0\n"331659860e11,1\n'.encode(), ", line 3: '\"331659860e11,1' must be a car"),
        (f"car,role\n{CAR},0\n{CAR},test\n".encode(), f", line 3: '{CAR},test' must be a car .* each once"),
    ],
)
def test_a_split_that_is_not_as_it_was_written_is_refused(tmp_path, text, complaint):
    (tmp_path / "split.csv").write_bytes(text)
    with pytest.raises(UserError, match=rf"split\.csv{complaint}.*; `dvc repro -f split` writes it again") as error:
        split.read(tmp_path / "split.csv")
    assert len(str(error.value)) < 400 + len(str(tmp_path))


def test_a_missing_split_says_what_makes_it(tmp_path):
    with pytest.raises(UserError, match=r"split\.csv is missing; `dvc repro split` makes it"):
        split.read(tmp_path / "split.csv")


def test_makes_are_read_from_metadata_with_blanks(tmp_path, monkeypatch):
    rows = [["id", "year", "make"], ["011330127438", "2014", "Acura"], ["502733994e02", "", ""]]
    pack(tmp_path / "metadata.csv.zip", {"metadata.csv": csv_text(rows)})
    assert split.read_makes(tmp_path / "metadata.csv.zip") == {"011330127438": "Acura"}
    monkeypatch.setattr(split, "_MOST_METADATA", 20)
    with pytest.raises(UserError, match=r"metadata\.csv\.zip .*it has more than 20 bytes"):
        split.read_makes(tmp_path / "metadata.csv.zip")


@pytest.mark.parametrize("text", ['id,make\n"a', "id,make\n\xff,\x00", "", "id\na\n", "a,b\n1,2\n"])
def test_other_or_damaged_metadata_is_refused_by_name(tmp_path, text):
    pack(tmp_path / "metadata.csv.zip", {"metadata.csv": text.encode("latin-1")})
    with pytest.raises(UserError, match=r"metadata\.csv\.zip is not Kaggle's"):
        split.read_makes(tmp_path / "metadata.csv.zip")


def test_real_cars_are_all_there(sample):
    assert len(split.read_makes(sample / "metadata.csv.zip")) == 6572 - 11
