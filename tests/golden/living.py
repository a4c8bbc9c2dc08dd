# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy==2.4.6", "safetensors==0.8.0", "torch==2.15.0"]
# ///
"""Writes the golden files of parameters that have no gradient at some steps. Either command, from any directory:

    uv run tests/golden/living.py
    pip install numpy==2.4.6 safetensors==0.8.0 torch==2.15.0 && python tests/golden/living.py

The files are those of make.py, but `grad/T/NAME` is missing wherever PyTorch's `grad` is None at step T: PyTorch then leaves
the parameter alone, and does not count the step for it. All parameters of a case go through one loop: torch.optim.Adam,
torch.optim.AdamW and the MIAdam of pytorch.py, one optimizer of each kind, with clip_grad_norm_ over all of them. A
parameter that joins is given to its optimizer at that step, by `add_param_group` if its group is new there. Besides,

    expect/count/NAME             float32    the steps that PyTorch has counted for the parameter
    expect/skipped                float32    steps skipped up to each step, where a step can be
    expect/value/grad_norm        float64    the norm before clipping at each step, if a step measures it
    expect/scale/grad_norm        float32    the same over absolute values
"""

import math
import pathlib
import zlib

import numpy as np
import pytorch
import torch
from cases import normal
from gradients import sort_metadata
from living_cases import CASES, is_active
from make import Case
from oracle import DEFAULTS, Parameter


def optimizer_of(kind, groups):
    if kind == "miadam":
        return pytorch.MIAdam(groups)
    return (torch.optim.AdamW if kind == "adamw" else torch.optim.Adam)(groups)


def torch_group(number, h):
    """A group without parameters, in the words of its optimizer, and the optimizer's kind."""
    h = DEFAULTS | h
    if h["order"] > 0:
        return "miadam", h | {"number": number}
    names = ["lr", "eps", "weight_decay", "amsgrad", "maximize"]
    group = {"number": number, "betas": (h["beta1"], h["beta2"]), **{name: h[name] for name in names}}
    return "adamw" if h["decoupled"] else "adam", group


class Run:
    """PyTorch's loop over a case, in `dtype`."""

    def __init__(self, case, dtype):
        self.case, self.dtype, self.optimizers = case, dtype, {}
        tensors = {name: torch.tensor(theta, dtype=dtype) for name, theta in case.thetas.items()}
        self.params = {name: torch.nn.Parameter(tensor) for name, tensor in tensors.items()}
        # An entry a step in each: the gradients as the optimizer sees them, None where there are none.
        self.norms, self.taken = [], []
        self.seen, self.updates = ({name: [] for name in self.params} for _ in range(2))
        for t in range(1, case.steps + 1):
            self.join(t)
            self.step(t)

    def join(self, t):
        """Gives the parameters that join now to their optimizers."""
        for number, group in enumerate(self.case.groups):
            new = [self.params[name] for name in group["params"] if self.case.joins(name) == t]
            if not new:
                continue
            kind, made = torch_group(number, {key: value for key, value in group.items() if key != "params"})
            if kind not in self.optimizers:
                self.optimizers[kind] = optimizer_of(kind, [made | {"params": new}])
                continue
            there = [own for own in self.optimizers[kind].param_groups if own["number"] == number]
            if there:
                there[0]["params"].extend(new)
            else:
                self.optimizers[kind].add_param_group(made | {"params": new})

    def step(self, t):
        for name, theta in self.params.items():
            grad = self.case.grads[t - 1].get(name)
            theta.grad = None if grad is None else torch.tensor(grad, dtype=self.dtype)
        before = {name: theta.detach().clone() for name, theta in self.params.items()}
        self.taken.append(self.clip())
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self.case.lr(t, group["number"])
            if self.taken[-1]:
                optimizer.step()
        for name, theta in self.params.items():
            self.seen[name].append(None if theta.grad is None else theta.grad.double().numpy())
            self.updates[name].append((theta.detach().double() - before[name].double()).numpy())

    def clip(self):
        """Whether the step is taken."""
        skips = self.case.options.get("skip_non_finite", False)
        if not skips and "max_grad_norm" not in self.case.options:
            return True
        params = self.params.values()
        self.norms.append(torch.nn.utils.get_total_norm([p.grad for p in params if p.grad is not None]).item())
        try:
            bound = self.case.options.get("max_grad_norm", math.inf)
            torch.nn.utils.clip_grad_norm_(params, bound, error_if_nonfinite=skips)
        except RuntimeError:
            return False
        return True

    def state(self, name):
        """Empty if the parameter has had no gradient."""
        theta = self.params[name]
        return next((made.state[theta] for made in self.optimizers.values() if theta in made.state), {})


class LivingCase(Case):
    """`groups` as in `Case`, with names as they are; the last part of a name is its pattern in living_cases.py.

    `options` are the case's metadata, and a gradient is normal times `size(t)`. `bad` is {step: (name, value)}: what one
    element of a gradient is.
    """

    def __init__(self, name, groups, steps=36, theta=0.1, options={}, lrs=None, size=lambda t: 1.0, bad={}):
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.name, self.steps, self.lrs, self.options = name, steps, lrs, options
        self.tensors, self.worst_float32 = {}, 0.0
        shapes = {tensor: shape for _, tensors in groups for tensor, shape in tensors.items()}
        self.groups = [{"params": list(tensors), **h} for h, tensors in groups]
        self.thetas = {tensor: normal(rng, shape, theta) for tensor, shape in shapes.items()}
        # All are drawn, so that a change of one pattern leaves the others' numbers.
        drawn = [{tensor: normal(rng, shape, size(t)) for tensor, shape in shapes.items()} for t in range(1, steps + 1)]
        self.active = {tensor: [is_active(tensor, t, rng) for t in range(1, steps + 1)] for tensor in shapes}
        self.grads = [{tensor: grad for tensor, grad in grads.items() if self.active[tensor][index]}
                      for index, grads in enumerate(drawn)]  # fmt: skip
        for t, (tensor, value) in bad.items():
            self.grads[t - 1][tensor].reshape(-1)[-1] = value
        self.exact, self.single = Run(self, torch.float64), Run(self, torch.float32)
        assert self.exact.taken == self.single.taken == [t not in bad for t in range(1, steps + 1)]
        if "max_grad_norm" in options:
            norms = [norm for norm in self.exact.norms if math.isfinite(norm)]
            assert min(norms) < options["max_grad_norm"] < max(norms), f"{name}: all norms are on one side of the bound"
        for number, group in enumerate(self.groups):
            for tensor in group["params"]:
                self.add_tensor(tensor, group, number)
        self.add_report()

    def joins(self, name):
        """The step at which the optimizer is given the parameter: the first, but for one that joins."""
        return 1 + self.active[name].index(True) if name.endswith("joins") else 1

    def magnitude(self, index, name):
        """What rounding errors of the gradient are relative to."""
        bound = self.options.get("max_grad_norm", math.inf)
        factor = min(1.0, bound / (self.exact.norms[index] + 1e-6)) if self.exact.norms else 1.0
        return np.abs(self.grads[index][name].astype(np.float64)) * factor

    def add_tensor(self, name, h, group):
        theta = self.thetas[name]
        parameter = Parameter(theta, h)
        update, scale = (np.zeros((self.steps, *theta.shape)) for _ in range(2))
        steps = np.flatnonzero(np.logical_and(self.exact.taken, self.active[name]))
        for count, index in enumerate(steps, 1):
            grad, lr = self.exact.seen[name][index], self.lr(index + 1, group)
            update[index], scale[index] = parameter.step(count, grad, lr, self.magnitude(index, name))
        found, state = np.array(self.exact.updates[name]), self.exact.state(name)
        self.must_agree(name, found, update, scale, theta)
        self.add_float32_error(self.single.updates[name], theta, update, scale)
        assert int(state.get("step", state.get("t", 0))) == len(steps), f"{self.name}: {name}: PyTorch counts otherwise"
        if parameter.h["order"] == 0 and state:
            update = self.take_over(parameter, found, state)
        self.tensors[f"param/{name}"] = theta
        for index in np.flatnonzero(self.active[name]):
            self.tensors[f"grad/{index + 1}/{name}"] = self.grads[index][name]
        self.tensors[f"expect/count/{name}"] = np.array(len(steps), dtype=np.float32)
        self.expect_all(name, parameter, update, scale)

    def add_report(self):
        if self.exact.norms:
            squares = [sum((grad.astype(np.float64) ** 2).sum() for grad in grads.values()) for grads in self.grads]
            self.tensors["expect/skipped"] = np.cumsum([not taken for taken in self.exact.taken]).astype(np.float32)
            self.tensors["expect/value/grad_norm"] = np.array(self.exact.norms)
            self.tensors["expect/scale/grad_norm"] = np.sqrt(squares).astype(np.float32)

    def save(self, folder):
        super().save(folder)
        sort_metadata(folder / f"{self.name}.safetensors")


def main():
    for arguments in CASES:
        LivingCase(**arguments).save(pathlib.Path(__file__).parent)


if __name__ == "__main__":
    main()
