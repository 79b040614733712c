"""Checks that every key of params.yaml is known and its value valid: `python -m stages.params`, the first stage.

Only this stage depends on the whole file, and so it also checks the keys that no other stage depends on, and moves the
models of folds that are no longer in use out of the way.
"""

from pathlib import Path

from carvana.base import params, paths, unfinished
from carvana.base.errors import UserError
from carvana.base.stage import command_line, run
from carvana.networks.sizes import sizes_of


def main() -> None:
    settings = params.load(paths.PARAMS)
    train, teacher = settings.train, settings.train.teacher
    local = [settings.data.local_dir] if settings.data.source == "local" else []
    # Raw data is a stage's output, which a copy gets later.
    for path in (teacher or "", train.encoder_weights, train.pseudo_photos, *local):
        lacks = not Path(path).exists() and not Path(path).is_relative_to(paths.RAW)
        if lacks and (paths.workspace() / path).exists():
            raise UserError(
                f"{path} is not in this copy of the workspace, because neither git nor DVC tracks it; add "
                f"`--copy-paths {path}` to `dvc exp run`"
            )
    # DVC would say so without saying what to do.
    if teacher and not teacher.is_dir():
        raise UserError(
            f"train.pseudo_labels is {train.pseudo_labels}, but {teacher} is missing; copy an experiment's "
            f"predictions there, by `dvc get . {paths.PREDICTIONS} --rev EXPERIMENT -o {teacher}`"
        )
    sizes_of(train.size, settings.predict.scales)
    device = settings.runtime.device
    if device not in ("auto", "cpu"):
        from carvana.devices.device import pick  # seconds of imports

        pick(device)
    unfinished.set_aside_models(settings.train.folds)


if __name__ == "__main__":
    command_line("params", __doc__).parse_args()
    run(main, "params", writes=False)
