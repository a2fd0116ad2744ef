from __future__ import annotations

import numpy as np
import pytest
import torch
from test_train_signal import life

from lnnc.errors import LnncError
from lnnc.train.students.inputs import INPUTS
from lnnc.train.students.material import pack
from lnnc.train.students.models import networks
from lnnc.train.students.run import coefficients
from lnnc.train.students.signal import observe
from lnnc.train.students.student import KINDS, RECURRENT, Student

UNITS = {"mlp": (7, 5), "linear": ()}
PARAMETERS = {"gated": 124, "cfc": 174, "leaky": 84, "ltc": 219, "mlp": 218, "linear": 88}  # of the units below


def units_of(kind: str) -> tuple[int, ...]:
    return UNITS.get(kind, (5,))


def sees(kind: str) -> str:
    return "features" if kind in RECURRENT else "means"


def moved(kind: str, skip: bool = False, models: int = 2) -> torch.nn.Module:
    """A network that has left its start: no weight is zero."""
    model = networks(kind, INPUTS[sees(kind)].size, units_of(kind), skip, models, seed=3)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.3 * torch.randn(p.shape, generator=generator)
    return model.double()


@pytest.mark.parametrize(("kind", "skip"), [*((k, False) for k in KINDS), ("gated", True), ("mlp", True)])
def test_training_and_running_mean_the_same(kind: str, skip: bool) -> None:
    lives = [life(330, seed=1), life(256, seed=2), life(100, seed=3)]
    model, material = moved(kind, skip), pack(lives, sees(kind))
    q = model(material.features.double()[None], material.counts).detach().numpy()
    signal = observe(lives)
    for index in range(2):
        student = Student(kind, "stream", True, sees(kind), skip, model.arrays(index))
        assert student.parameters == PARAMETERS[kind] + 4 * INPUTS[sees(kind)].size * skip
        expected = coefficients(student, signal)
        starts = np.cumsum([0, *material.counts[:-1]])
        for step, (start, n) in enumerate(zip(starts, material.counts, strict=True)):
            who = material.life[start : start + n].numpy()
            np.testing.assert_allclose(np.clip(q[index, start : start + n], -15, 15), expected[who, step], atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_starts_at_the_anchor_line(kind: str) -> None:
    model = networks(kind, INPUTS[sees(kind)].size, units_of(kind), False, 2, seed=0)
    material = pack([life(330)], sees(kind))
    assert model(material.features[None], material.counts).abs().max() < 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_folds_start_differently_and_do_not_touch(kind: str) -> None:
    model, material = moved(kind), pack([life(200)], sees(kind))
    features = material.features.double().expand(2, -1, -1)
    out = model(features, material.counts)
    out[0].sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and not p.grad[1].any(), name
        assert p.grad[0].any() and not torch.equal(p[0], p[1])


def test_pack_keeps_only_steps_with_a_whole_horizon() -> None:
    lives = [life(95), life(257, seed=1), life(130, seed=2)]
    material = pack(lives, "features")
    assert material.counts == (2,) * 3 + (1,) * 12
    assert material.life[:6].tolist() == [1, 2, 1, 2, 1, 2] and set(material.life[6:].tolist()) == {1}
    assert torch.isfinite(material.residual).all()
    signal = observe(lives[2:])
    np.testing.assert_allclose(material.features[3], signal.features[0, 1], rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "units"), [("gru", (4,)), ("gated", ()), ("gated", (4, 4)), ("mlp", ()), ("linear", (3,)), ("gated", (0,))]
)
def test_networks_that_cannot_be(kind: str, units: tuple[int, ...]) -> None:
    with pytest.raises(LnncError, match=kind):
        networks(kind, 4, units, False, 1, 0)


def test_no_life_is_long_enough() -> None:
    with pytest.raises(LnncError, match="10 \\+ 100"):
        pack([life(105)], "features")
