"""The same cases through PyTorch: its own Adam and AdamW, and MIAdam as a torch.optim.Optimizer."""

import torch
from oracle import DEFAULTS, Average, step_scale
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class MIAdam(torch.optim.Optimizer):
    """Algorithm 1 in the terms of PyTorch, each parameter with integrals and a count of its own.

    A parameter without a gradient is left alone, as by PyTorch's own optimizers.
    """

    def __init__(self, groups):
        super().__init__(groups, DEFAULTS)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for theta in (theta for theta in group["params"] if theta.grad is not None):
                self.step_parameter(theta, self.state[theta], group)

    def step_parameter(self, theta, state, group):
        if not state:
            state["t"] = 0
            state["m"], state["v"], state["v_max"] = (torch.zeros_like(theta) for _ in range(3))
            state["integrals"] = [torch.zeros_like(theta) for _ in range(group["order"])]
        state["t"] += 1
        g = theta.grad.neg() if group["maximize"] else theta.grad
        decoupled = group["weight_decay"] if group["decoupled"] or group["cautious"] else 0.0
        g = g.add(theta, alpha=group["weight_decay"] - decoupled)
        state["m"].lerp_(g, 1 - group["beta1"])
        state["v"].mul_(group["beta2"]).addcmul_(g, g, value=1 - group["beta2"])
        torch.maximum(state["v_max"], state["v"], out=state["v_max"])
        num, alpha = state["m"], group["lr"]
        if state["t"] < group["switch_step"]:
            alpha = step_scale(alpha, group, state["t"])
            for integral in state["integrals"]:
                num = integral.mul_(group["kappa"]).add_(num)
        v = state["v_max"] if group["amsgrad"] else state["v"]
        root = v.sqrt() / (1 - group["beta2"] ** state["t"]) ** 0.5
        if group["cautious"]:
            decoupled = torch.where((theta >= 0) == (num >= 0), decoupled, 0.0)
        theta.mul_(1 - group["lr"] * decoupled)
        theta.addcdiv_(num, root.add_(group["eps"]), value=-alpha / (1 - group["beta1"] ** state["t"]))


def adam(params, h):
    """torch.optim.Adam or AdamW over `params`."""
    kind = torch.optim.AdamW if h["decoupled"] else torch.optim.Adam
    names = ["lr", "eps", "weight_decay", "amsgrad", "maximize"]
    return kind(params, betas=(h["beta1"], h["beta2"]), **{name: h[name] for name in names})


def averaged_model(module, average):
    """PyTorch's own average. It has no warm-up, which is a decay of its own at each averaging."""
    ((kind, settings),) = average.items()
    if kind == "Equal":
        return AveragedModel(module)

    def follow(own, current, averaged):
        warm = (1 + averaged.item()) / (10 + averaged.item())
        decay = min(settings["decay"], warm) if settings["warmup"] else settings["decay"]
        get_ema_multi_avg_fn(decay)(own, current, averaged)

    return AveragedModel(module, multi_avg_fn=follow)


def averages(theta, updates, average):
    """The average after the last of these updates, in float64."""
    module = torch.nn.ParameterList([torch.nn.Parameter(torch.tensor(theta, dtype=torch.float64))])
    model, plan = averaged_model(module, average), Average(average)
    for t, update in enumerate(updates, 1):
        module[0].data.add_(torch.as_tensor(update))
        if plan.takes(t):
            model.update_parameters(module)
    return model.module[0].detach().numpy()


def updates(theta, grads, lrs, h, dtype, own_adam):
    """theta_t - theta_{t-1} at every step, and the optimizer's state after the last."""
    theta = torch.nn.Parameter(torch.tensor(theta, dtype=dtype))
    optimizer = adam([theta], h) if own_adam else MIAdam([{"params": [theta], **h}])
    found = []
    for grad, lr in zip(grads, lrs):
        before = theta.detach().clone()
        theta.grad = torch.tensor(grad, dtype=dtype)
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
        found.append((theta.detach().double() - before.double()).numpy())
    return found, optimizer.state[theta]
