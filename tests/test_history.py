from dataclasses import replace

import pytest

from carvana.base.errors import UserError
from carvana.training import history

FIRST = history.Epoch(1, 0.004, 0.5, 0.25, 1 / 3, 0.75, 0.625)
HEADER = "epoch,learning_rate,train_loss,train_dice,validation_loss,validation_dice,validation_dice_full_size"
ROW = "1,0.004,0.5,0.25,0.333333,0.75,0.625"


def test_what_is_written_is_read(tmp_path):
    epochs = [FIRST, replace(FIRST, epoch=2, validation_loss=0.25)]
    history.write(tmp_path / "fold-0.csv", epochs)
    assert history.read(tmp_path / "fold-0.csv") == [replace(FIRST, validation_loss=0.333333), epochs[1]]
    row = "1,0.004,0.500000,0.250000,0.333333,0.750000,0.625000"
    assert (tmp_path / "fold-0.csv").read_text(encoding="ascii").splitlines()[:2] == [HEADER, row]


WRONG_NUMBERS = ["nan", "", "inf", "x"]
WRONG_VALUES = [*(("0.25", each) for each in WRONG_NUMBERS), ("1,", "1.5,"), ("1,", "2,"), (",0.625", "")]
WRONG_ROWS = ["", "\0", f"{ROW}\n{ROW}", f"{ROW}\n{ROW},0.5", *(ROW.replace(*each) for each in WRONG_VALUES)]
WRONG_FILES = ["", "epoch,loss\n1,2\n", "epoch\nx\n", "epoch\n\xff\n", *(f"{HEADER}\n{row}\n" for row in WRONG_ROWS)]


@pytest.mark.parametrize("content", WRONG_FILES)
def test_a_file_that_is_no_history_or_has_a_value_that_is_no_number_is_refused(tmp_path, content):
    path = tmp_path / "fold-0.csv"
    path.write_text(f"{HEADER}\n{ROW}\n", encoding="ascii")
    assert len(history.read(path)) == 1
    path.write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=r"fold-0\.csv is not a training's history.*dvc repro"):
        history.read(path)
    path.unlink()
    with pytest.raises(UserError, match=r"fold-0\.csv is not a training's history.*dvc repro"):
        history.read(path)


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
