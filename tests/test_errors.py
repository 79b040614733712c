import errno

import pytest

from carvana.base import errors
from carvana.base.errors import UserError, reading


def failing(error, where="a.csv", **options):
    with reading(where, "is no table", "make it again", **options):
        raise error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("bad value\n\tin row 3"), "bad value in row 3"),
        (KeyError("stages"), "KeyError: 'stages'"),
        (MemoryError(), "it takes more memory than there is"),
        (StopIteration(), "StopIteration"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "a.csv/b"), "Is a directory: a.csv/b"),
        (ValueError("x" * 1000), "x" * 200),
    ],
)
def test_whatever_a_parser_raises_becomes_the_message(error, reason):
    with pytest.raises(UserError) as caught:
        failing(error)
    assert str(caught.value) == f"a.csv is no table ({reason}); make it again"
    assert caught.value.__cause__ is error


def test_a_missing_file_may_have_advice_of_its_own():
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory", "a.csv")
    with pytest.raises(UserError, match=r"^a\.csv is no table \(No such file or directory: a\.csv\); make it again$"):
        failing(missing)
    with pytest.raises(UserError, match=r"^a\.csv is missing; `dvc repro` makes it$"):
        failing(missing, missing="`dvc repro` makes it")


@pytest.mark.parametrize("number", [*errors.FULL, *errors.FORBIDDEN])
def test_what_the_system_refuses_is_no_fault_of_the_file(number):
    with pytest.raises(OSError) as caught:
        failing(OSError(number, "refused", "a.csv"))
    assert caught.value.errno == number


def test_what_is_a_message_already_and_ctrl_c_pass_the_door():
    for error in (UserError("a.csv has no row 3"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught:
            failing(error)
        assert caught.value is error
