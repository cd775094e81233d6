"""`kill -9` at random moments: what lies there is absent, old or whole; a run goes on from it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")


def killed(folder: Path, environment, writers: int, trainings: int) -> dict[str, dict[str, int]]:
    program = [sys.executable, Path(__file__).parent / "killed.py", folder]
    done = subprocess.run(
        [*program, str(writers), str(trainings)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("writers", "trainings"), [(4, 2), pytest.param(50, 20, marks=pytest.mark.soak)]
)
def test_absent_old_or_whole(tmp_path, environment, writers, trainings):
    found = killed(tmp_path, environment, writers, trainings)
    training = found.pop("training")
    assert len(found) == 14
    for name, counts in found.items():
        assert counts.get("wrong", 0) == counts["litter"] == 0, (name, counts)
    ended_early = [counts.get("inside", 0) + counts.get("before", 0) for counts in found.values()]
    inside = sum(counts.get("inside", 0) for counts in found.values())
    assert sum(ended_early) > 0.3 * writers * len(found)
    assert inside > 0.1 * writers * len(found), found
    assert training["resumed"] + training.get("begun anew", 0) == trainings
    wrongs = [training.get(n, 0) for n in ("wrong", "failed", "different", "litter")]
    assert not any(wrongs), training
    if trainings > 5:
        assert training.get("inside", 0) >= trainings // 4 and training["resumed"] > 0
    sys.stdout.write(f"{found}\n{training}\n")
