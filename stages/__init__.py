"""The pipeline's stages: `python -m stages.train`, run from the repository's root as dvc.yaml does.

Each reads params.yaml, calls the library and writes files. The library beside this folder is put first on
the path: `dvc exp run --temp` works in a copy, whose stages must import the copy's library.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

# How often a thread of torch's looks for work before it sleeps, in GNU's OpenMP. By default three times as often, which
# costs its own process the core if others want it too: beside two busy processes on two cores, training at 64² runs
# twice as fast with this, and on an idle machine as fast as before. Never to wait so would halve that.
os.environ.setdefault("GOMP_SPINCOUNT", "100000")

if "DVC_STAGE" in os.environ:
    from stages import under_dvc

    # Before anything else is imported: torch takes seconds, and what happens meanwhile counts as well.
    under_dvc.begin()
