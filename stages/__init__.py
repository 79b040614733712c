"""The pipeline's stages: `python -m stages.train`, run from the repository's root as dvc.yaml does.

Stages call the library and write files; most of them read params.yaml. The library beside this folder is put first on
the path: `dvc exp run --temp` works in a copy, whose stages must import the copy's library.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

# How often a thread of torch looks for work before it sleeps (GNU OpenMP). The default is three times as often, which
# loses the process its core if other processes want it too: beside two busy processes on two cores, training at 64² is
# twice as fast with this value, and on an idle machine equally fast. Without such waiting it would be half as fast.
os.environ.setdefault("GOMP_SPINCOUNT", "100000")

if "DVC_STAGE" in os.environ:
    from stages import under_dvc

    # Before anything else is imported: torch takes seconds, and a change in this time must be noticed too.
    under_dvc.begin()
