"""Damaged files through every reader; tests/fuzz.py has the readers and the ways to damage a file."""

import json
import os
import subprocess
import sys

import pytest
from projects import ROOT


@pytest.mark.parametrize(("seed", "count"), [(0, 60), pytest.param(1, 250, marks=pytest.mark.slow)])
def test_a_damaged_file_is_named_or_read_as_it_is(seed, count):
    """In a process of its own, so that a crash or much memory would be seen here."""
    command = [sys.executable, str(ROOT / "tests/fuzz.py"), str(seed), "0", str(count)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60 + count)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    failures = [f"seed {seed}, {each['reader']}, {failure}" for each in results for failure in each["failures"]]
    assert not failures, "\n".join(failures)
    assert done.returncode == 0, done.stderr[-2000:]
    assert sum(each["refused"] for each in results) > count * len(results) / 2
