"""The cases that gradients.py writes, as arguments of its `GradientCase` and of GradScaler."""

import math

from cases import adam, hyperparams, single

DECAY = dict(weight_decay=0.5)


def swinging(t):
    """Gradients now small, now large: 0.05 to 5."""
    return 0.05 * 100 ** ((5 * t % 12) / 11)


PAIR = [
    (adam(**DECAY, decoupled=True), {"a": (3,), "b": (5,)}),
    (hyperparams(1, kappa=0.75, switch_step=8), {"c": (2, 2), "d/e": (67,)}),
]
COSINE = {"kind": "cosine", "steps": 16, "end_factor": 0.25}
MULTI_STEP = {"kind": "multi_step", "at": [4, 9], "gamma": 0.5}
SCALER = dict(init_scale=1024.0, growth_factor=2.0, backoff_factor=0.5, growth_interval=3)
# At the first step, twice in a row, in either group, and of every kind.
BAD = {1: ("d/e", math.inf), 6: ("a", math.nan), 7: ("b", -math.inf), 12: ("c", math.nan), 15: ("b", math.inf)}
CASES = [
    dict(name="clip_norm", groups=PAIR, options={"max_grad_norm": 4.0}, size=swinging),
    dict(
        name="clip_norm_small",
        # A norm near the 1e-6 that is added to it.
        options={"max_grad_norm": single(1e-6)},
        size=lambda t: 1e-7 * swinging(t),
        groups=[
            (adam(**DECAY, eps=single(1e-8)), {"a": (3,), "b": (5,)}),
            (hyperparams(2, kappa=0.5, step_scale="unit-gain", eps=single(1e-8)), {"c": (2, 2), "d/e": (67,)}),
        ],
    ),
    dict(
        name="clip_norm_large",
        options={"max_grad_norm": 1e10},
        size=lambda t: 1e9 * swinging(t),
        groups=[
            (adam(amsgrad=True, beta2=0.75), {"a": (3,), "b": (5,)}),
            (hyperparams(3, kappa=0.5, lr=0.5, maximize=True), {"c": (2, 2), "d/e": (67,)}),
        ],
    ),
    dict(
        name="clip_value",
        options={"clip_value": 0.5},
        size=swinging,
        groups=[(adam(), {"a": (3,), "b": (5,)}), (hyperparams(2, switch_step=7), {"c": (2, 2), "d/e": (67,)})],
    ),
    dict(name="accumulation", groups=PAIR, options={"grad_factor": 1 / 3}, micros=3),
    dict(name="skip", groups=PAIR, options={"skip_non_finite": True}, steps=16, bad=BAD),
    dict(name="loss_scale", groups=PAIR, options={"scaler": SCALER}, steps=16, bad=BAD),
    dict(
        name="loss_scale_odd",
        groups=PAIR,
        options={"scaler": dict(init_scale=1000.0, growth_factor=1.5, backoff_factor=0.375, growth_interval=2)},
        steps=16,
        bad=BAD,
    ),
    dict(
        name="training",
        groups=[
            (adam(**DECAY, amsgrad=True, schedule=COSINE), {"a": (3,), "b": (5,)}),
            (
                hyperparams(2, **DECAY, decoupled=True, step_scale="unit-gain", switch_step=9, schedule=MULTI_STEP),
                {"c": (2, 2), "d/e": (67,)},
            ),
        ],
        options={"grad_factor": 0.2, "scaler": SCALER, "max_grad_norm": 3.0, "clip_value": 0.375, "zero_grads": True},
        steps=16,
        micros=5,
        size=swinging,
        bad=BAD,
    ),
]

SCALERS = [
    dict(init_scale=65536.0, growth_factor=2.0, backoff_factor=0.5, growth_interval=3),
    dict(init_scale=1024.0, growth_factor=4.0, backoff_factor=0.25, growth_interval=1),
    dict(init_scale=1000.0, growth_factor=1.5, backoff_factor=0.375, growth_interval=2),
    dict(init_scale=1e-3, growth_factor=3.0, backoff_factor=0.75, growth_interval=4),
    # No float32s, which GradScaler multiplies in float64 and then rounds.
    dict(init_scale=65536.0, growth_factor=1.1, backoff_factor=0.9, growth_interval=2),
]
