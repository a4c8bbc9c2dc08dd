"""Rows of an array as NumPy indexes them: writes rows.json, which tests/suite/living/rows.rs compares with its own indexing.

    python3 tests/golden/rows.py        # numpy 2.4.6 is what it was made with
"""

import json
from pathlib import Path

import numpy as np

FRESH = 2**32 - 1


def case(before, width, rows):
    values = np.arange(1, before * width + 1, dtype=np.float32)
    rows = np.array(rows, dtype=np.uint32)
    gathered = values.reshape(before, width)[np.where(rows == FRESH, 0, rows)]
    # A fresh row is 0.
    gathered[rows == FRESH] = 0
    return {"width": width, "values": values.tolist(), "rows": rows.tolist(), "gathered": gathered.ravel().tolist()}


cases = [
    case(4, 1, [3, 2, 1, 0]),
    case(5, 3, [0, 0, 4, 4, 4]),
    case(5, 3, [1]),
    case(3, 8, [2, FRESH, 0, FRESH, 1, 1]),
    case(2, 2, []),
]
Path(__file__).with_name("rows.json").write_text(json.dumps(cases) + "\n")
