"""Real reports are valid by the published JSON Schema, as another library checks it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from deqsci_cli.engine.batch.config import ReconstructConfig
from deqsci_cli.engine.reconstruct import reconstruct
from deqsci_cli.engine.simulate import SimulateConfig, simulate
from deqsci_cli.io.read_options import ReadOptions
from deqsci_cli.report.schema import report_schema

REPOSITORY = Path(__file__).resolve().parents[2]
SCHEMA = REPOSITORY / "docs" / "reference" / "report.schema.json"
CLIP = REPOSITORY / "sample_data" / "clip.gif"


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    """Three measurements of 48×48 pixels, with truth."""
    out = tmp_path_factory.mktemp("captures") / "clip.h5"
    simulate(SimulateConfig(video=CLIP, out=out, frames=4, count=3, crop=(48, 48)))
    return out


def made(out: Path, *inputs: Path, model: str = "gap-tv", **changes: object) -> dict:
    equilibrium = {"max_iter": 3}
    reconstruct(ReconstructConfig(inputs, out, model, equilibrium=equilibrium, **changes))
    return json.loads((out / "report.json").read_text("utf-8"))


def check(report: object) -> None:
    schema = json.loads(SCHEMA.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(report, schema)


def test_the_file_is_what_the_dataclasses_give():
    told = f"write it anew: {sys.executable} docs/_ext/write_schema.py"
    assert json.loads(SCHEMA.read_text("utf-8")) == report_schema(), told


def test_the_script_writes_that_file(tmp_path):
    (tmp_path / "docs/reference").mkdir(parents=True)
    shutil.copytree(REPOSITORY / "docs/_ext", tmp_path / "docs/_ext")
    subprocess.run([sys.executable, "docs/_ext/write_schema.py"], check=True, cwd=tmp_path)
    written = tmp_path / "docs/reference/report.schema.json"
    assert written.read_bytes() == SCHEMA.read_bytes()


def test_a_run_with_truth_and_one_without(capture, tmp_path):
    with_truth = made(tmp_path / "out", capture, measurements="0")
    check(with_truth)
    assert with_truth["measurements"][0]["frame_psnr"]
    options = ReadOptions(truth=False)
    without = made(tmp_path / "without", capture, measurements="1", read_options=options)
    check(without)
    assert without["measurements"][0]["psnr"] is None


def test_a_recording(capture, tmp_path):
    report = made(tmp_path / "out", capture, sequence=True)
    check(report)
    assert len(report["measurements"][0]["recording"]) == 3


def test_a_region(capture, tmp_path):
    region = "8,8,16,16"
    report = made(tmp_path / "out", capture, model="pnp-cnn", measurements="0", roi=region)
    check(report)
    assert report["measurements"][0]["roi"][0]["height"] == 16


def test_failures_and_a_run_gone_on_with(capture, tmp_path):
    broken = tmp_path / "broken.h5"
    broken.write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    first = made(tmp_path / "out", capture, broken, measurements="0")
    check(first)
    assert [failure["input"] for failure in first["failures"]] == [str(broken)]
    again = made(tmp_path / "out", capture, measurements="0", resume=True)
    check(again)
    assert again["skipped"] == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "deqsci-report/0"}, "was expected"),
        ({"seconds": "2"}, "is not of type 'number'"),
        ({"more": 1}, "Additional properties"),
        ({"skipped": -1}, "less than the minimum"),
        ({"measurements": [{"status": "done"}]}, "required property|not one of"),
    ],
)
def test_what_is_no_report_is_refused(change, words):
    empty = {
        "schema": "deqsci-report/2", "config": {}, "provenance": {}, "skipped": 0, "seconds": 1.5,
        "measurements": [], "failures": [],
    }  # fmt: skip
    check(empty)
    with pytest.raises(jsonschema.ValidationError, match=words):
        check(empty | change)
