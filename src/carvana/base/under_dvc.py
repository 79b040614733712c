"""Guards a stage that DVC runs: it ends if DVC ends, and fails if its parameters or code change while it runs.

DVC reads params.yaml and the code again after the command, and records what it finds then. After a change in between,
by an editor or by another `dvc exp run -S`, DVC would record and cache the result as that of the new value.
"""

import os
import sys
from pathlib import Path
from typing import Any

from carvana.base import definition, git, lockfile, params, paths, processes, yaml12
from carvana.base.errors import UserError, reading, some

_PROCESS = "CARVANA_STAGE_PROCESS"  # in the environment, also of its children: the ID of the process that DVC started


_at_begin: dict[str, Any] | None = None  # what `_inputs` returned


def begin() -> None:
    """Makes this process end with its parent, and records the stage's current parameters and code."""
    global _at_begin  # noqa: PLW0603 - one stage per process
    processes.die_with_parent()
    if os.environ.setdefault(_PROCESS, str(os.getpid())) == str(os.getpid()):
        processes.end_if_orphaned()
        try:
            _at_begin = _inputs()
        except UserError as error:
            sys.exit(f"error in {stage()}: {error}")


def require_unchanged() -> None:
    """Raises UserError if the stage's parameters or code have changed since it began."""
    if _at_begin is None:
        return
    now = _inputs()
    if changed := [name for name in sorted(_at_begin | now) if _at_begin.get(name) != now.get(name)]:
        raise UserError(
            f"{some(changed)} changed while {stage()} ran, and DVC would record the result under the new state; "
            "nothing is recorded. Keep the new state or restore the old one, then run `dvc repro`"
        )


def advice() -> str:
    """Returns how to restore outputs that DVC removed before it ran this stage, and parameters; '' if nothing is."""
    if _at_begin is None:
        return ""
    try:
        return "\n".join(filter(None, (_removed(), _set())))
    except Exception:  # the error of the stage matters more than whatever this is
        return ""


def _removed() -> str:
    from dvc.repo import Repo  # takes a second, and is needed after a failure only

    with Repo() as repo:
        (found,) = repo.stage.collect(stage())
        removed = {str(out): out for out in found.outs if out.hash_info and not out.exists}
        cached = [path for path, out in removed.items() if not out.changed_cache()]
    committed = [path for path, out in removed.items() if _is_committed(path, out.hash_info.value)]
    commands = [f"`dvc checkout {stage()}`"] if cached else []
    commands += [f"`git restore {' '.join(committed)}`"] if committed else []
    return f"{' and '.join(commands)} brings back {some(cached + committed)}" if commands else ""


def _set() -> str:
    """Returns what `dvc exp run -S` leaves in params.yaml, where the next one would build on it; '' in a copy."""
    committed = git.read("HEAD", paths.PARAMS)
    if "DVC_EXP_NAME" not in os.environ or paths.workspace() != Path() or not committed:
        return ""
    texts = committed, paths.PARAMS.read_text(encoding="utf-8")
    before, now = (params.leaves(yaml12.parse(text)) for text in texts)
    kept = [f"{name}={value}" for name, value in now.items() if before.get(name) != value]
    return (
        f"{paths.PARAMS} keeps {some(kept, 20)}; `git checkout HEAD -- {paths.PARAMS}` takes that back" if kept else ""
    )


def stage() -> str:
    """Returns the name of the stage that DVC runs, for example `train@0`."""
    # From a subfolder DVC puts the path of dvc.yaml before the name.
    return os.environ["DVC_STAGE"].rsplit(":", 1)[-1]


def _inputs() -> dict[str, Any]:
    """Returns the stage's parameters by their dotted names, and the MD5 of every file of its code by its path."""
    mine = definition.read(stage())
    with reading(paths.PARAMS, "cannot be read", "correct it, or restore it by `git checkout HEAD`"):
        values = params.leaves(yaml12.parse(paths.PARAMS.read_text(encoding="utf-8")))
    return {name: values.get(name) for name in mine.params} | {str(path): lockfile.md5_of(path) for path in mine.files}


def _is_committed(path: str, md5: str) -> bool:
    """Returns whether git's index, from which `git restore` takes files, has this file with this content."""
    text = git.read("", Path(path))
    return text is not None and lockfile.md5_of_bytes(text.encode()) == md5
