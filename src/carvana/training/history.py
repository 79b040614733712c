"""A training's history: a row for each epoch, for the user and for `dvc plots`."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from carvana.base.errors import reading
from carvana.base.files import write_text


@dataclass(frozen=True)
class Epoch:
    """One epoch: its final learning rate, mean loss per photo, and mean Dice over photos.

    `train_*` refer to augmented photos. Dice is at network size, except for the last field, which is at 1918×1280.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_dice: float
    validation_loss: float
    validation_dice: float
    validation_dice_full_size: float


def best(history: list[Epoch]) -> Epoch:
    """Returns the first epoch with the highest validation Dice at full size: the one whose weights are kept."""
    return max(history, key=lambda epoch: epoch.validation_dice_full_size)


def line(history: list[Epoch], epochs: int) -> str:
    """Returns the last of a training's `epochs` in words."""
    epoch = history[-1]
    return (
        f"epoch {epoch.epoch}/{epochs}: loss {epoch.train_loss:.4f} (validation {epoch.validation_loss:.4f}), "
        f"Dice at full size {epoch.validation_dice_full_size:.5f}{' (best)' if best(history) is epoch else ''}, "
        f"learning rate {epoch.learning_rate:.4g}"
    )


def write(path: Path, history: list[Epoch]) -> None:
    """Writes the history as CSV, with a row for each epoch."""
    table = pd.DataFrame(history, columns=[field.name for field in fields(Epoch)])
    table["learning_rate"] = table["learning_rate"].map("{:.4g}".format)
    write_text(path, table.to_csv(index=False, float_format="%.6f"))


def read(path: Path) -> list[Epoch]:
    """Returns the epochs that `write` wrote. Raises UserError if the file is not a history."""
    with reading(path, "is not a training's history", "`dvc repro -f train` makes it"):
        table = pd.read_csv(path, dtype={field.name: field.type for field in fields(Epoch)}, index_col=False)
        history = [Epoch(**row) for row in table.to_dict("records")]
        if not history or not np.isfinite(table).all(axis=None):
            raise ValueError("it has no epochs, or a value is missing or infinite")
        if [epoch.epoch for epoch in history] != list(range(1, len(history) + 1)):
            raise ValueError("its epochs are not numbered from 1")
    return history


def curves(histories: dict[int, list[Epoch]]) -> pd.DataFrame:
    """Returns the histories of several folds as one table for plotting: a row for each epoch and curve."""
    rows = [
        (epoch.epoch, fold, f"{epoch.learning_rate:.4g}", curve, loss, dice)
        for fold, history in histories.items()
        for epoch in history
        for curve, loss, dice in (
            ("training", epoch.train_loss, epoch.train_dice),
            ("validation", epoch.validation_loss, epoch.validation_dice),
            ("validation at full size", None, epoch.validation_dice_full_size),
        )
    ]
    return pd.DataFrame(rows, columns=["epoch", "fold", "learning_rate", "curve", "loss", "dice"])
