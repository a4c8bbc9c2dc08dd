# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy==2.4.6", "safetensors==0.8.0", "torch==2.15.0"]
# ///
"""Tests tools/pytorch_bridge.py, and writes golden files of checkpoints from PyTorch, or checks those from Rust:

    uv run tests/golden/bridge.py                   writes bridge/*.run.safetensors and bridge/*.torch.safetensors
    MIADAM_WRITE_GOLDEN=1 cargo test --release --test suite bridge
                                                    writes bridge/*.rust.safetensors and bridge/*.after.safetensors
    uv run tests/golden/bridge.py --check tests/golden/bridge/adam.rust.safetensors
                                                    continues with PyTorch what Rust has begun; any number of files

in this order, the last for the other cases, too. Without uv: python with the packages above. For every CASE

    CASE.run      `start/NAME`, and `grad/T/NAME` of 10 steps, but for those that leave NAME out; of steps 6 to 10, counted from CASE.torch, the updates
                  as in make.py's files, from PyTorch in float64, and PyTorch's own worst error in float32
    CASE.torch    a checkpoint, by the bridge, of PyTorch in float32 after 5 steps
    CASE.rust     a checkpoint, by Rust on the CPU, after the same 5 steps
    CASE.after    `param/T/NAME`, the parameters that Rust computed in steps 6 to 10
"""

import argparse
import copy
import json
import pathlib
import sys
import tempfile
import zlib

import numpy as np
import torch
from cases import normal
from oracle import DEFAULTS, Parameter
from pytorch import MIAdam
from safetensors import safe_open
from safetensors.torch import load_file, save_file

FOLDER = pathlib.Path(__file__).parent
sys.path.insert(0, str(FOLDER.parents[1] / "tools"))
import bridge_checks  # noqa: E402
from pytorch_bridge import from_miadam, settings_of, steps_of, to_miadam  # noqa: E402

EPSILON = 2.0**-23
BEFORE, STEPS = 5, 10
WEIGHTS, BIASES = {"layer.weight": (2, 3), "scalar": ()}, {"layer/bias": (5,)}
# The optimizer, and hyperparameters in its own words with the shapes of each group. tests/suite/bridge.rs has the same.
CASES = {
    "adam": (torch.optim.Adam, [
        (dict(lr=0.125, eps=1e-3, weight_decay=0.5), WEIGHTS),
        (dict(lr=0.01, betas=(0.5, 0.75), maximize=True), BIASES),
    ]),
    "adamw": (torch.optim.AdamW, [(dict(lr=0.125, betas=(0.9, 0.75), amsgrad=True, weight_decay=0.5), WEIGHTS | BIASES)]),
    "miadam": (MIAdam, [
        (dict(lr=0.125, order=1, switch_step=8), WEIGHTS),
        (dict(lr=0.01, order=2, kappa=0.75, step_scale="unit-gain", weight_decay=0.5, decoupled=True), BIASES),
        (dict(lr=0.5, order=1, step_scale="reference", amsgrad=True, beta2=0.75), {"other": (3,)}),
    ]),
    "pauses": (torch.optim.Adam, [(dict(lr=0.125, betas=(0.5, 0.75), amsgrad=True, weight_decay=0.5), WEIGHTS | BIASES)]),
    "miadam_pauses": (MIAdam, [(dict(lr=0.125, order=1, switch_step=5, beta1=0.5, beta2=0.75), WEIGHTS | BIASES)]),
}  # fmt: skip
# The steps at which a parameter has no gradient: PyTorch leaves it out then. One has taken none when the file is written.
MISSING = {name: {"scalar": {2, 3, 8}, "layer/bias": {1, 2, 3, 4, 5, 6, 9}} for name in ["pauses", "miadam_pauses"]}


def make(case, params, plain=False):
    """The case's optimizer over its parameters; `plain` is without all hyperparameters that a checkpoint has."""
    kind, groups = CASES[case]
    keep = lambda h: {"order": h.get("order", DEFAULTS["order"])} if kind is MIAdam else {}
    return kind([{"params": [params[name] for name in shapes], **(keep(h) if plain else h)} for h, shapes in groups])


def zeros(case):
    shapes = [pair for _, shapes in CASES[case][1] for pair in shapes.items()]
    return {name: torch.nn.Parameter(torch.zeros(shape)) for name, shape in shapes}


def steps(optimizer, params, run, first, last):
    """Parameters after each step from `first` to `last`."""
    found = {name: [param.detach().clone()] for name, param in params.items()}
    for t in range(first, last + 1):
        for name, param in params.items():
            grad = run.get(f"grad/{t}/{name}")
            param.grad = None if grad is None else grad.to(param.dtype)
        optimizer.step()
        for name, param in params.items():
            found[name].append(param.detach().clone())
    return {name: torch.stack(values) for name, values in found.items()}


def updates(values):
    return values.double().diff(dim=0).numpy()


def oracle(path, run):
    """Updates of steps 6 to 10 with their scales, and the order, for each parameter of a checkpoint."""
    with safe_open(path, "np") as file:
        header, tensors = json.loads(file.metadata()["miadam"]), {key: file.get_tensor(key) for key in file.keys()}
    assert header["step"] == BEFORE
    counts = steps_of(header)
    for group in header["groups"]:
        h = settings_of("miadam", None, group["hyperparams"], BEFORE)
        for name in group["params"]:
            shape = run[f"start/{name}"].shape
            parameter = Parameter(tensors[f"param/{name}"].reshape(shape), h)
            for accumulators, sign in [(parameter.value, lambda x: x), (parameter.scale, np.abs)]:
                plane = lambda kind: sign(tensors[f"{kind}/{name}"].astype(np.float64).reshape(shape))
                accumulators.first_moment, accumulators.second_moment = plane("first_moment"), plane("second_moment")
                if h["amsgrad"]:
                    accumulators.max_second_moment = plane("max_second_moment")
                accumulators.integrals = [plane(f"integral/{j}") for j in range(1, h["order"] + 1)]
            t, pairs = counts[name], []
            for grad in (run.get(f"grad/{step}/{name}") for step in range(BEFORE + 1, STEPS + 1)):
                t += grad is not None
                pairs.append((np.zeros(shape),) * 2 if grad is None else parameter.step(t, grad.numpy()))
            yield name, h["order"], *(np.array(part) for part in zip(*pairs))


def write(case):
    rng = np.random.default_rng(zlib.crc32(case.encode()))
    shapes = {name: param.shape for name, param in zeros(case).items()}
    run = {f"start/{name}": normal(rng, shape, 0.1) for name, shape in shapes.items()}
    run |= {f"grad/{t}/{name}": normal(rng, shape) for t in range(1, STEPS + 1) for name, shape in shapes.items()}
    missing = {f"grad/{t}/{name}" for name, steps in MISSING.get(case, {}).items() for t in steps}
    run = {key: torch.from_numpy(np.asarray(value)) for key, value in run.items() if key not in missing}
    params = {name: torch.nn.Parameter(run[f"start/{name}"].clone()) for name in shapes}
    optimizer = make(case, params)
    steps(optimizer, params, run, 1, BEFORE)
    path = FOLDER / "bridge" / f"{case}.torch.safetensors"
    to_miadam(optimizer, params.items(), path)

    # PyTorch itself goes on, in float64, in float32, and in float32 through the file.
    doubles = {name: torch.nn.Parameter(param.detach().double()) for name, param in params.items()}
    in_float64 = make(case, doubles)
    in_float64.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    truth = steps(in_float64, doubles, run, BEFORE + 1, STEPS)
    found = steps(optimizer, params, run, BEFORE + 1, STEPS)
    others = zeros(case)
    resumed = make(case, others, plain=True)
    from_miadam(path, resumed, others.items())
    again = steps(resumed, others, run, BEFORE + 1, STEPS)

    worst = 0.0
    for name, _, update, scale in oracle(path, run):
        assert torch.equal(again[name], found[name]), f"{case}: {name} resumes otherwise"
        theta, own = truth[name][1:].numpy(), updates(truth[name])
        bound = 64 * 2.0**-52 * (scale + np.abs(theta))
        assert (np.abs(own - update) <= bound).all(), f"{case}: {name}: PyTorch and the oracle disagree"
        worst = max(worst, np.max(np.abs(updates(found[name]) - own) / (EPSILON * (scale + np.abs(theta)))))
        run[f"expect/value/update/{name}"] = torch.from_numpy(own)
        run[f"expect/scale/update/{name}"] = torch.from_numpy(scale).float()
    run["expect/float32"] = torch.tensor(worst, dtype=torch.float64)
    save_file(run, FOLDER / "bridge" / f"{case}.run.safetensors")
    print(f"{case}: resumed by PyTorch bit for bit; PyTorch in float32: {worst:.2f} epsilon")


def check(path):
    """Whether PyTorch goes on from Rust's checkpoint as Rust does, within what either may round."""
    case = path.name.split(".")[0]
    run, after = (load_file(path.with_name(f"{case}.{part}.safetensors")) for part in ["run", "after"])
    params = zeros(case)
    optimizer = make(case, params, plain=True)
    from_miadam(path, optimizer, params.items())
    found, worst, margin = steps(optimizer, params, run, BEFORE + 1, STEPS), 0.0, 0.0
    for name, order, _, scale in oracle(path, run):
        start = found[name][:1]
        rust = torch.cat([start, *(after[f"param/{t}/{name}"].view(start.shape) for t in range(BEFORE + 1, STEPS + 1))])
        error, theta = np.abs(updates(rust) - updates(found[name])), np.abs(rust[1:].numpy())
        # Twice the bound of tests/suite/golden.rs, which explains it: both sides round.
        t = np.arange(1, STEPS - BEFORE + 1).reshape(-1, *[1] * (scale.ndim - 1))
        bound = 2 * EPSILON * ((1.5 * t * (order + 3) + 8) * scale + 1.5 * np.maximum(theta, np.abs(rust[:-1].numpy())))
        worst, margin = max(worst, np.max(error / (EPSILON * (scale + theta)))), max(margin, np.max(error / bound))
    print(f"{path.name}: PyTorch and Rust differ by {worst:.2f} epsilon, {margin:.0%} of the bound")
    assert margin <= 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", nargs="+", type=pathlib.Path, metavar="FILE")
    arguments = parser.parse_args()
    if arguments.check:
        for path in arguments.check:
            check(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        bridge_checks.run(pathlib.Path(folder))
    for case in CASES:
        write(case)


if __name__ == "__main__":
    main()
