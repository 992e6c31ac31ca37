"""Learning rates against their definition, optimisers against torch's own."""

from __future__ import annotations

from math import cos, pi

import pytest
import torch
from torch import nn

from tsdsl.sema.sections import Adam, Constant, Cosine, Sgd
from tsdsl.training.optimizer import make_optimizer, moving_average
from tsdsl.training.schedule import learning_rate


@pytest.mark.parametrize(
    ("epoch", "share"),
    [
        (0, 0.1),
        (1, 0.1 + 0.9 / 4),
        (3.5, 0.1 + 0.9 * 3.5 / 4),
        (4, 1.0),
        (4 + 16 / 3, 0.5 * (1 + cos(pi / 3))),
        (12, 0.5),
        (20, 0.0),
    ],
)
def test_cosine_after_warm_up(epoch: float, share: float) -> None:
    schedule = Cosine(warmup_epochs=4, warmup_start=0.1)
    assert learning_rate(0.4, schedule, 20, epoch) == pytest.approx(0.4 * share, abs=1e-15)


def test_ends_of_schedules() -> None:
    assert learning_rate(0.4, Constant(), 10, 9.9) == 0.4
    assert learning_rate(0.4, Constant(warmup_epochs=5), 10, 2) == pytest.approx(0.16)
    # A warm-up that is longer than the training ends with the full rate.
    long = Cosine(warmup_epochs=34)
    assert learning_rate(0.4, long, 2, 1) == pytest.approx(0.2)
    assert learning_rate(0.4, long, 2, 2) == 0.4
    rates = [learning_rate(1.0, Cosine(warmup_epochs=3), 30, k / 10) for k in range(301)]
    peak = rates.index(max(rates))
    assert peak == 30
    assert rates[:31] == sorted(rates[:31]) and rates[30:] == sorted(rates[30:], reverse=True)


def test_what_decays() -> None:
    net = nn.Sequential(nn.Conv3d(2, 3, 1), nn.BatchNorm3d(3), nn.Linear(3, 2))
    optimizer = make_optimizer(net, Sgd(momentum=0.5, weight_decay=0.25), 0.5)
    assert isinstance(optimizer, torch.optim.SGD)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in net.named_parameters():
        kept = 1.0 if name.startswith("1.") else 1 - 0.5 * 0.25
        assert torch.equal(p, before[name] * kept), name
    assert isinstance(make_optimizer(net, Adam(), 0.1), torch.optim.Adam)
    # Nesterov momentum without momentum is plain gradient descent, not an error.
    make_optimizer(net, Sgd(momentum=0.0, nesterov=True), 0.1)


def test_moving_average() -> None:
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2)).double()
    average = moving_average(net, 0.75)
    wanted = None
    for k in range(4):
        with torch.no_grad():
            net[0].weight.fill_(float(k + 1))
            net[1].running_mean.fill_(float(10 * k))
        average.update_parameters(net)
        now = (k + 1.0, 10.0 * k)
        wanted = (
            now
            if wanted is None
            else tuple(0.75 * a + 0.25 * b for a, b in zip(wanted, now, strict=True))
        )
    assert wanted is not None
    assert average.module[0].weight[0, 0].item() == pytest.approx(wanted[0])
    assert average.module[1].running_mean[0].item() == pytest.approx(wanted[1])
