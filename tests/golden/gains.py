# /// script
# requires-python = ">=3.11"
# ///
"""Writes gains.json beside this script: what the integrals make of a constant gradient of 1, after t steps.

    python tests/golden/gains.py

    S_0(t) = 1 - beta1^t,  S_j(t) = kappa S_j(t-1) + S_{j-1}(t),  S_j(0) = 0

Nothing steps through time here: a step is a matrix, and t steps are its power, in 100 digits. `gains` are S_1 to S_n.
"""

import json
import pathlib
from decimal import Decimal, getcontext

getcontext().prec = 100
STEPS = [1, 2, 3, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000]
# Late steps take a test's time.
SOON, LATE = STEPS[:-1], STEPS
RUNS = [{"beta1": 0.9, "kappa": kappa, "order": 8, "steps": SOON} for kappa in [0.0, 1e-5, 0.5, 0.9]]
RUNS += [{"beta1": 0.9, "kappa": kappa, "order": 4, "steps": LATE} for kappa in [0.98, 1 - 2**-53, 1.0]]
RUNS += [{"beta1": beta1, "kappa": 0.98, "order": 3, "steps": SOON} for beta1 in [0.0, 0.98, 1 - 1e-8]]
# Beyond the range of float32.
RUNS += [{"beta1": 0.9, "kappa": 1.0, "order": 64, "steps": STEPS[:6]}]


def product(a, b):
    return [[sum(x * y for x, y in zip(row, column) if x and y) for column in zip(*b)] for row in a]


def power(a, t):
    result = [[Decimal(i == j) for j in range(len(a))] for i in range(len(a))]
    while t:
        result = product(result, a) if t & 1 else result
        a, t = product(a, a), t >> 1
    return result


def step(beta1, kappa, order):
    """The map from (1, beta1^t, S_1(t), ..., S_n(t)) to the same of t + 1."""
    one = [Decimal(1)] + [Decimal(0)] * (order + 1)
    power = [Decimal(0), beta1] + [Decimal(0)] * order
    # S_0(t + 1) is 1 - beta1 beta1^t.
    rows = [one, power, [Decimal(1), -beta1] + [Decimal(0)] * order]
    for j in range(1, order + 1):
        own = [Decimal(i == j + 1) for i in range(order + 2)]
        rows.append([below + kappa * x for below, x in zip(rows[-1], own)])
    # S_0 follows from the others.
    return rows[:2] + rows[3:]


def gains(run):
    one_step = step(Decimal(run["beta1"]), Decimal(run["kappa"]), run["order"])
    for t in run["steps"]:
        # At t = 0 the first two are 1, and the rest 0.
        yield [float(row[0] + row[1]) for row in power(one_step, t)[2:]]


def main():
    path = pathlib.Path(__file__).with_suffix(".json")
    lines = [json.dumps(run | {"gains": list(gains(run))}) for run in RUNS]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
