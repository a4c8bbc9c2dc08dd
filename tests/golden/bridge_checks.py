"""What tools/pytorch_bridge.py takes, and what it refuses; run by bridge.py."""

import json
import os
import warnings

import torch
from pytorch import MIAdam
from pytorch_bridge import BridgeError, from_miadam, steps_of, to_miadam
from safetensors import safe_open
from safetensors.torch import load_file, save_file


def model():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Conv2d(2, 3, 2), torch.nn.Conv2d(3, 4, 1))


def step(model, optimizer, seed):
    generator = torch.Generator().manual_seed(seed)
    for param in model.parameters():
        # Like the parameter in memory, as a backward pass leaves it.
        param.grad = torch.empty_like(param).copy_(torch.randn(param.shape, generator=generator))
    optimizer.step()


def resumes(path, make, layout=torch.contiguous_format):
    """An optimizer that goes on through a file has the bits of one that was never stopped."""
    models = [model().to(memory_format=layout) for _ in range(2)]
    first, second = (make(model.parameters()) for model in models)
    for t in range(3):
        step(models[0], first, t)
    to_miadam(first, models[0].named_parameters(), path)
    # What it has done before does not matter.
    step(models[1], second, 9)
    from_miadam(path, second, models[1].named_parameters())
    for t in range(3, 6):
        step(models[0], first, t)
        step(models[1], second, t)
    for one, other in zip(*(model.parameters() for model in models)):
        assert torch.equal(one, other)
        assert second.state[other]["exp_avg"].stride() == other.stride()


def resumes_through_all_ways(path):
    adam, adamw = torch.optim.Adam, torch.optim.AdamW
    for options in [dict(foreach=True), dict(fused=True), dict(foreach=False), dict(lr=torch.tensor(0.01))]:
        resumes(path, lambda params: adam(params, **options))
    resumes(path, lambda params: adamw(params, fused=True, amsgrad=True), torch.channels_last)
    resumes(path, lambda params: adam(params, decoupled_weight_decay=True, weight_decay=0.5))


def contents(path):
    with safe_open(path, "pt") as file:
        return load_file(path), file.metadata()


def refused(part, call, *arguments):
    try:
        call(*arguments)
    except BridgeError as error:
        assert part in str(error), error
    else:
        raise AssertionError(f"not refused: {part}")


def refuses_what_cannot_be_mapped(path):
    net = model()
    params, named = list(net.parameters()), list(net.named_parameters())
    adam = torch.optim.Adam(params)
    refused("SparseAdam", to_miadam, torch.optim.SparseAdam(params), named, path)
    refused("NAdam", to_miadam, torch.optim.NAdam(params), named, path)
    refused("has no name", to_miadam, adam, named[1:], path)
    double = torch.nn.Parameter(torch.zeros(2).double())
    refused("float64", to_miadam, torch.optim.Adam([double]), [("w", double)], path)
    step(net, adam, 0)
    assert not path.exists()

    changed = dict(lr=0.5, weight_decay=0.5, decoupled=False, order=1, switch_step=4)
    miadam = MIAdam([{"params": params, **changed}])
    step(net, miadam, 0)
    to_miadam(miadam, named, path)
    before = str(adam.state_dict())
    refused("integrals until step 4", from_miadam, path, adam, named)
    refused("no group of these parameters and no others", from_miadam, path, torch.optim.Adam(params[:2]), named)
    other = torch.nn.Parameter(torch.zeros(2))
    refused("elements", from_miadam, path, MIAdam([other, *params[1:]]), [("0.weight", other), *named[1:]])
    assert str(adam.state_dict()) == before
    # Integrals that are done with are no obstacle, there or not.
    for t in range(1, 3):
        step(net, miadam, t)
    to_miadam(miadam, named, path)
    refused("coupled", from_miadam, path, torch.optim.AdamW(params), named)
    from_miadam(path, adam, named)
    step(net, adam, 3)
    by_adam = [param.detach().clone() for param in params]
    tensors, metadata = contents(path)
    save_file({key: values for key, values in tensors.items() if "integral" not in key}, path, metadata)
    from_miadam(path, miadam, named)
    step(net, miadam, 3)
    for one, other in zip(params, by_adam):
        torch.testing.assert_close(one, other)
    assert adam.param_groups[0]["lr"] == 0.5


def counts_each_parameters_steps(path):
    """Also those of one that has no gradient, or is frozen, at some steps."""
    models = [model() for _ in range(2)]
    first, second = (torch.optim.Adam(model.parameters()) for model in models)
    step(models[0], first, 0)
    models[0][0].weight.grad = None
    first.step()
    models[0][1].bias.requires_grad_(False)
    models[0][1].bias.grad = None
    first.step()
    to_miadam(first, models[0].named_parameters(), path)
    header = json.loads(contents(path)[1]["miadam"])
    assert header["step"] == header["recorded"] == 3 and header["frozen"] == ["1.bias"]
    expected = {"0.weight": 1, "0.bias": 3, "1.weight": 3, "1.bias": 2}
    assert steps_of(header) == expected
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        from_miadam(path, second, models[1].named_parameters())
    assert len(caught) == 1 and "1.bias" in str(caught[0].message)
    for name, param in models[1].named_parameters():
        assert second.state[param]["step"] == expected[name]
    models[1][1].bias.requires_grad_(False)
    for one, other in zip(models, [first, second]):
        for param in one.parameters():
            param.grad = torch.ones_like(param) if param.requires_grad else None
        other.step()
    for one, other in zip(*(model.parameters() for model in models)):
        assert torch.equal(one, other)
    # A version 1 file counts once for all.
    tensors, metadata = contents(path)
    old = json.loads(metadata["miadam"]) | {"version": 1}
    del old["clocks"], old["frozen"]
    save_file(tensors, path, {"miadam": json.dumps(old)})
    from_miadam(path, second, models[1].named_parameters())
    assert all(state["step"] == 3 for state in second.state.values())


def refuses_integrals_that_any_parameter_needs(path):
    net = model()
    named = list(net.named_parameters())
    miadam = MIAdam([{"params": list(net.parameters()), "order": 1, "switch_step": 3}])
    step(net, miadam, 0)
    step(net, miadam, 1)
    adam = torch.optim.Adam(net.parameters())
    to_miadam(miadam, named, path)
    from_miadam(path, adam, named)
    miadam.state[net[1].bias]["t"] = 1
    to_miadam(miadam, named, path)
    refused("integrals until step 3", from_miadam, path, adam, named)


def takes_master_copies(path):
    net = model()
    adam = torch.optim.Adam(net.parameters())
    step(net, adam, 0)
    to_miadam(adam, net.named_parameters(), path)
    tensors, metadata = contents(path)
    param = tensors["param/0.weight"]
    save_file(tensors | {"param/0.weight": param.bfloat16(), "master/0.weight": param}, path, metadata)
    other = model()
    from_miadam(path, torch.optim.Adam(other.parameters()), other.named_parameters())
    assert torch.equal(other[0].weight, net[0].weight)


def leaves_out_what_was_never_trained(path):
    net = model()
    net[0].requires_grad_(False)
    adam = torch.optim.Adam(net.parameters())
    # No step yet, either.
    to_miadam(adam, net.named_parameters(), path)
    from_miadam(path, adam, net.named_parameters())
    assert all(state["step"] == 0 for state in adam.state.values()) and len(adam.state) == 2
    assert not any("/0." in key for key in load_file(path))


def warns_of_what_is_left_to_do(path):
    net = model()
    adam = torch.optim.Adam(net.parameters())
    to_miadam(adam, net.named_parameters(), path)
    tensors, metadata = contents(path)
    header = metadata["miadam"]
    schedule = '"schedule": {"Exponential": {"gamma": 0.5}}'
    clips = ('"clip_norm": null', '"clip_norm": 1.0', "gradients")
    average = '"half_params": "Master", "average": {"Ema": {"decay": 0.5, "warmup": false}}'
    averages = ('"half_params": "Master"', average, "AveragedModel")
    for old, new, part in [('"schedule": "Constant"', schedule, "schedule"), clips, averages]:
        save_file(tensors, path, {"miadam": header.replace(old, new, 1)})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            from_miadam(path, adam, net.named_parameters())
        assert len(caught) == 1 and part in str(caught[0].message)
    cautious = header.replace('"weight_decay": "None"', '"weight_decay": {"Cautious": 0.5}', 1)
    save_file(tensors, path, {"miadam": cautious})
    refused("cautious", from_miadam, path, adam, net.named_parameters())
    save_file(tensors, path, {"miadam": header.replace('"version": 2', '"averages_in": true, "version": 2')})
    refused("swap them back", from_miadam, path, adam, net.named_parameters())
    save_file(tensors, path, {"miadam": header.replace('"version": 2', '"version": 3')})
    refused("version", from_miadam, path, adam, net.named_parameters())
    save_file(tensors, path)
    refused("version", from_miadam, path, adam, net.named_parameters())


def keeps_links_and_modes(path):
    net = model()
    adam = torch.optim.Adam(net.parameters())
    (folder := path.with_name("kinds")).mkdir()
    new, link, dangling, fifo = (folder / name for name in ["new", "link", "dangling", "fifo"])
    (folder / "fresh").touch()
    (folder / "private").touch(0o600)
    link.symlink_to("private")
    dangling.symlink_to("made")
    os.mkfifo(fifo)
    # It has room for a small file.
    pipe = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    for target in [new, link, dangling, fifo]:
        to_miadam(adam, net.named_parameters(), target)
    expected = new.read_bytes()
    assert expected and (folder / "private").read_bytes() == (folder / "made").read_bytes() == expected
    assert os.read(pipe, 2 * len(expected)) == expected and fifo.is_fifo()
    assert link.is_symlink() and dangling.is_symlink()
    modes = [(folder / name).stat().st_mode & 0o777 for name in ["private", "new", "made", "fresh"]]
    assert modes[0] == 0o600 and modes[1] == modes[2] == modes[3]
    assert len(list(folder.iterdir())) == 7
    for missing in [folder / "missing" / "file", folder]:
        try:
            to_miadam(adam, net.named_parameters(), missing)
            raise AssertionError("written")
        except OSError:
            assert len(list(folder.iterdir())) == 7


def run(folder):
    for number, test in enumerate([
        resumes_through_all_ways,
        refuses_what_cannot_be_mapped,
        counts_each_parameters_steps,
        refuses_integrals_that_any_parameter_needs,
        takes_master_copies,
        leaves_out_what_was_never_trained,
        warns_of_what_is_left_to_do,
        keeps_links_and_modes,
    ]):  # fmt: skip
        test(folder / f"{number}.safetensors")
