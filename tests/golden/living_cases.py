"""The cases that living.py writes, as arguments of its `LivingCase`."""

import math

from cases import adam, hyperparams, single
from gradient_cases import swinging

# Whether a parameter has a gradient at step t, by the last part of its name.
PATTERNS = {
    "always": lambda t, rng: True,
    "odd": lambda t, rng: t % 2 == 1,
    "bursts": lambda t, rng: t % 9 in (3, 4, 5, 6),
    "frozen": lambda t, rng: not 10 <= t < 30,
    "joins": lambda t, rng: t >= 20,
    "rare": lambda t, rng: rng.random() < 0.1,
    "never": lambda t, rng: False,
    # All but one step in nine, by which `bursts` and this leave some steps to nobody.
    "often": lambda t, rng: t % 9 != 8,
}


def is_active(name, t, rng):
    return PATTERNS[name.split(".")[-1]](t, rng)


DECAY = dict(weight_decay=0.5)
SHAPES = {"always": (3,), "odd": (5,), "bursts": (2, 2), "frozen": (3,), "joins": (5,), "rare": (1,), "never": (2,)}


def named(prefix, *patterns):
    return {f"{prefix}.{pattern}": SHAPES.get(pattern, (3,)) for pattern in patterns}


CASES = [
    dict(name="living_adam", groups=[(adam(), SHAPES)]),
    dict(name="living_adamw", groups=[(adam(**DECAY, decoupled=True), SHAPES)], theta=0.5),
    dict(name="living_coupled", groups=[(adam(**DECAY), SHAPES)], theta=0.5),
    dict(name="living_amsgrad", groups=[(adam(amsgrad=True, beta2=0.75), SHAPES)]),
    dict(
        name="living_groups",
        theta=0.5,
        # The last group is new at step 20.
        groups=[
            (adam(**DECAY), named("a", "always", "odd", "frozen")),
            (adam(beta1=0.5, maximize=True), named("b", "bursts", "rare", "joins")),
            (adam(eps=single(1e-2), amsgrad=True), named("c", "joins")),
        ],
        lrs=[[single(0.1 * 0.95**t), single(0.004 * t), 0.0625] for t in range(36)],
    ),
    dict(
        name="living_orders",
        theta=0.01,
        # Each parameter switches at its own step.
        groups=[
            (hyperparams(1, kappa=0.5, switch_step=9), named("a", "always", "odd", "frozen", "joins")),
            (hyperparams(2, kappa=0.75, step_scale="unit-gain", switch_step=7), named("b", "odd", "bursts", "rare")),
            (hyperparams(3, kappa=0.25, lr=0.5, switch_step=12), named("c", "bursts", "frozen", "joins")),
            (hyperparams(1, kappa=0.98, step_scale="reference"), named("d", "odd", "never")),
        ],
    ),
    dict(
        name="living_options",
        theta=0.5,
        groups=[
            (hyperparams(1, **DECAY, switch_step=8), named("a", "odd", "frozen")),
            (hyperparams(2, **DECAY, decoupled=True, step_scale="unit-gain", switch_step=8), named("b", "bursts", "joins")),
            (hyperparams(3, maximize=True, amsgrad=True, beta2=0.75, switch_step=6), named("c", "odd", "frozen")),
        ],
        lrs=[[single(0.1 * 0.95**t), single(0.004 * t), 0.5] for t in range(36)],
    ),
    dict(
        name="living_clip",
        options={"max_grad_norm": 4.0},
        size=swinging,
        # At the steps 8, 17 and so on nobody has a gradient.
        groups=[
            (adam(**DECAY, decoupled=True), named("a", "often", "bursts")),
            (hyperparams(1, kappa=0.75, switch_step=8), named("b", "often", "bursts")),
        ],
    ),
    dict(
        name="living_skip",
        options={"skip_non_finite": True, "max_grad_norm": 3.0},
        size=swinging,
        # Bad gradients before a rest, at the end of a burst, at what would be the first step of its parameter.
        bad={5: ("a.odd", math.nan), 15: ("b.bursts", math.inf), 20: ("b.joins", -math.inf), 27: ("a.odd", math.nan)},
        groups=[
            (adam(amsgrad=True, beta2=0.75), named("a", "odd", "frozen")),
            (hyperparams(2, step_scale="unit-gain", switch_step=9), named("b", "bursts", "joins")),
        ],
    ),
]
