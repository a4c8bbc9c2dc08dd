"""The cases that make.py writes, as arguments of its `Case`."""

import numpy as np

SMALL = {"a": (1,), "b": (3,), "c.weight": (2, 2), "d/e": (5,)}
PAIR = {"a": (3,), "b": (5,)}
LENGTHS = {"a": (67,), "b": (257,), "empty": (0,), "scalar": ()}
MAGNITUDES = {"zero": (3,), "tiny": (4,), "large": (5,), "spike": (3,), "spread": (7,)}


def single(value):
    return float(np.float32(value))


def hyperparams(order=1, lr=0.125, beta1=single(0.9), beta2=single(0.99), eps=single(1e-3), **others):
    """Large enough an eps to show where it stands; every number a float32."""
    exact = {key: single(value) if isinstance(value, float) else value for key, value in others.items()}
    return {"order": order, "lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps, **exact}


def normal(rng, shape, scale=1.0):
    return (scale * (0.3 + rng.standard_normal(shape))).astype(np.float32)


def magnitude(name, t, shape, rng):
    """Gradients that are 0, 1e-20, 1e10, hit once by 1e10, and spread over everything between."""
    grad = normal(rng, shape)
    factor = {
        "zero": 0.0,
        "tiny": 1e-20,
        "large": 1e10,
        "spike": 1e10 if t == 3 else 1.0,
        "spread": np.logspace(-20, 10, 7),
    }[name.split(".")[-1]]
    return (grad * factor).astype(np.float32)


def start(name):
    """0 where the updates are tiny, so that they show; something to leave alone where the gradient is 0."""
    return 1.0 if name.endswith("zero") else 0.0


def exact_gain(order, kappa, **others):
    return hyperparams(order, kappa=kappa, step_scale="exact-gain", **others)


def adam(**others):
    return hyperparams(0, **others)


DECAY = dict(weight_decay=0.5)
CASES = [
    dict(name="adam_defaults", groups=[({"order": 0}, SMALL)], steps=20, theta=0.001),
    dict(name="adam", groups=[(adam(), SMALL)], steps=20),
    dict(name="adam_lengths", groups=[(adam(), LENGTHS)], steps=4),
    dict(name="adam_magnitudes", groups=[(adam(eps=single(1e-8)), MAGNITUDES)], theta=start, gradient=magnitude),
    dict(name="adam_coupled", groups=[(adam(**DECAY), PAIR)], theta=0.5, steps=20),
    dict(name="adamw", groups=[(adam(**DECAY, decoupled=True), PAIR)], theta=0.5, steps=20),
    dict(name="adam_amsgrad", groups=[(adam(amsgrad=True, beta2=0.75), PAIR)], steps=20),
    dict(name="adam_maximize", groups=[(adam(maximize=True), PAIR)], steps=20),
    dict(
        name="adam_combinations",
        steps=20,
        theta=0.5,
        groups=[
            (adam(**DECAY, amsgrad=True, maximize=True, beta2=0.75), PAIR),
            (adam(**DECAY, decoupled=True, amsgrad=True, maximize=True, beta2=0.75), PAIR),
        ],
    ),
    dict(
        name="adam_schedule",
        groups=[(adam(), {"a": (3,)}), (adam(beta1=0.5), {"b": (5,)})],
        lrs=[[single(0.1 * 0.75**t), single(0.01 * t)] for t in range(12)],
    ),
    dict(
        name="paper_orders",
        theta=0.001,
        groups=[
            (hyperparams(1, kappa=0.5, switch_step=9), {"a": (3,)}),
            (hyperparams(2, kappa=0.98, switch_step=7), {"b": (5,)}),
            (hyperparams(3, kappa=0.75, switch_step=10), {"c": (1,)}),
            (hyperparams(7, kappa=0.5, lr=0.25, switch_step=8), {"d": (4,)}),
        ],
    ),
    dict(
        name="reference_orders",
        theta=0.001,
        groups=[
            (hyperparams(0, step_scale="reference"), {"z": (1,)}),
            (hyperparams(1, kappa=0.98, step_scale="reference", switch_step=9), {"a": (3,)}),
            (hyperparams(2, kappa=0.5, step_scale="reference"), {"b": (5,)}),
            (hyperparams(3, kappa=0.25, step_scale="reference", switch_step=4), {"c": (2, 2)}),
        ],
    ),
    dict(
        name="unit_gain_orders",
        theta=0.01,
        groups=[
            (hyperparams(1, kappa=0.98, step_scale="unit-gain", switch_step=9), {"a": (3,)}),
            (hyperparams(2, kappa=0.5, step_scale="unit-gain"), {"b": (5,)}),
            (hyperparams(3, kappa=0.0, step_scale="unit-gain", switch_step=4), {"c": (2, 2)}),
            (hyperparams(7, kappa=0.25, step_scale="unit-gain"), {"d": (1,)}),
        ],
    ),
    dict(
        name="exact_gain_orders",
        theta=0.01,
        groups=[
            (exact_gain(1, 0.98, switch_step=9), {"a": (3,)}),
            (exact_gain(0, 0.5), {"z": (1,)}),
            (exact_gain(1, 1.0), {"b": (5,)}),
            (exact_gain(2, 0.5), {"c": (2, 2)}),
            (exact_gain(2, 1.0, switch_step=4), {"d": (1,)}),
            (exact_gain(3, 0.0), {"e": (1,)}),
            (exact_gain(3, 0.9, beta1=0.5), {"f": (5,)}),
            (exact_gain(3, 0.98), {"g": (4,)}),
            (exact_gain(3, 1.0, beta1=0.0), {"h": (3,)}),
            (exact_gain(7, 1.0), {"i": (1,)}),
        ],
    ),
    dict(
        name="kappa_ends",
        groups=[
            (hyperparams(1, kappa=0.0), {"a": (3,)}),
            (hyperparams(1, kappa=1.0), {"b": (5,)}),
            (hyperparams(3, kappa=1.0, switch_step=9), {"c": (4,)}),
        ],
    ),
    dict(
        name="switches",
        groups=[
            (hyperparams(2, switch_step=1), {"a": (3,)}),
            (hyperparams(2, switch_step=2), {"b": (1,)}),
            (hyperparams(2, switch_step=12), {"c": (4,)}),
            (hyperparams(1, switch_step=13), {"d": (5,)}),
        ],
    ),
    dict(
        name="options",
        theta=0.5,
        groups=[
            (hyperparams(1, **DECAY, switch_step=8), {"a": (3,)}),
            (hyperparams(1, **DECAY, decoupled=True, switch_step=8), {"b": (5,)}),
            (hyperparams(2, amsgrad=True, beta2=0.75, lr=0.25), {"c": (4,)}),
            (hyperparams(3, **DECAY, maximize=True, amsgrad=True, beta2=0.75, lr=0.5, switch_step=6), {"d": (1,)}),
        ],
    ),
    dict(
        name="schedule",
        groups=[(hyperparams(1, switch_step=7), {"a": (3,)}), (hyperparams(2, step_scale="unit-gain"), {"b": (5,)})],
        lrs=[single(0.1 * 0.75**t) for t in range(12)],
    ),
    dict(
        name="cautious",
        theta=0.5,
        groups=[
            (adam(**DECAY, cautious=True), {"a": (3,)}),
            (adam(**DECAY, cautious=True, maximize=True, amsgrad=True, beta2=0.75), {"b": (67,)}),
            (hyperparams(1, **DECAY, cautious=True, kappa=0.98, step_scale="unit-gain"), {"c": (4,)}),
            (hyperparams(2, **DECAY, cautious=True, switch_step=8), {"d": (5,)}),
            (adam(**DECAY, decoupled=True), {"e": (3,)}),
        ],
    ),
    dict(
        name="ema",
        groups=[
            (adam(average={"Ema": {"decay": 0.75, "warmup": False}}), {"a": (3,)}),
            (adam(average={"Ema": {"decay": 0.9375, "warmup": True}}), {"b": (5,)}),
            (adam(average={"Ema": {"decay": 0.125, "warmup": True}}), {"c": (2, 2)}),
            (hyperparams(1, amsgrad=True, average={"Ema": {"decay": 0.5, "warmup": False}}), {"d": (1,)}),
            (hyperparams(2, average={"Ema": {"decay": 1.0, "warmup": False}}), {"e": (67,)}),
            (adam(average={"Ema": {"decay": 0.0, "warmup": False}}), {"f": (3,)}),
        ],
    ),
    dict(
        name="swa",
        groups=[
            (adam(average={"Equal": {"from": 1, "every": 1}}), {"a": (3,)}),
            (adam(**DECAY, decoupled=True, average={"Equal": {"from": 4, "every": 3}}), {"b": (5,)}),
            (hyperparams(1, amsgrad=True, average={"Equal": {"from": 12, "every": 5}}), {"c": (2, 2)}),
            (hyperparams(2, average={"Equal": {"from": 2, "every": 10}}), {"d": (67,)}),
            (adam(), {"e": (3,)}),
        ],
    ),
    dict(name="lengths", groups=[(hyperparams(2, switch_step=4), LENGTHS)], steps=4, theta=0.01),
    dict(
        name="magnitudes",
        groups=[(hyperparams(1, eps=single(1e-8), switch_step=9), MAGNITUDES)],
        theta=start,
        gradient=magnitude,
    ),
]
