"""What the golden cases are about: tables, fields, sequences, examples, first weights, and which
ids dropout leaves out."""
import random

import torch

REAL = torch.float64
N_EXAMPLES = 180

TABLES = {"user": (3, 20), "item": (3, 40), "tag": (2, 10), "category": (2, 8), "hour": (2, 6)}
FIELDS = [  # name, group, table, pool, ids at most
    ("user", "user", "user", "sum", 1),
    ("item", "candidate", "item", "sum", 1),
    ("tags", "candidate", "tag", "mean", 4),
    ("category", "candidate", "category", "sum", 4),
    ("hour", "context", "hour", "sum", 1),
]
# Each has an activation unit of its own; all share the tables, or have their own where a case says
# so.  A case sees the first so many.
SEQUENCES = [("clicks", ["item", "tags"]), ("carts", ["category", "item"]), ("views", ["category"])]
FIELD = {f[0]: f for f in FIELDS}
NUMBER = {f[0]: i for i, f in enumerate(FIELDS)}


class Tables:
    """Which there are: name -> (width, rows), and where a field of a step is looked up."""

    def __init__(self, n_sequences, own):
        self.own = own
        self.shape = dict(TABLES)
        for name, fields in SEQUENCES[:n_sequences]:
            for f in fields:
                if name in own:
                    self.shape[f"{name}.{FIELD[f][2]}"] = TABLES[FIELD[f][2]]

    def of_step(self, sequence, field):
        table = FIELD[field][2]
        return f"{sequence}.{table}" if sequence in self.own else table


def make_data():
    def bag(r, field):
        _, _, table, _, most = FIELD[field]
        rows = TABLES[table][1]
        n = 1 if most == 1 else r.choice([0, 1, 1, 2, 3])
        return [min(int(rows * r.random() ** 2), rows - 1) for _ in range(n)]

    def history(r, fields):
        n = r.choice([0, 1, 2, 3, 4, 6])
        steps = [[bag(r, f) for f in fields] for _ in range(n)]
        if n > 2:
            steps[2] = steps[0]  # the same behaviour twice
        return steps

    r, other = random.Random(7), random.Random(8)
    examples = []
    for i in range(N_EXAMPLES):
        e = {"label": r.randrange(2), "fields": [bag(r, f[0]) for f in FIELDS]}
        if i % 3 == 2:
            e["sequences"] = examples[-1]["sequences"]  # two impressions of one user
        else:
            e["sequences"] = [history(r, fields) for _, fields in SEQUENCES[:2]] + \
                [history(other, fields) for _, fields in SEQUENCES[2:]]
        examples.append(e)
    return {
        "tables": [{"name": n, "dim": d, "rows": rows} for n, (d, rows) in TABLES.items()],
        "fields": [{"name": n, "group": g, "table": t, "pool": p, "values_max": m}
                   for n, g, t, p, m in FIELDS],
        "sequences": [{"name": n, "fields": f} for n, f in SEQUENCES],
        "examples": examples,
    }


class Initial:
    """First weights: a function of name and shape, the same in every case."""

    def __init__(self):
        self.made = {}

    def __call__(self, name, rows, cols, scale):
        key = f"{name} {rows}x{cols}"
        if key not in self.made:
            r = random.Random(key)
            self.made[key] = [round(128 * scale * r.uniform(-1, 1)) / 128
                              for _ in range(rows * cols)]
        return torch.tensor(self.made[key], dtype=REAL).reshape(rows, cols)


# ---- dropout -------------------------------------------------------------------------------------

M64 = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def splitmix64(state):
    """The number that Vigna's splitmix64 gives from this state."""
    z = (state + GOLDEN) & M64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
    return z ^ (z >> 31)


def id_of(row):
    """A row number as an id of the stream."""
    return (row + 1) * GOLDEN & M64


class Dropout:
    """What the row of an id counts in a place of an example: dropout.h states the hash."""

    def __init__(self, rate, seed):
        self.rate, self.seed = rate, seed

    def factor(self, example, place, row):
        h = splitmix64(splitmix64(splitmix64(self.seed) ^ example) ^ place)
        u = (splitmix64(h ^ id_of(row)) >> 11) / 2 ** 53
        return 0.0 if u < self.rate else 1.0 / (1.0 - self.rate)


def field_place(f):
    return f


def step_place(sequence, step, i):
    return (sequence + 1) << 40 | step << 8 | i
