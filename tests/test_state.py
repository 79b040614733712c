import torch
from projects import read_params

from carvana.training import state


def test_no_two_streams_of_a_training_are_alike():
    settings = read_params().train
    state.begin(settings, torch.device("cpu"))
    drawn_by_torch, drawn_by_generator = {torch.initial_seed()}, set()
    for epoch in range(1, 51):
        for rank in range(8):
            chance = state.begin_epoch(epoch, settings, rank)
            drawn_by_torch.add(torch.initial_seed())
            drawn_by_generator.add(chance.initial_seed())
    assert len(drawn_by_torch) == 1 + 50 * 8, "the initial weights, then dropout by epoch and process"
    assert len(drawn_by_generator) == 50, "order and augmentation by epoch, the same in every process"
    assert not drawn_by_torch & drawn_by_generator


def test_order_and_augmentation_stay_as_they_were():
    """Another stream would be another model from the same parameters."""
    assert state.begin_epoch(3, read_params(train_seed=5).train, rank=1).initial_seed() == 727168946
