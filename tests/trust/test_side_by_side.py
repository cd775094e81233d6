"""Several processes on one folder, several readers of one file."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from deqsci_cli.errors import OutputExistsError, StorageError, UsageError
from deqsci_cli.io import load_capture, only_run, read_film, write_capture, write_film

COMMAND = "-m deqsci_cli reconstruct {c} --model {m} --max-iter 3 --preview none -o o"


def begin(environment, folder, **words):
    return subprocess.Popen(
        [sys.executable, *COMMAND.format(**words).split()],
        cwd=folder, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def test_of_two_runs_in_one_folder_one_is_refused(coded, save, tmp_path, environment):
    """Whichever comes first; never a report of one beside films of the other."""
    meas = np.concatenate([coded.meas] * 6)
    save("c.mat", meas=meas, mask=coded.mask)
    runs = [begin(environment, tmp_path, c="c.mat", m=model) for model in ("gap-tv", "pnp-cnn")]
    told = [run.communicate(timeout=120)[1] for run in runs]
    codes = [run.returncode for run in runs]
    assert sorted(codes) == [0, 2], told
    refused = told[codes.index(2)]
    assert "another run" in refused or "exists already" in refused
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    model = ("tv", "pnp-cnn")[codes.index(0)]
    assert len(report["measurements"]) == 12
    for record in report["measurements"]:
        film = read_film(tmp_path / record["output"])
        assert film.provenance["model"]["name"].endswith(model) and record["model"].endswith(model)
    assert sorted(p.name for p in (tmp_path / "o").iterdir() if p.suffix != ".tif") == [
        ".manifest", "report.json",
    ]  # fmt: skip


def test_the_lock_goes_with_its_process(tmp_path):
    with only_run(tmp_path / "o"):
        for _ in range(2):
            with pytest.raises(UsageError, match="another run") as told, only_run(tmp_path / "o"):
                pass
        assert told.value.exit_code == 2
    assert not (tmp_path / "o").exists()  # nothing came of it
    holder = "from pathlib import Path; from deqsci_cli.io import only_run; import os\n"
    holder += "with only_run(Path('o')): os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", holder], cwd=tmp_path)
    assert (tmp_path / "o" / ".lock").exists()  # a kill leaves the file, not the lock
    with only_run(tmp_path / "o"):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(StorageError), only_run(tmp_path / "file"):
        pass


def test_of_many_writers_of_a_new_file_one_wins(tmp_path):
    """The others are told that it exists by then; none is overwritten unasked."""
    films = [np.full((2, 64, 64), n / 10) for n in range(8)]

    def write(number):
        try:
            write_film(tmp_path / "f.tif", films[number], scale=1, provenance={}, overwrite=False)
        except OutputExistsError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        (winner,) = [n for n in pool.map(write, range(8)) if n is not None]
    assert np.array_equal(read_film(tmp_path / "f.tif").frames, films[winner].astype(np.float32))
    assert [p.name for p in tmp_path.iterdir()] == ["f.tif"]


@pytest.mark.parametrize("suffix", ["mat", "h5", "tif"])
def test_eight_readers_at_once(tmp_path, suffix):
    rng = np.random.default_rng(0)
    meas, mask = rng.random((3, 64, 64)), (rng.random((8, 64, 64)) < 0.5) * 1.0
    path = tmp_path / f"c.{suffix}"
    write_capture(path, measurements=meas, mask=mask, scale=1, provenance={}, overwrite=False)
    processes = ProcessPoolExecutor(8, mp_context=get_context("spawn"))
    with ThreadPoolExecutor(8) as threads, processes:
        for pool in (threads, processes) if suffix == "h5" else (threads,):
            for capture in pool.map(load_capture, [path] * 24):
                assert np.array_equal(capture.measurements, meas.astype(np.float32))
                assert np.array_equal(capture.mask, mask)
