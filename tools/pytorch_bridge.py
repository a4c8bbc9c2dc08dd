# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy==2.4.6", "safetensors==0.8.0", "torch==2.15.0"]
# ///
"""Checkpoints of miadam from PyTorch's optimizers, and back.

    to_miadam(optimizer, model.named_parameters(), "checkpoint.safetensors")
    from_miadam("checkpoint.safetensors", optimizer, model.named_parameters())

`optimizer` is a torch.optim.Adam or AdamW, or an optimizer with the groups and the state of the MIAdam in
tests/golden/pytorch.py. docs/checkpoint.md says what becomes of what. What cannot be mapped is a BridgeError, and
nothing is changed or written then. Import it; there is no command line, since a saved state dict of an optimizer has
no names of parameters.
"""

import json
import os
import tempfile
import warnings

import torch
from safetensors import safe_open
from safetensors.torch import save, save_file

# Written; version 1 is read as well.
VERSION = 2
PLANES = ["first_moment", "second_moment", "max_second_moment"]
KEYS = {
    "adam": {"step": "step"} | dict(zip(PLANES, ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"])),
    "miadam": {"step": "t"} | dict(zip(PLANES, ["m", "v", "v_max"])),
}
STEP_SCALES = {"paper": "Paper", "reference": "Reference", "unit-gain": "UnitGain", "exact-gain": "ExactGain"}
ADAM = {"order": 0, "kappa": 0.5, "switch_step": 2**32 - 1, "step_scale": "paper"}
NO_OPTIONS = {"skip_non_finite": False, "zero": False, "scaler": None}
NO_OPTIONS |= {"factor": 1.0, "clip_norm": None, "clip_value": None}


class BridgeError(ValueError):
    """Something that one side has and the other has not."""


def to_miadam(optimizer, names, path):
    """Writes the optimizer's state, hyperparameters and parameters; `names` are pairs of a name and a parameter."""
    kind, names = kind_of(optimizer), {param: name for name, param in names}
    groups, tensors, steps = [], {}, {}
    for group in optimizer.param_groups:
        h, own = hyperparams(kind, group), named(optimizer, group, names)
        groups.append({"params": list(own), "hyperparams": h})
        for name, param in own.items():
            steps[name], planes = state_of(kind, name, param, optimizer.state.get(param), h)
            tensors |= {f"{plane}/{name}": flat(values) for plane, values in {"param": param, **planes}.items()}
    # PyTorch has no count of the steps of all.
    step = max(steps.values(), default=0)
    header = {"version": VERSION, "step": step, "skipped": 0, "recorded": step, "grad_norm_bits": None}
    header |= {"loss_scale": 1.0, "good_steps": 0, "gradients": NO_OPTIONS, "groups": groups, "clocks": clocks(steps)}
    frozen = [name for param, name in names.items() if name in steps and not param.requires_grad]
    header |= {"frozen": frozen} if frozen else {}
    write(tensors, path, {"miadam": json.dumps(header, allow_nan=False)})


def clocks(steps):
    """The parameters that have taken as many steps as each other."""
    names = {}
    for name, step in steps.items():
        names.setdefault(step, []).append(name)
    return [{"params": own, "counts": {"step": step}} for step, own in names.items()]


def steps_of(header):
    """The steps that each parameter has taken. Version 1 counts once for all."""
    if header["version"] == 1:
        return {name: header["step"] for group in header["groups"] for name in group["params"]}
    return {name: clock["counts"]["step"] for clock in header["clocks"] for name in clock["params"]}


def write(tensors, path, metadata):
    """A file that is whole or not there, as of Checkpoint::save: links are followed, and a mode is kept."""
    if os.path.exists(path) and not os.path.isfile(path):
        # A pipe, which cannot be replaced.
        with open(path, "wb") as file:
            file.write(save(tensors, metadata))
        return
    path = os.path.realpath(path)
    with tempfile.TemporaryDirectory(prefix=".miadam-", dir=os.path.dirname(path)) as folder:
        beside = os.path.join(folder, "beside")
        # safetensors lets nobody else read what it writes. The umask may.
        with open(beside, "xb"):
            mode = os.stat(path if os.path.exists(path) else beside).st_mode & 0o777
        save_file(tensors, beside, metadata)
        with open(beside, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(beside, mode)
        os.replace(beside, path)


def from_miadam(path, optimizer, names):
    """Takes over state and hyperparameters, and the parameters if the file has them. Returns the file's metadata."""
    kind, names = kind_of(optimizer), {param: name for name, param in names}
    with safe_open(path, "pt") as file:
        header = json.loads((file.metadata() or {}).get("miadam", '{"version": null}'))
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    if header["version"] not in range(1, VERSION + 1):
        raise BridgeError(f"{path} is no checkpoint of version 1 to {VERSION}, but of {header['version']}")
    if header.get("averages_in"):
        raise BridgeError(f"{path} has averages in the parameters' place; swap them back before saving")
    steps = steps_of(header)
    saved = {frozenset(group["params"]): group["hyperparams"] for group in header["groups"]}
    changes = []
    for group in optimizer.param_groups:
        own = named(optimizer, group, names)
        h = saved.pop(frozenset(own), None)
        if h is None:
            raise BridgeError(f"the checkpoint has no group of these parameters and no others: {', '.join(own)}")
        settings = settings_of(kind, optimizer, h, min((steps[name] for name in own), default=0))
        if torch.is_tensor(group["lr"]):
            settings["lr"] = torch.full_like(group["lr"], h["lr"])
        new = [(param, *new_state(kind, name, param, group, h, steps[name], tensors)) for name, param in own.items()]
        changes.append((group, settings, new))
        if h["schedule"] != "Constant":
            warnings.warn(f"lr is {h['lr']}, and its schedule yours to make, from step {header['recorded']} on")
        if h.get("average", "None") != "None":
            warnings.warn(f"an AveragedModel is yours to make, from the file's average/NAME: {h['average']}")
    if saved:
        raise BridgeError(f"the optimizer has no group of these parameters: {', '.join(next(iter(saved)))}")
    trained = {name for param, name in names.items() if param.requires_grad}
    if frozen := [name for name in header.get("frozen", []) if name in trained]:
        warnings.warn(f"the checkpoint has these frozen, and requires_grad is yours to set: {', '.join(frozen)}")
    if header["gradients"] != NO_OPTIONS:
        warnings.warn(f"what happens to the gradients is yours to do: {header['gradients']}")
    # Nothing fails from here on.
    for group, settings, new in changes:
        group.update(settings)
        for param, value, state in new:
            optimizer.state[param] = state
            if value is not None:
                param.data.copy_(value)
    return header


def kind_of(optimizer):
    if isinstance(optimizer, (torch.optim.Adam, torch.optim.AdamW)):
        return "adam"
    if all("kappa" in group for group in optimizer.param_groups):
        return "miadam"
    raise BridgeError(f"{type(optimizer).__name__} is not Adam, AdamW or MIAdam")


def named(optimizer, group, names):
    """The group's parameters by name, without those that are frozen and always were."""
    params = [param for param in group["params"] if param.requires_grad or optimizer.state.get(param)]
    for param in params:
        if param not in names:
            raise BridgeError(f"a parameter of shape {list(param.shape)} has no name")
        # PyTorch has moments in the parameter's type, and miadam in float32.
        if param.dtype != torch.float32:
            raise BridgeError(f"{names[param]} is {param.dtype}, not torch.float32")
    return {names[param]: param for param in params}


def hyperparams(kind, group):
    own, betas = ADAM, group.get("betas")
    if kind == "miadam":
        own, betas = group, (group["beta1"], group["beta2"])
    decoupled = group.get("decoupled_weight_decay" if kind == "adam" else "decoupled", False)
    decay = float(group["weight_decay"])
    return {
        "lr": float(group["lr"]),
        "schedule": "Constant",
        "beta1": float(betas[0]),
        "beta2": float(betas[1]),
        "eps": float(group["eps"]),
        "order": own["order"],
        "kappa": float(own["kappa"]),
        "switch_step": own["switch_step"],
        "step_scale": STEP_SCALES[own["step_scale"]],
        "weight_decay": {"Decoupled" if decoupled else "Coupled": decay} if decay else "None",
        "amsgrad": bool(group["amsgrad"]),
        "maximize": bool(group["maximize"]),
        "half_params": "Master",
    }


def settings_of(kind, optimizer, h, step):
    """The other way round."""
    (decay_kind, decay), *_ = [("None", 0.0)] if h["weight_decay"] == "None" else h["weight_decay"].items()
    settings = {key: h[key] for key in ["lr", "eps", "amsgrad", "maximize"]} | {"weight_decay": decay}
    decoupled = decay_kind == "Decoupled"
    if decay_kind == "Cautious":
        raise BridgeError("a group has cautious weight decay, which no optimizer of PyTorch has")
    if kind == "miadam":
        scale = next((key for key, name in STEP_SCALES.items() if name == h["step_scale"]), None)
        if scale is None:
            raise BridgeError(f"a group has the step scale {h['step_scale']}, which has no counterpart here")
        same = {key: h[key] for key in ["beta1", "beta2", "order", "kappa", "switch_step"]}
        return settings | same | {"step_scale": scale, "decoupled": decoupled}
    # From the switching step on it is Adam.
    if h["order"] > 0 and step + 1 < h["switch_step"]:
        raise BridgeError(f"a group has integrals until step {h['switch_step']}, and Adam has none")
    if isinstance(optimizer, torch.optim.AdamW):
        if decay and not decoupled:
            raise BridgeError("a group has coupled weight decay, as Adam has and AdamW has not")
        decoupled = True
    return settings | {"betas": (h["beta1"], h["beta2"]), "decoupled_weight_decay": decoupled}


def planes_of(h):
    return PLANES if h["amsgrad"] else PLANES[:2]


def state_of(kind, name, param, state, h):
    """Steps taken, and planes; 0 before the first step."""
    zero, keys = torch.zeros_like(param), KEYS[kind]
    state = state or {"integrals": [zero] * h["order"]} | {key: zero for key in keys.values()} | {keys["step"]: 0}
    if missing := [keys[plane] for plane in planes_of(h) if keys[plane] not in state]:
        raise BridgeError(f"the state of {name} has no {missing[0]}")
    integrals = {f"integral/{j}": values for j, values in enumerate(state.get("integrals", []), 1)}
    return int(state[keys["step"]]), {plane: state[keys[plane]] for plane in planes_of(h)} | integrals


def new_state(kind, name, param, group, h, step, tensors):
    """The parameter's value, if it was saved, and its state."""

    def shaped(plane):
        values = tensors[f"{plane}/{name}"]
        if values.numel() != param.numel():
            raise BridgeError(f"{name} has {values.numel()} elements in the checkpoint, and here {param.numel()}")
        # On the parameter's device, and in memory as it is.
        return torch.empty_like(param).copy_(values.view(param.shape))

    # Of a parameter in half precision; 0 before the first step.
    sources = ["master"] * (step > 0) + ["param"]
    value = next((shaped(source) for source in sources if f"{source}/{name}" in tensors), None)
    state = {KEYS[kind][plane]: shaped(plane) for plane in planes_of(h)}
    if kind == "adam":
        device = param.device if group["capturable"] or group["fused"] else "cpu"
        return value, state | {"step": torch.tensor(step, dtype=torch.float32, device=device)}
    kept = f"integral/1/{name}" in tensors
    integrals = [shaped(f"integral/{j}") if kept else torch.zeros_like(param) for j in range(1, h["order"] + 1)]
    return value, {"v_max": torch.zeros_like(param)} | state | {"t": step, "integrals": integrals}


def flat(values):
    """A copy in the order of the indices, wherever the elements lie."""
    return values.detach().to("cpu", torch.float32, copy=True).contiguous().flatten()
