"""torch.optim.Adam on the CPU, driven over stdin and stdout: a line for each command, a line for each answer.

    torch_adam.py fused|foreach THREADS

First it prints torch's version; `src/serve.rs` prints burn's name and answers the same. Then it answers

    case LEN…   has made tensors of these lengths: ok
    step        has taken a step: the milliseconds it took
    ends        the least and the largest parameter of the first and the last tensor

and what goes wrong with `error: ` and the reason.
"""

import sys
import time


class Case:
    def __init__(self, torch, variant, lens):
        # As `steppers/`: parameters start at 0, and every gradient is 0.02.
        self.params = [torch.zeros(length, requires_grad=True) for length in lens]
        for param in self.params:
            param.grad = torch.full_like(param, 0.02)
        self.optimizer = torch.optim.Adam(self.params, lr=1e-3, **{variant: True})

    def step(self):
        start = time.perf_counter()
        self.optimizer.step()
        return 1e3 * (time.perf_counter() - start)

    def ends(self):
        ends = [self.params[0].detach(), self.params[-1].detach()]
        return min(end.min().item() for end in ends), max(end.max().item() for end in ends)


def main(variant, threads):
    import torch

    torch.set_num_threads(int(threads))
    answer(torch.__version__)
    case = None
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "case":
            # Frees the tensors of the case before.
            case = None
            case = Case(torch, variant, map(int, arguments))
            answer("ok")
        elif command == "step":
            answer(case.step())
        elif command == "ends":
            answer(*case.ends())
        else:
            raise ValueError(f"unknown command {command}")


def answer(*values):
    print(*values, flush=True)


try:
    main(*sys.argv[1:])
except Exception as error:
    answer(f"error: {type(error).__name__}: {error}".replace("\n", " "))
