"""PyTorch's training loop, with all that it does to gradients before an update."""

import math

import pytorch
import schedules
import torch
from oracle import DEFAULTS


class Together:
    """Optimizers of several kinds as the one that GradScaler knows."""

    def __init__(self, optimizers):
        self.optimizers, self.steps = optimizers, 0
        self.param_groups = [group for optimizer in optimizers for group in optimizer.param_groups]

    def step(self):
        self.steps += 1
        for optimizer in self.optimizers:
            optimizer.step()


def scheduler(optimizer, group):
    """PyTorch's own for a group's `schedule`, which schedules.py knows under another name."""
    kind = group["schedule"]["kind"].title().replace("_", "")
    return schedules.scheduler(optimizer, {**group["schedule"], "kind": kind, "lr": group["lr"]})


class Training:
    """PyTorch's training loop over a case, in `dtype`."""

    def __init__(self, case, dtype):
        self.options, self.dtype = case.options, dtype
        tensors = {name: torch.tensor(theta, dtype=dtype) for name, theta in case.thetas.items()}
        self.params = {name: torch.nn.Parameter(tensor) for name, tensor in tensors.items()}
        self.optimizer = Together([self.make_optimizer(group) for group in case.groups])
        pairs = zip(self.optimizer.optimizers, case.groups)
        self.schedulers = [scheduler(optimizer, group) for optimizer, group in pairs if "schedule" in group]
        scaler = case.options.get("scaler")
        self.scaler = torch.amp.GradScaler("cpu", **scaler or {}, enabled=scaler is not None)
        # An entry a step in each; of the scales, one more at the start.
        self.lrs, self.norms, self.taken, self.scales = [], [], [], [self.scaler.get_scale()]
        self.seen = {name: [] for name in self.params}
        self.updates = {name: [] for name in self.params}
        for micros in case.micros:
            self.step(micros)

    def make_optimizer(self, group):
        h = DEFAULTS | group
        params = [self.params[name] for name in group["params"]]
        return pytorch.adam(params, h) if h["order"] == 0 else pytorch.MIAdam([h | {"params": params}])

    def state(self, name):
        theta = self.params[name]
        return next(optimizer.state[theta] for optimizer in self.optimizer.optimizers if theta in optimizer.state)

    def step(self, micros):
        for grads in micros:
            pairs = [(theta, torch.tensor(grads[name], dtype=self.dtype)) for name, theta in self.params.items()]
            loss = sum((theta * grad).sum() for theta, grad in pairs) / len(micros)
            self.scaler.scale(loss).backward()
        before = {name: theta.detach().clone() for name, theta in self.params.items()}
        self.lrs.append([group["lr"] for group in self.optimizer.param_groups])
        steps = self.optimizer.steps
        self.update()
        self.taken.append(self.optimizer.steps > steps)
        self.scales.append(self.scaler.get_scale())
        for name, theta in self.params.items():
            self.seen[name].append(theta.grad.double().numpy())
            self.updates[name].append((theta.detach().double() - before[name].double()).numpy())
            theta.grad = None
        for made in self.schedulers:
            made.step()

    def update(self):
        """From the gradients to the step, if it is taken."""
        params = list(self.params.values())
        if self.scaler.is_enabled():
            self.scaler.unscale_(self.optimizer)
        self.norms.append(torch.nn.utils.get_total_norm([theta.grad for theta in params]).item())
        skips = self.options.get("skip_non_finite", False)
        if skips or "max_grad_norm" in self.options:
            bound = self.options.get("max_grad_norm", math.inf)
            try:
                torch.nn.utils.clip_grad_norm_(params, bound, error_if_nonfinite=skips)
            except RuntimeError:
                return
        if "clip_value" in self.options:
            torch.nn.utils.clip_grad_value_(params, self.options["clip_value"])
        self.scaler.step(self.optimizer)
        self.scaler.update()
