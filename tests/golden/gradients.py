# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy==2.4.6", "safetensors==0.8.0", "torch==2.15.0"]
# ///
"""Writes the golden files of what happens to gradients before an update, and scaler.json. Either command, from any
directory:

    uv run tests/golden/gradients.py
    pip install numpy==2.4.6 safetensors==0.8.0 torch==2.15.0 && python tests/golden/gradients.py

The files are those of make.py, from a training loop in which PyTorch does all the work (training.py): autograd adds up
micro-batches of loss / k, torch.amp.GradScaler scales the loss and unscales the gradients, clip_grad_norm_ and
clip_grad_value_ clip them, and GradScaler, or clip_grad_norm_ with error_if_nonfinite, skips the step. It runs in
float64, and oracle.py goes on with the gradients that it hands to the optimizer. A case's own `grad/T/NAME` are what a
float32 loop has in `.grad` after all backward passes, without the division by k. Besides,

    expect/loss_scale             float32    GradScaler's scale after each step
    expect/skipped                float32    steps skipped up to each step
    expect/value/grad_norm        float64    the norm before clipping at each step, if a step measures it
    expect/scale/grad_norm        float32    the same over absolute values

scaler.json is a list of cases: the arguments of GradScaler and, for 30 steps, whether a gradient was bad and the scale
after the step; and the number of steps taken.
"""

import json
import math
import pathlib
import warnings
import zlib

import numpy as np
import torch
from cases import normal
from gradient_cases import CASES, SCALERS
from make import Case
from oracle import Parameter
from training import Training

FOLDER = pathlib.Path(__file__).parent


class GradientCase(Case):
    """`groups` as in `Case`, with names as they are; `options` are the case's metadata.

    A step has `micros` micro-batches of normal gradients times `size(t)`. `bad` is {step: (name, value)}: what one
    element of the last of them is.
    """

    def __init__(self, name, groups, options, steps=12, theta=0.1, micros=1, size=lambda t: 1.0, bad={}):
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.name, self.steps, self.lrs, self.options = name, steps, None, options
        self.tensors, self.worst_float32 = {}, 0.0
        shapes = {tensor: shape for _, tensors in groups for tensor, shape in tensors.items()}
        self.groups = [{"params": list(tensors), **h} for h, tensors in groups]
        self.thetas = {tensor: normal(rng, shape, theta) for tensor, shape in shapes.items()}
        draw = lambda t: {tensor: normal(rng, shape, size(t)) for tensor, shape in shapes.items()}
        self.micros = [[draw(t) for _ in range(micros)] for t in range(1, steps + 1)]
        for t, (tensor, value) in bad.items():
            grad = self.micros[t - 1][-1][tensor].reshape(-1)
            grad[len(grad) // 2] = value
        self.exact, self.single = Training(self, torch.float64), Training(self, torch.float32)
        # GradScaler's own scales are float32 whatever the gradients.
        assert self.exact.scales == self.single.scales and self.exact.taken == self.single.taken
        assert [not taken for taken in self.exact.taken] == [t in bad for t in range(1, steps + 1)]
        if "max_grad_norm" in options:
            norms = [norm for norm in self.exact.norms if math.isfinite(norm)]
            assert min(norms) < options["max_grad_norm"] < max(norms), f"{name}: all norms are on one side of the bound"
        for number, group in enumerate(self.groups):
            for tensor in group["params"]:
                self.add_tensor(tensor, group, number)
        self.add_report()

    def recorded(self, index, name):
        """What a float32 loop has in `.grad`."""
        scale = np.float32(self.exact.scales[index])
        return sum(scale * micro[name] for micro in self.micros[index])

    def mean(self, index, name):
        """Of the absolute values, which all rounding errors in the gradient are relative to."""
        micros = self.micros[index]
        return sum(np.abs(micro[name].astype(np.float64)) for micro in micros) / len(micros)

    def magnitude(self, index, name):
        """The mean, clipped."""
        bound = self.options.get("max_grad_norm", math.inf)
        clipped = self.mean(index, name) * min(1.0, bound / (self.exact.norms[index] + 1e-6))
        # Where a bound stands, nothing before it shows.
        bound = self.options.get("clip_value", math.inf)
        return np.where(np.abs(self.exact.seen[name][index]) == bound, bound, clipped)

    def add_tensor(self, name, h, group):
        parameter = Parameter(self.thetas[name], h)
        update, scale = (np.zeros((self.steps, *self.thetas[name].shape)) for _ in range(2))
        for t, index in enumerate(np.flatnonzero(self.exact.taken), 1):
            grad, lr = self.exact.seen[name][index], self.exact.lrs[index][group]
            update[index], scale[index] = parameter.step(t, grad, lr, self.magnitude(index, name))
        found = np.array(self.exact.updates[name])
        self.must_agree(name, found, update, scale, self.thetas[name])
        self.add_float32_error(self.single.updates[name], self.thetas[name], update, scale)
        if parameter.h["order"] == 0:
            update = self.take_over(parameter, found, self.exact.state(name))
        self.tensors[f"param/{name}"] = self.thetas[name]
        for index in range(self.steps):
            self.tensors[f"grad/{index + 1}/{name}"] = self.recorded(index, name)
        self.expect_all(name, parameter, update, scale)

    def add_report(self):
        self.tensors["expect/loss_scale"] = np.array(self.exact.scales[1:], dtype=np.float32)
        self.tensors["expect/skipped"] = np.cumsum([not taken for taken in self.exact.taken]).astype(np.float32)
        if {"max_grad_norm", "skip_non_finite", "scaler"} & self.options.keys():
            squares = [sum((self.mean(i, name) ** 2).sum() for name in self.thetas) for i in range(self.steps)]
            self.tensors["expect/value/grad_norm"] = np.array(self.exact.norms)
            self.tensors["expect/scale/grad_norm"] = np.sqrt(squares).astype(np.float32)

    def save(self, folder):
        super().save(folder)
        sort_metadata(folder / f"{self.name}.safetensors")


def sort_metadata(path):
    """In its place: safetensors writes it in the order of a hash, and the same case should be the same bytes."""
    data = path.read_bytes()
    header_end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:header_end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    assert len(text) <= header_end - 8, f"{path.name}: the header has grown"
    path.write_bytes(data[:8] + text.ljust(header_end - 8) + data[header_end:])


def scaler_case(number, arguments):
    """30 steps of GradScaler, about a third of them bad."""
    bad = np.random.default_rng(number).random(30) < 0.3
    theta = torch.nn.Parameter(torch.zeros(2))
    optimizer, scaler = torch.optim.SGD([theta]), torch.amp.GradScaler("cpu", **arguments)
    scales, steps = [], []
    optimizer.register_step_post_hook(lambda *_: steps.append(True))
    for is_bad in bad:
        scaler.scale(theta.sum()).backward()
        if is_bad:
            theta.grad[1] = math.nan
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        scales.append(scaler.get_scale())
    return {**arguments, "bad": bad.tolist(), "scales": scales, "taken": len(steps)}


def main():
    # A scheduler warns of its step before the optimizer's first, which is skipped.
    warnings.simplefilter("ignore")
    for arguments in CASES:
        GradientCase(**arguments).save(FOLDER)
    lines = [json.dumps(scaler_case(number, arguments)) for number, arguments in enumerate(SCALERS)]
    path = FOLDER / "scaler.json"
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{path.name}: {len(lines)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
