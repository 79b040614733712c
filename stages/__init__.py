"""The pipeline's stages: `python -m stages.train`, run from the repository's root as dvc.yaml does.

Each reads params.yaml, calls the library and writes files. The library beside this folder is put first on
the path: `dvc exp run --temp` works in a copy, whose stages must import the copy's library.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

if "DVC_STAGE" in os.environ:
    from stages import under_dvc

    # Before anything else is imported: torch takes seconds, and what happens meanwhile counts as well.
    under_dvc.begin()
