"""MIAdam in float64, written from Algorithm 1 of the paper (arXiv 2412.12473), line by line, for NumPy arrays.

Beside every result stands its scale: the same recurrence over absolute values. Rounding errors are relative to
the scale, where a result itself may be near 0 by cancellation.
"""

import math

import numpy as np

DEFAULTS = {
    "lr": 1e-3,
    "beta1": 0.9,
    "beta2": 0.999,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "decoupled": False,
    "cautious": False,
    "order": 1,
    "kappa": 0.5,
    "switch_step": 2**32 - 1,
    "step_scale": "paper",
    "amsgrad": False,
    "maximize": False,
}


def gain(t, h):
    """What n integrals make of a constant gradient of 1 at step t: the sum of the weights of all gradients so far."""
    n, kappa, beta1 = h["order"], h["kappa"], h["beta1"]
    # From step i on, the first moment goes through n sums in a row, each of which may delay it.
    return sum(math.comb(t - i + n - 1, n - 1) * kappa ** (t - i) * (1 - beta1**i) for i in range(1, t + 1))


def step_scale(lr, h, t):
    """alpha_t while t < zeta: line 11 of Algorithm 1, the authors' code, and the two that undo the integrals' gain."""
    n = h["order"]
    if n == 0:
        return lr
    if h["step_scale"] == "exact-gain":
        return lr * (1 - h["beta1"] ** t) / gain(t, h)
    return {"paper": lr**n, "reference": lr ** (n + 1), "unit-gain": lr * (1 - h["kappa"]) ** n}[h["step_scale"]]


class Accumulators:
    """m, v and the integrals of one parameter."""

    def __init__(self, shape, order):
        self.first_moment = np.zeros(shape)
        self.second_moment = np.zeros(shape)
        self.max_second_moment = np.zeros(shape)
        self.integrals = [np.zeros(shape) for _ in range(order)]

    def advance(self, g, g_squared, t, h):
        """Lines 4 to 15: the numerator before bias correction."""
        self.first_moment = h["beta1"] * self.first_moment + (1 - h["beta1"]) * g
        self.second_moment = h["beta2"] * self.second_moment + (1 - h["beta2"]) * g_squared
        self.max_second_moment = np.maximum(self.max_second_moment, self.second_moment)
        if t >= h["switch_step"]:
            return self.first_moment
        below = self.first_moment
        for j, integral in enumerate(self.integrals):
            self.integrals[j] = h["kappa"] * integral + below
            below = self.integrals[j]
        return below


class Average:
    """The average of a parameter's values after its steps: PyTorch's `AveragedModel`, by its documentation."""

    def __init__(self, average):
        ((self.kind, self.settings),) = average.items()
        self.value, self.scale, self.averaged = None, None, 0

    def takes(self, t):
        """Whether step t is averaged."""
        start, every = self.settings.get("from", 1), self.settings.get("every", 1)
        return t >= start and (t - start) % every == 0

    def rate(self):
        if self.averaged == 0:
            return 1.0
        if self.kind == "Equal":
            return 1 / (self.averaged + 1)
        warm = (1 + self.averaged) / (10 + self.averaged) if self.settings["warmup"] else 1.0
        return 1 - min(self.settings["decay"], warm)

    def follow(self, t, theta, scale):
        """`scale` is what rounding errors of theta are relative to."""
        if self.takes(t):
            rate = self.rate()
            self.value = theta if self.averaged == 0 else self.value + rate * (theta - self.value)
            self.scale = scale if self.averaged == 0 else self.scale + rate * (scale - self.scale)
            self.averaged += 1


class Parameter:
    """One parameter tensor under the hyperparameters `h`."""

    def __init__(self, theta, h):
        self.h = DEFAULTS | h
        self.theta = np.array(theta, dtype=np.float64)
        self.value = Accumulators(self.theta.shape, self.h["order"])
        self.scale = Accumulators(self.theta.shape, self.h["order"])

    def step(self, t, grad, lr=None, magnitude=None):
        """Step t, counted from 1. Returns the update theta_t - theta_{t-1} and its scale.

        `magnitude` is what rounding errors in `grad` are relative to, if not its absolute value.
        """
        h = self.h
        lr = h["lr"] if lr is None else lr
        decoupled = h["weight_decay"] if h["decoupled"] or h["cautious"] else 0.0
        coupled = h["weight_decay"] - decoupled
        grad = np.asarray(grad, dtype=np.float64)
        g = (-grad if h["maximize"] else grad) + coupled * self.theta
        g_scale = (np.abs(grad) if magnitude is None else magnitude) + coupled * np.abs(self.theta)

        num = self.value.advance(g, g * g, t, h)
        num_scale = self.scale.advance(g_scale, g_scale * g_scale, t, h)
        alpha = step_scale(lr, h, t) if t < h["switch_step"] else lr
        v = self.value.max_second_moment if h["amsgrad"] else self.value.second_moment
        denominator = np.sqrt(v / (1 - h["beta2"] ** t)) + h["eps"]
        factor = alpha / (1 - h["beta1"] ** t) / denominator

        if h["cautious"]:
            # burn-optim 0.22.1, optim/adamw.rs: `tensor.greater_equal_scalar(0.0)` must not differ from
            # `moment_1.greater_equal_scalar(0.0)`. A sign that float32 may lose would be no test.
            assert (np.abs(num) > 1e-4 * num_scale).all() and (np.abs(self.theta) > 1e-4).all()
            decoupled = np.where((self.theta >= 0) == (num >= 0), decoupled, 0.0)
        update = -lr * decoupled * self.theta - factor * num
        scale = lr * decoupled * np.abs(self.theta) + factor * num_scale
        self.theta = self.theta + update
        return update, scale
