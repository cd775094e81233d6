"""The held-out score: what is hidden is not used, and a wrong mask predicts it badly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deqsci_cli.equilibrium.held_out import HIDDEN_SHARE, held_out_score, hidden_pixels
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.physics.sensing import SensingOperator


@pytest.fixture
def film(moving_scene) -> Tensor:
    return torch.from_numpy(moving_scene)


def binary(film: Tensor, seed: int = 1) -> Tensor:
    return (torch.rand(film.shape, generator=torch.Generator().manual_seed(seed)) < 0.5).float()


def scene_of_white(video: Tensor, sigma: Tensor | float) -> Tensor:
    """A "denoiser" that answers 1 whatever it is given."""
    return torch.ones_like(video)


PLAIN = EquilibriumSettings(consistency_relaxation=1.0)


def test_a_prediction_that_is_known_gets_the_score_by_hand(film):
    operator = SensingOperator(binary(film))
    y = operator.A(torch.stack([torch.ones_like(film), torch.full_like(film, 0.5)]))
    # Half of what is predicted is there: ||y - 2 y|| / ||y|| = 1.
    score = held_out_score(operator, y, scene_of_white, PLAIN)
    torch.testing.assert_close(score, torch.tensor([0.0, 1.0]))


def test_the_hidden_values_are_not_used(film):
    operator = SensingOperator(binary(film))
    y = operator.A(film[None])
    hidden = hidden_pixels(operator, y, seed=0)
    solved = []

    def witness(video: Tensor, sigma: Tensor | float) -> Tensor:
        solved.append(video)
        return 0.9 * video

    held_out_score(operator, y, witness)
    before, solved = solved, []
    held_out_score(operator, torch.where(hidden, 1e3 * torch.randn_like(y), y), witness)
    assert len(before) == len(solved)
    assert all(torch.equal(a, b) for a, b in zip(before, solved, strict=True))


def test_only_pixels_that_are_seen_and_open_are_hidden(film):
    mask = binary(film)
    mask[:, :, :10] = 0
    seen = torch.ones(2, *film.shape[1:], dtype=torch.bool)
    seen[1, 20:] = False
    operator = SensingOperator(mask, seen)
    y = operator.A(torch.stack([film, film]))
    hidden = hidden_pixels(operator, y, seed=0)
    assert not hidden[:, :, :10].any() and not hidden[1, 20:].any()
    told = (operator.open & hidden).sum((1, 2)) / operator.open.sum((1, 2))
    assert ((told > 0.5 * HIDDEN_SHARE) & (told < 1.7 * HIDDEN_SHARE)).all()
    # What is not seen may be anything.
    score = held_out_score(operator, y)
    assert torch.equal(held_out_score(operator, torch.where(seen, y, 1e6)), score)


def test_the_right_mask_predicts_best(film):
    masks = torch.stack([binary(film), binary(film, 2), binary(film).flip(1), binary(film).flip(2)])
    y = SensingOperator(masks[0]).A(film[None])
    scores = held_out_score(SensingOperator(masks), y)
    assert scores.shape == (4,)
    assert scores[0] < 0.1 and (scores[1:] > 3 * scores[0]).all()


def test_each_sample_has_the_score_that_it_has_alone(film):
    mask, films = binary(film), torch.stack([film, film.flip(1), 0.3 * film])
    y = SensingOperator(mask).A(films)
    together = held_out_score(SensingOperator(mask), y)
    alone = [held_out_score(SensingOperator(mask), one[None]) for one in y]
    assert torch.equal(together, torch.cat(alone))
    copies = held_out_score(SensingOperator(mask.expand(3, -1, -1, -1)), y[:1])
    assert torch.equal(copies, together[:1].expand(3))


def test_nothing_to_hide_gives_no_score(film):
    closed = SensingOperator(binary(film), torch.zeros(1, *film.shape[1:], dtype=torch.bool))
    assert held_out_score(closed, closed.A(film[None])).isnan().all()
    black = SensingOperator(binary(film))
    assert held_out_score(black, torch.zeros(1, *film.shape[1:])).isnan().all()
