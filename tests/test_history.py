from dataclasses import replace

import pytest

from carvana.base.errors import UserError
from carvana.training import history

FIRST = history.Epoch(1, 0.004, 0.5, 0.25, 1 / 3, 0.75, 0.625)


def test_what_is_written_is_read(tmp_path):
    epochs = [FIRST, replace(FIRST, epoch=2, validation_loss=0.25)]
    history.write(tmp_path / "fold-0.csv", epochs)
    assert history.read(tmp_path / "fold-0.csv") == [replace(FIRST, validation_loss=0.333333), epochs[1]]


ROW = "1,0.004,0.5,0.25,0.333333,0.75,0.625"


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [ROW.replace("0.25", "nan")],
        [ROW.replace("0.25", "")],
        [ROW.replace("0.25", "inf")],
        [ROW.replace("0.25", "x")],
        [ROW.replace("1,", "1.5,")],
        [ROW.removesuffix(",0.625")],
        [ROW, f"{ROW},0.5"],
        [ROW, ROW],
        [ROW.replace("1,", "2,")],
        ["\0"],
    ],
)
def test_a_history_without_epochs_or_with_a_value_that_is_no_number_is_refused(tmp_path, rows):
    history.write(tmp_path / "fold-0.csv", [FIRST])
    header, row = (tmp_path / "fold-0.csv").read_text(encoding="ascii").splitlines()
    assert row == "1,0.004,0.500000,0.250000,0.333333,0.750000,0.625000"
    (tmp_path / "fold-0.csv").write_text("\n".join([header, *rows, ""]), encoding="ascii")
    with pytest.raises(UserError, match=r"fold-0\.csv is not a training's history.*dvc repro"):
        history.read(tmp_path / "fold-0.csv")


@pytest.mark.parametrize("content", [None, b"", b"epoch,loss\n1,2\n", b"epoch\nx\n", b"epoch\n\xff\n"])
def test_a_file_that_is_no_history_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "fold-0.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"fold-0\.csv is not a training's history.*dvc repro"):
        history.read(tmp_path / "fold-0.csv")


def test_the_best_epoch_is_the_first_of_the_highest_dice_at_full_size():
    dice = [0.5, 0.9, 0.7, 0.9]
    epochs = [replace(FIRST, epoch=i, validation_dice_full_size=value) for i, value in enumerate(dice, start=1)]
    assert history.best(epochs).epoch == 2


def test_curves_are_one_table_of_all_folds():
    table = history.curves({0: [FIRST], 2: [FIRST, replace(FIRST, epoch=2)]})
    lines = table.to_csv(index=False).splitlines()
    assert len(lines) == 10
    assert lines[:2] == ["epoch,fold,learning_rate,curve,loss,dice", "1,0,0.004,training,0.5,0.25"]
    assert lines[-1] == "2,2,0.004,validation at full size,,0.625"
