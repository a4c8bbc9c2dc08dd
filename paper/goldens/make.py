# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy==2.4.6", "safetensors==0.8.0", "torch==2.15.0"]
# ///
"""Writes the golden files beside this script. Either command, from any directory:

    uv run paper/goldens/make.py
    pip install numpy==2.4.6 safetensors==0.8.0 torch==2.15.0 && python paper/goldens/make.py

Each file is 50 steps of one optimizer on three small tensors: `rows` and `columns` are matrices in which each row or column has the
weights into one unit, and `vector` is a bias. It holds

    lr              float64    the learning rate of each step
    theta/NAME      float32    the parameters before the first step
    grad/NAME       float32    the gradient of each step, along the first axis
    update/NAME     float64    theta_t - theta_{t-1} of each step
    scale/NAME      float32    what rounding errors of the update are relative to

Updates come from torch.optim in float64 where it has the optimizer, and must agree with oracles.py; else from oracles.py.
"""

import pathlib

import numpy as np
import oracles
import torch
from safetensors.numpy import save_file

STEPS = 50
SHAPES = {"rows": (3, 4), "columns": (4, 2), "vector": (3,)}
AXES = [1, 0, None]


def schedule(base):
    """Up for five steps, then down by a cosine; one step stands still."""
    t = np.arange(1, STEPS + 1)
    factors = np.minimum(t / 5, 0.5 + 0.5 * np.cos(np.pi * (t - 5) / STEPS))
    factors[19] = 0.0
    return base * factors


def start(rng):
    return [rng.normal(0, 0.1, shape).astype(np.float32) for shape in SHAPES.values()]


def recorded(rng, exponents):
    """Gradients of a magnitude of its own for each element, between these powers of 10, which drifts, with zeros."""
    grads = []
    for shape in SHAPES.values():
        magnitude = 10 ** rng.uniform(*exponents, shape)
        drift = 1 + 0.9 * np.sin(np.linspace(0, 7, STEPS).reshape(-1, *[1] * len(shape)) + rng.uniform(0, 6, shape))
        grad = magnitude * drift * (rng.normal(0, 1, (STEPS, *shape)) + 0.5)
        grad[rng.uniform(size=grad.shape) < 0.1] = 0
        grads.append(grad.astype(np.float32))
    grads[0][:, 0, 0] = 0  # an element that has no gradient ever,
    grads[1][:10] = 0  # a tensor that has none at first,
    for grad in grads:
        grad[29] = 0  # and a step without any.
    return grads


def noisy_quadratic(rng, optimizer, thetas, lrs):
    """The gradients that an optimizer meets on sum(h*(theta - best)**2)/2, with noise."""
    curvature = [10 ** rng.uniform(-1, 1, shape) for shape in SHAPES.values()]
    thetas, grads = [theta.astype(np.float64) for theta in thetas], [[] for _ in thetas]
    for t, lr in enumerate(lrs):
        now = [h * (theta - 1) + rng.normal(0, 0.3, theta.shape) for h, theta in zip(curvature, thetas)]
        now = [(0 * g if t == 4 else g).astype(np.float32) for g in now]
        optimizer.step(lr, thetas, [g.astype(np.float64) for g in now])
        for all_steps, g in zip(grads, now):
            all_steps.append(g)
    return [np.stack(all_steps) for all_steps in grads]


def run_oracle(optimizer, thetas, grads, lrs):
    thetas = [theta.astype(np.float64) for theta in thetas]
    updates, scales = [], []
    for t, lr in enumerate(lrs):
        before = [theta.copy() for theta in thetas]
        scales.append(optimizer.step(lr, thetas, [grad[t].astype(np.float64) for grad in grads]))
        updates.append([theta - old for theta, old in zip(thetas, before)])
    return [[np.stack(steps) for steps in zip(*each)] for each in (updates, scales)]


def run_torch(make, thetas, grads, lrs):
    params = [torch.tensor(theta, dtype=torch.float64, requires_grad=True) for theta in thetas]
    optimizer, updates = make(params), []
    for t, lr in enumerate(lrs):
        optimizer.param_groups[0]["lr"] = lr
        before = [param.detach().clone() for param in params]
        for param, grad in zip(params, grads):
            param.grad = torch.tensor(grad[t], dtype=torch.float64)
        optimizer.step()
        updates.append([(param.detach() - old).numpy() for param, old in zip(params, before)])
    return [np.stack(steps) for steps in zip(*updates)]


def save(name, lrs, thetas, grads, updates, scales):
    tensors = {"lr": lrs}
    for tensor, theta, grad, update, scale in zip(SHAPES, thetas, grads, updates, scales):
        assert np.isfinite(update).all() and np.isfinite(scale).all()
        tensors |= {f"theta/{tensor}": theta, f"grad/{tensor}": grad}
        tensors |= {f"update/{tensor}": update, f"scale/{tensor}": scale.astype(np.float32)}
    tensors = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
    path = pathlib.Path(__file__).parent / f"{name}.safetensors"
    save_file(tensors, path)
    path.chmod(0o644)


def case(name, optimizer, base_lr, make=None, exponents=(-7, 3)):
    rng = np.random.default_rng(list(name.encode()))
    thetas, grads, lrs = start(rng), recorded(rng, exponents), schedule(base_lr)
    updates, scales = run_oracle(optimizer, thetas, grads, lrs)
    if make is not None:
        for theirs, ours in zip(run_torch(make, thetas, grads, lrs), updates):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-14)
        updates = run_torch(make, thetas, grads, lrs)
    save(name, lrs, thetas, grads, updates, scales)


def swats():
    """Under a threshold that such a short run meets."""
    rng = np.random.default_rng(list(b"swats"))
    make = lambda: oracles.Swats(threshold=1.5e-4)  # noqa: E731
    thetas, lrs = start(rng), schedule(1e-2)
    grads = noisy_quadratic(rng, make(), thetas, lrs)
    optimizer = make()
    updates, scales = run_oracle(optimizer, thetas, grads, lrs)
    assert 10 < optimizer.switched_at < 40
    # None is so close that rounding decides: that of gamma, 3e-3, is below 1e-3 of the threshold.
    assert all(not 0.9 < margin / optimizer.threshold < 1.1 for margin in optimizer.margins[1:])
    save("swats", lrs, thetas, grads, updates, scales)


def main():
    torch.set_default_dtype(torch.float64)
    of = torch.optim
    case("adam", oracles.Adam(), 1e-3, of.Adam)
    case("adam_coupled", oracles.Adam(decay=0.5), 1e-3, lambda params: of.Adam(params, weight_decay=0.5))
    case("adamax", oracles.Adamax(), 2e-3, of.Adamax)
    case("adamw", oracles.AdamW(), 1e-3, of.AdamW)
    case("nadam", oracles.NAdam(), 2e-3, of.NAdam)
    case("adabound", oracles.AdaBound(base_lr=1e-3), 1e-3)
    case("adai", oracles.Adai(), 1.0, exponents=(-1, 1))
    case("nd_adam", oracles.NdAdam(axes=AXES), 1e-3, exponents=(-5, 1))
    swats()


if __name__ == "__main__":
    main()
