# /// script
# requires-python = ">=3.11"
# dependencies = ["torch==2.15.0"]
# ///
"""Writes schedules.json beside this script. Either command, from any directory:

    uv run tests/golden/schedules.py
    pip install torch==2.15.0 && python tests/golden/schedules.py

It holds a list of cases, each with the arguments of a `miadam::Schedule` ("kind" is its name), "lr", the base learning
rate, and "lrs", the learning rates of PyTorch's own scheduler: the first as the scheduler leaves it when made, then one
after each `scheduler.step()`, to 13 digits. Cases end where PyTorch's scheduler ends, or goes on otherwise than
`Schedule` says it does: CosineAnnealingLR and OneCycleLR with their last step.
"""

import json
import pathlib
import warnings

import torch
from torch.optim import lr_scheduler as torch_lr

STEPS = 200


def case(kind, lr=1e-3, count=STEPS, **arguments):
    return {"kind": kind, "lr": lr, "count": count, **arguments}


def warmup(start_factor, steps, **others):
    return case("LinearWarmup", start_factor=start_factor, steps=steps, **others)


def linear(start_factor, end_factor, steps, **others):
    return case("Linear", start_factor=start_factor, end_factor=end_factor, steps=steps, **others)


def polynomial(steps, power, **others):
    return case("Polynomial", steps=steps, power=power, end_factor=0.0, **others)


def restarts(steps, growth, end_factor, **others):
    return case("CosineRestarts", steps=steps, growth=growth, end_factor=end_factor, **others)


def cosine(steps, end_factor, **others):
    return case("Cosine", steps=steps, end_factor=end_factor, count=steps + 1, **others)


def step(every, gamma, **others):
    return case("Step", every=every, gamma=gamma, **others)


def multi_step(at, gamma, **others):
    return case("MultiStep", at=at, gamma=gamma, **others)


def exponential(gamma, **others):
    return case("Exponential", gamma=gamma, **others)


def one_cycle(steps, warmup=0.3, div_factor=25.0, final_div_factor=1e4, **others):
    arguments = {"warmup": warmup, "div_factor": div_factor, "final_div_factor": final_div_factor}
    return case("OneCycle", steps=steps, **arguments, count=steps, **others)


def scaled(factor, schedule, **others):
    return case("Scaled", factor=factor, schedule=schedule, **others)


def sequence(*pieces, **others):
    return case("Sequence", pieces=[[first, piece] for first, piece in pieces], **others)


CASES = [
    case("Constant", lr=0.1, count=20),
    warmup(1 / 3, 5),
    warmup(1e-3, 100, lr=0.1),
    warmup(0.7, 1),
    warmup(1.0, 30),
    warmup(1e-10, 199, lr=3.7e-4),
    linear(1.0, 0.0, 150),
    linear(1.0, 0.1, 199, lr=0.1),
    linear(0.25, 0.75, 40, lr=3.7e-4),
    linear(0.9, 0.3, 1),
    linear(0.5, 0.5, 30),
    polynomial(150, 1.0),
    polynomial(199, 2.0, lr=0.1),
    polynomial(100, 0.5, lr=7e-6),
    polynomial(60, 0.9),
    polynomial(1, 3.0),
    cosine(200, 0.0),
    cosine(199, 0.01, lr=0.1),
    cosine(1, 0.0),
    cosine(2, 0.5),
    cosine(97, 1.0),
    cosine(151, 3.0, lr=7e-6),
    restarts(50, 1, 0.0),
    restarts(10, 2, 0.01, lr=0.1),
    restarts(1, 2, 0.1),
    restarts(1, 1, 0.5),
    restarts(3, 3, 0.05, lr=7e-6),
    restarts(7, 5, 1.0),
    restarts(20, 2, 3.0),
    restarts(500, 2, 0.0, count=300),
    step(30, 0.1),
    step(1, 0.97, lr=0.3),
    step(500, 0.5, count=20),
    step(50, 0.0),
    # The paper's: a tenth at epochs 50 and 75 of 100, once by epochs, once at two steps an epoch.
    multi_step([50, 75], 0.1, count=100),
    multi_step([100, 150], 0.1, lr=0.1),
    multi_step([0, 1, 2, 150, 150, 199], 0.3),
    multi_step([], 0.1, count=20),
    multi_step([20, 40, 60], 2.0),
    exponential(0.99),
    exponential(0.9, lr=1.0),
    exponential(1.0, count=20),
    exponential(0.0, count=20),
    exponential(1 - 1e-9),
    one_cycle(200),
    one_cycle(199, warmup=0.25, lr=0.1),
    one_cycle(150, warmup=0.0),
    one_cycle(150, warmup=1.0),
    one_cycle(101, warmup=0.137, div_factor=3.0, final_div_factor=7.5),
    one_cycle(120, div_factor=0.5, final_div_factor=0.25),
    one_cycle(80, div_factor=10.0, final_div_factor=1e8),
    one_cycle(10, warmup=0.07),
    one_cycle(1),
    one_cycle(2),
    sequence((0, warmup(0.01, 20)), (20, cosine(180, 0.0)), count=201),
    sequence((0, warmup(0.1, 50)), (20, cosine(150, 0.05)), lr=0.02, count=171),
    sequence((0, step(10, 0.5)), (35, exponential(0.95)), (36, multi_step([0, 40], 0.1)), (120, case("Constant"))),
    sequence((0, warmup(0.2, 7)), (7, step(30, 0.3)), lr=0.5),
    sequence((0, case("Constant")), (10, one_cycle(90)), (80, warmup(0.5, 33))),
    sequence((0, cosine(40, 0.1)), (41, cosine(40, 0.2)), (82, cosine(90, 0.0)), count=173),
    sequence((0, exponential(1.1)), (30, exponential(0.98)), lr=1e-5),
    sequence((0, exponential(0.98)), count=50),
    sequence((0, step(7, 1.05)), (150, case("Constant"))),
    sequence((0, warmup(0.1, 10)), (10, polynomial(90, 2.0)), lr=0.02),
    sequence((0, warmup(0.5, 10)), (10, linear(1.0, 0.2, 100)), (150, restarts(8, 2, 0.1))),
    sequence((0, restarts(16, 2, 0.1)), (112, linear(0.8, 0.05, 60)), lr=0.1),
    scaled(0.3, exponential(0.97)),
    scaled(2.5, restarts(12, 2, 0.0), lr=0.02),
    scaled(0.5, scaled(0.5, polynomial(120, 2.0))),
    # A factor for each piece: cosines that start lower and lower, and a slow piece before a fast one.
    sequence((0, cosine(40, 0.1)), (41, scaled(0.5, cosine(40, 0.1))), (82, scaled(0.25, cosine(90, 0.0))), count=173),
    sequence((0, scaled(0.1, linear(0.5, 1.0, 30))), (30, step(20, 0.5)), (110, scaled(3.0, exponential(0.9))), lr=0.3),
    sequence((0, scaled(0.0, case("Constant"))), (5, scaled(0.2, restarts(10, 2, 0.1)))),
]  # fmt: skip


def scheduler(optimizer, case):
    """PyTorch's scheduler for a case."""
    group, lr = optimizer.param_groups[0], case["lr"]
    match case:
        case {"kind": "Constant"}:
            made = torch_lr.ConstantLR(optimizer, 1.0)
        case {"kind": "LinearWarmup", "start_factor": factor, "steps": steps}:
            made = torch_lr.LinearLR(optimizer, factor, total_iters=steps)
        case {"kind": "Linear", "start_factor": start, "end_factor": end, "steps": steps}:
            made = torch_lr.LinearLR(optimizer, start, end, total_iters=steps)
        case {"kind": "Polynomial", "steps": steps, "power": power, "end_factor": 0.0}:
            made = torch_lr.PolynomialLR(optimizer, steps, power)
        case {"kind": "CosineRestarts", "steps": steps, "growth": growth, "end_factor": factor}:
            made = torch_lr.CosineAnnealingWarmRestarts(optimizer, steps, growth, eta_min=factor * lr)
        case {"kind": "Cosine", "steps": steps, "end_factor": factor}:
            made = torch_lr.CosineAnnealingLR(optimizer, steps, eta_min=factor * lr)
        case {"kind": "Step", "every": every, "gamma": gamma}:
            made = torch_lr.StepLR(optimizer, every, gamma)
        case {"kind": "MultiStep", "at": at, "gamma": gamma}:
            made = torch_lr.MultiStepLR(optimizer, at, gamma)
        case {"kind": "Exponential", "gamma": gamma}:
            made = torch_lr.ExponentialLR(optimizer, gamma)
        case {"kind": "OneCycle", "steps": steps, "warmup": warmup, "div_factor": div, "final_div_factor": final}:
            made = torch_lr.OneCycleLR(optimizer, lr, steps, pct_start=warmup, div_factor=div, final_div_factor=final,
                                       cycle_momentum=False)  # fmt: skip
        case {"kind": "Sequence", "pieces": pieces}:
            schedulers = []
            for _, piece in pieces:
                # OneCycleLR and Scaled set it; the others start from the base learning rate all the same.
                group["initial_lr"] = group["lr"] = lr
                schedulers.append(scheduler(optimizer, {**piece, "lr": lr}))
            group["initial_lr"] = group["lr"] = lr * scale_of(pieces[0][1])
            made = torch_lr.SequentialLR(optimizer, schedulers, [first for first, _ in pieces[1:]])
            # Of all these, OneCycleLR alone goes on reading the group's own number, as where it starts.
            for _, piece in pieces:
                group["initial_lr"] /= piece.get("div_factor", 1.0)
        case {"kind": "Scaled", "factor": factor, "schedule": schedule}:
            group["initial_lr"] = group["lr"] = factor * lr
            made = scheduler(optimizer, {**schedule, "lr": factor * lr})
    return made


def scale_of(case):
    """What a case multiplies the base learning rate by, whatever the step."""
    return case["factor"] * scale_of(case["schedule"]) if case["kind"] == "Scaled" else 1.0


def learning_rates(case):
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=case["lr"])
    made = scheduler(optimizer, case)
    lrs = []
    for _ in range(case["count"]):
        lrs.append(float(f"{optimizer.param_groups[0]['lr']:.13g}"))
        optimizer.step()
        if len(lrs) < case["count"]:
            made.step()
    return lrs


def without_bookkeeping(case, keep=()):
    """What describes the schedule itself: a piece takes its base and its length from its sequence."""
    described = {key: value for key, value in case.items() if key not in {"lr", "count"} - set(keep)}
    if "pieces" in case:
        described["pieces"] = [[first, without_bookkeeping(piece)] for first, piece in case["pieces"]]
    if "schedule" in case:
        described["schedule"] = without_bookkeeping(case["schedule"])
    return described


def main():
    # SequentialLR steps its own schedulers before the optimizer's first step, and calls what it deprecates.
    warnings.simplefilter("ignore")
    lines = [json.dumps({**without_bookkeeping(case, ["lr"]), "lrs": learning_rates(case)}) for case in CASES]
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{path.name}: {len(lines)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
