from dataclasses import replace

import pytest

from carvana.errors import UserError
from carvana.training import history

FIRST = history.Epoch(1, 0.004, 0.5, 0.25, 1 / 3, 0.75, 0.625)


def test_what_is_written_is_read(tmp_path):
    epochs = [FIRST, replace(FIRST, epoch=2, validation_loss=0.25)]
    history.write(tmp_path / "fold-0.csv", epochs)
    assert history.read(tmp_path / "fold-0.csv") == [replace(FIRST, validation_loss=0.333333), epochs[1]]


def test_a_file_that_is_no_history_is_named(tmp_path):
    for content in (None, "epoch,loss\n1,2\n", "epoch\nx\n"):
        if content:
            (tmp_path / "fold-0.csv").write_text(content, encoding="ascii")
        with pytest.raises(UserError, match=r"fold-0\.csv is not a training's history.*dvc repro"):
            history.read(tmp_path / "fold-0.csv")


def test_the_best_epoch_is_the_first_of_the_highest_dice_at_full_size():
    dice = [0.5, 0.9, 0.7, 0.9]
    epochs = [replace(FIRST, epoch=i, validation_dice_full_size=value) for i, value in enumerate(dice, start=1)]
    assert history.best(epochs).epoch == 2


def test_curves_are_one_table_of_all_folds():
    rows = history.curves({0: [FIRST], 2: [FIRST, replace(FIRST, epoch=2)]})
    assert len(rows) == 9
    assert rows[0] == {"epoch": 1, "fold": 0, "curve": "training", "loss": "0.500000", "dice": "0.250000"}
    assert rows[-1] == {"epoch": 2, "fold": 2, "curve": "validation at full size", "loss": "", "dice": "0.625000"}
