"""Guards a stage that DVC runs: it ends if DVC ends, and fails if its parameters or code change while it runs.

DVC reads params.yaml and the code again after the command, and records what it finds then. After a change in between,
by an editor or by another `dvc exp run -S`, DVC would record and cache the result as that of the new value.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from carvana.base import definition, lockfile, paths, processes
from carvana.base.errors import UserError, some

_PROCESS = "CARVANA_STAGE_PROCESS"  # in the environment, also of its children: the ID of the process that DVC started


_at_begin: tuple[dict[str, Any], dict[str, str]] | None = None  # what `_inputs` returned


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
    (params, code), (params_now, code_now) = _at_begin, _inputs()
    changed = [f"{key} ({old} → {params_now.get(key)})" for key, old in params.items() if old != params_now.get(key)]
    changed += sorted({path for path, _ in code.items() ^ code_now.items()})
    if changed:
        raise UserError(
            f"{some(changed)} changed while {stage()} ran, and DVC would record the result under the new state; "
            "nothing is recorded. Keep the new state or restore the old one, then run `dvc repro`"
        )


def advice() -> str:
    """Returns how to restore the outputs that DVC removed before it ran this stage; empty if they cannot be restored.

    Every command in it works, and changes only these outputs.
    """
    if _at_begin is None:
        return ""
    try:
        recorded = lockfile.read(paths.LOCK)[stage()].outs
    except (UserError, KeyError):
        return ""
    removed = {path: md5 for path, md5 in recorded.items() if not Path(path).exists()}
    cached = _cached(removed)
    committed = sorted(path for path, md5 in removed.items() if path not in cached and _is_committed(path, md5))
    commands = [f"`dvc checkout {stage()}`"] if cached else []
    commands += [f"`git restore {' '.join(committed)}`"] if committed else []
    if not commands:
        return ""
    gone = sorted(removed.keys() - cached - set(committed))
    return f"{' and '.join(commands)} brings back its earlier output" + (f", all but {some(gone)}" if gone else "")


def stage() -> str:
    """Returns the name of the stage that DVC runs, for example `train@0`."""
    # From a subfolder DVC puts the path of dvc.yaml before the name.
    return os.environ["DVC_STAGE"].rsplit(":", 1)[-1]


def _inputs() -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the stage's parameters by their dotted names, and the MD5 of every file of its code."""
    mine = definition.read(stage())
    params = definition.read_yaml(paths.PARAMS)
    return {key: _value(params, key) for key in mine.params}, {str(path): lockfile.md5_of(path) for path in mine.files}


def _value(params: Any, key: str) -> Any:
    for part in key.split("."):
        params = params.get(part) if isinstance(params, dict) else None
    return params


def _cached(outputs: dict[str, str]) -> set[str]:
    """Returns which of the outputs are in DVC's cache."""
    from dvc.repo import Repo  # takes a second, and is needed after a failure only

    with Repo() as repo:
        return {path for path, md5 in outputs.items() if repo.cache.local.exists(md5)}


def _is_committed(path: str, md5: str) -> bool:
    """Returns whether git's index, from which `git restore` takes files, has this file with this content."""
    found = subprocess.run(["git", "show", f":./{path}"], capture_output=True, check=False)  # noqa: S603, S607
    return found.returncode == 0 and lockfile.md5_of_bytes(found.stdout) == md5
