"""The next batch is made meanwhile, and is the one that would have been made then."""

from __future__ import annotations

import threading

import pytest

from deqsci_cli.training.ahead import Ahead


def test_what_was_prepared_is_made_in_another_thread_and_once():
    made: list[tuple[int, int]] = []

    def sample(step: int) -> int:
        made.append((step, threading.get_ident()))
        return 10 * step

    ahead = Ahead(sample)
    for step in (0, 1, 2, 7):  # 3 is prepared, but 7 is asked for
        assert ahead(step) == 10 * step
        ahead.prepare(step + 1)
    assert ahead(8) == 80
    here = threading.get_ident()
    assert sorted(step for step, _ in made) == [0, 1, 2, 3, 7, 8]
    assert [step for step, thread in made if thread == here] == [0, 7]


def test_what_fails_in_the_thread_fails_where_it_is_asked_for():
    def sample(step: int) -> int:
        raise OSError(f"no batch {step}")

    ahead = Ahead(sample)
    ahead.prepare(3)
    with pytest.raises(OSError, match="no batch 3"):
        ahead(3)
