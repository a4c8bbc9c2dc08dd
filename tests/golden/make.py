# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy==2.4.6", "safetensors==0.8.0", "torch==2.15.0"]
# ///
"""Writes the golden files beside this script. Either command, from any directory:

    uv run tests/golden/make.py
    pip install numpy==2.4.6 safetensors==0.8.0 torch==2.15.0 && python tests/golden/make.py

Each file is a case of the `replay` example, and holds besides, for every parameter,

    expect/value/KIND/NAME    float64    the expected result
    expect/scale/KIND/NAME    float32    the same over absolute values, which rounding errors are relative to

where KIND is `update` (theta_t - theta_{t-1} for every step t, stacked along the first axis), or, after the last
step, `first_moment`, `second_moment`, `max_second_moment` (under amsgrad), `integral/J` and `average`.

Order 0 comes from PyTorch's own Adam and AdamW run in float64, and must agree with oracle.py; higher orders and cautious
weight decay come from oracle.py and must agree with an optimizer of pytorch.py in float64. Averages of the weights come from PyTorch's
AveragedModel in float64, and must agree with oracle.py. `expect/float32` is the worst error that PyTorch's
float32 makes on the same case, in units of epsilon * (scale + |theta|). Inputs are float32; hyperparameters too,
except in adam_defaults, whose figures are everyone's.
"""

import json
import pathlib
import zlib

import numpy as np
import pytorch
import torch
from cases import CASES, normal
from oracle import DEFAULTS, Average, Parameter
from safetensors.numpy import save_file

EPSILON = 2.0**-23


class Case:
    """`groups` is a list of (hyperparameters, {name: shape}); names get their group's number."""

    def __init__(self, name, groups, steps=12, theta=0.1, gradient=None, lrs=None):
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.name, self.groups, self.steps, self.lrs = name, [], steps, lrs
        self.tensors, self.worst_float32, self.options = {}, 0.0, {}
        for number, (h, shapes) in enumerate(groups):
            names = {f"{number}.{tensor}" if len(groups) > 1 else tensor: shape for tensor, shape in shapes.items()}
            self.groups.append({"params": list(names), **h})
            for tensor, shape in names.items():
                start = theta(tensor) if callable(theta) else theta
                grads = [(gradient or (lambda _, __, shape, rng: normal(rng, shape)))(tensor, t, shape, rng)
                         for t in range(1, steps + 1)]  # fmt: skip
                self.add(tensor, h, number, normal(rng, shape, start), grads)

    def lr(self, t, group):
        if self.lrs is None:
            return self.groups[group].get("lr", DEFAULTS["lr"])
        lrs = self.lrs[t - 1]
        return lrs[group] if isinstance(lrs, list) else lrs

    def add(self, name, h, group, theta, grads):
        lrs = [self.lr(t, group) for t in range(1, self.steps + 1)]
        parameter = Parameter(theta, h)
        pairs = [parameter.step(t, grad, lr) for t, (grad, lr) in enumerate(zip(grads, lrs), 1)]
        update, scale = (np.array(part) for part in zip(*pairs))
        # PyTorch has no cautious decay.
        own_adam = parameter.h["order"] == 0 and not parameter.h["cautious"]
        found, _ = pytorch.updates(theta, grads, lrs, parameter.h, torch.float32, own_adam)
        self.add_float32_error(found, theta, update, scale)
        if own_adam:
            found, state = pytorch.updates(theta, grads, lrs, parameter.h, torch.float64, own_adam=True)
            self.must_agree(self.name, np.array(found), update, scale, theta)
            update = self.take_over(parameter, found, state)
        else:
            own, _ = pytorch.updates(theta, grads, lrs, parameter.h, torch.float64, own_adam=False)
            self.must_agree(name, np.array(own), update, scale, theta)
        self.tensors[f"param/{name}"] = theta
        self.tensors |= {f"grad/{t}/{name}": grad for t, grad in enumerate(grads, 1)}
        self.expect_all(name, parameter, update, scale)
        if "average" in h:
            self.expect_average(name, h["average"], theta, update, scale)

    def expect_all(self, name, parameter, update, scale):
        self.expect("update", name, update, scale)
        for kind in ["first_moment", "second_moment"] + ["max_second_moment"] * parameter.h["amsgrad"]:
            self.expect(kind, name, getattr(parameter.value, kind), getattr(parameter.scale, kind))
        for j, (value, bound) in enumerate(zip(parameter.value.integrals, parameter.scale.integrals), 1):
            self.expect(f"integral/{j}", name, value, bound)

    def expect_average(self, name, average, theta, update, scale):
        oracle = Average(average)
        values = theta + np.cumsum(update, 0)
        scales = np.abs(theta) + np.cumsum(scale, 0)
        for t, pair in enumerate(zip(values, scales), 1):
            oracle.follow(t, *pair)
        found = pytorch.averages(theta, update, average)
        assert (np.abs(found - oracle.value) <= 64 * 2.0**-52 * oracle.scale).all(), f"{self.name}: {name}: the average"
        self.expect("average", name, found, oracle.scale)

    def take_over(self, parameter, found, state):
        """PyTorch's update, and its moments in place of the oracle's."""
        parameter.value.first_moment = state["exp_avg"].numpy()
        parameter.value.second_moment = state["exp_avg_sq"].numpy()
        if parameter.h["amsgrad"]:
            parameter.value.max_second_moment = state["max_exp_avg_sq"].numpy()
        return np.array(found)

    def must_agree(self, name, found, expected, scale, theta):
        # float64 has 2**-52, an update is a difference of theta, and errors add up over the steps.
        bound = 64 * 2.0**-52 * (scale + np.abs(theta) + np.abs(expected).sum(0))
        assert (np.abs(found - expected) <= bound).all(), f"{self.name}: {name}: PyTorch and the oracle disagree"

    def add_float32_error(self, found, theta, update, scale):
        unit = EPSILON * (scale + np.abs(theta + np.cumsum(update, 0)))
        error = np.abs(np.array(found) - update)
        self.worst_float32 = max(self.worst_float32, np.max(error[unit > 0] / unit[unit > 0], initial=0.0))

    def expect(self, kind, name, value, scale):
        self.tensors[f"expect/value/{kind}/{name}"] = np.asarray(value, dtype=np.float64)
        self.tensors[f"expect/scale/{kind}/{name}"] = np.asarray(scale, dtype=np.float32)

    def save(self, folder):
        metadata = {"groups": json.dumps(self.groups)} | {key: json.dumps(value) for key, value in self.options.items()}
        if self.lrs is not None:
            metadata["lr_per_step"] = json.dumps(self.lrs)
        self.tensors["expect/float32"] = np.array(self.worst_float32)
        tensors = {name: np.asarray(tensor) for name, tensor in self.tensors.items()}
        path = folder / f"{self.name}.safetensors"
        save_file(tensors, path, metadata)
        print(f"{path.name:36}{path.stat().st_size:8} bytes; PyTorch in float32: {self.worst_float32:.2f} epsilon")


def main():
    for arguments in CASES:
        Case(**arguments).save(pathlib.Path(__file__).parent)


if __name__ == "__main__":
    main()
