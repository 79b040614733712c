"""The pipeline's stages: `python -m stages.train`, run from the repository's root as dvc.yaml does.

Stages call the library and write files; most of them read params.yaml. The library beside this folder is put first on
the path: `dvc exp run --temp` works in a copy, whose stages must import the copy's library.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

if "DVC_STAGE" in os.environ:
    from carvana.base import under_dvc

    # Before anything else is imported: torch takes seconds, and a change in this time must be noticed too.
    under_dvc.begin()
