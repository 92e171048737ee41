#!/usr/bin/env python3
"""Golden files of the learner, computed by PyTorch in double; test_torch_parity.c and
test_torch_training.c hold undine to them.

By hand, and only where a model form, an activation, a regularizer or an optimizer is new:

    python3 -m venv venv && venv/bin/pip install torch==2.15.0 numpy==2.4.6
    venv/bin/python tests/golden/torch/make.py            # all files, beside this one
    venv/bin/python tests/golden/torch/make.py --check    # compute again, compare, write nothing

Made with Python 3.11, PyTorch 2.15.0 (on the CPU, double); each file names its own versions.

The equations are written here as the papers write them, one example after the other where they
speak of one example; gradients are PyTorch's.  Nothing is shared with the C code but the names of
the parameters and the files:

    data.json     tables, fields, sequences and 180 examples (ids are row numbers)
    initial.json  first weights, by name and shape; multiples of 1/128, exact in float
    CASE.json     options, and what comes out: `forward` (logits, weights of the steps, interest
                  vectors of the first batch), `gradient`, `after` (weights, statistics, n_j and
                  logits after so many steps; example i of step s is number (s B + i) mod 180)
"""
import argparse
import json
import math
import platform
import random
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

HERE = Path(__file__).resolve().parent
REAL = torch.float64
N_EXAMPLES = 180

# ---- data ----------------------------------------------------------------------------------------

TABLES = {"user": (3, 20), "item": (3, 40), "tag": (2, 10), "category": (2, 8), "hour": (2, 6)}
FIELDS = [  # name, group, table, pool, ids at most
    ("user", "user", "user", "sum", 1),
    ("item", "candidate", "item", "sum", 1),
    ("tags", "candidate", "tag", "mean", 4),
    ("category", "candidate", "category", "sum", 4),
    ("hour", "context", "hour", "sum", 1),
]
SEQUENCES = [("clicks", ["item", "tags"]), ("carts", ["category", "item"])]
FIELD = {f[0]: f for f in FIELDS}


def make_data():
    r = random.Random(7)

    def bag(field):
        _, _, table, _, most = FIELD[field]
        rows = TABLES[table][1]
        n = 1 if most == 1 else r.choice([0, 1, 1, 2, 3])
        return [min(int(rows * r.random() ** 2), rows - 1) for _ in range(n)]

    def history(fields):
        n = r.choice([0, 1, 2, 3, 4, 6])
        steps = [[bag(f) for f in fields] for _ in range(n)]
        if n > 2:
            steps[2] = steps[0]  # the same behaviour twice
        return steps

    examples = []
    for i in range(N_EXAMPLES):
        e = {"label": r.randrange(2), "fields": [bag(f[0]) for f in FIELDS]}
        if i % 3 == 2:
            e["sequences"] = examples[-1]["sequences"]  # two impressions of one user
        else:
            e["sequences"] = [history(fields) for _, fields in SEQUENCES]
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


# ---- model ---------------------------------------------------------------------------------------

class Model:
    def __init__(self, opt, data, initial):
        self.opt, self.data = opt, data
        self.tables = {n: initial(f"table.{n}", rows, d, 0.8).requires_grad_()
                       for n, (d, rows) in TABLES.items()}
        self.weights = {}  # name -> tensor, in the order in which layers first run
        self.initial = initial
        self.seen = {}     # Dice: (mean, biased variance) of every batch trained, by layer
        self.dice_rows = {}
        self.training = True

    def weight(self, name, rows, cols, scale):
        if name not in self.weights:
            self.weights[name] = self.initial(name, rows, cols, scale).requires_grad_()
        return self.weights[name]

    def affine(self, name, x, width):
        fan_in = x.shape[1]
        w = self.weight(f"{name}.weight", fan_in, width, math.sqrt(6 / (fan_in + width)))
        return x @ w + self.weight(f"{name}.bias", 1, width, 0.2)

    # Moving averages of Dice, as sums over all batches so far; rho^k is the age of a batch.
    def moving(self, layer, width):
        rho, seen = self.opt["dice"]["momentum"], self.seen.get(layer, [])
        mode = self.opt["dice"]["mode"]
        rows = [len_ for len_, _, _ in seen]
        # Training that begins with the averages themselves begins with (0, 1), as one batch.
        of_averages = [mode == "running" or (mode == "auto" and n < 32) for n in rows]
        stats = [(m, v) for _, m, v in seen]
        if not seen or of_averages[0]:
            stats.insert(0, (torch.zeros(width, dtype=REAL), torch.ones(width, dtype=REAL)))
        age = [rho ** (len(stats) - 1 - k) for k in range(len(stats))]
        mean = sum(a * m for a, (m, _) in zip(age, stats)) / sum(age)
        var = sum(a * v for a, (_, v) in zip(age, stats)) / sum(age)
        if any(of_averages):  # the variance of all rows: within the batches and between them
            assert all(of_averages), "one layer must not mix both"
            var = var + sum(a * (m - mean) ** 2 for a, (m, _) in zip(age, stats)) / sum(age)
        updates = (1 - rho) * sum(age) if seen else 0.0
        return mean, var, updates

    def dice(self, layer, s):
        """DIN, Eq. 8 and 9."""
        mode, eps = self.opt["dice"]["mode"], self.opt["dice"]["eps"]
        n, width = s.shape
        alpha = self.weight(f"{layer}.alpha", 1, width, 0.3)
        of_batch = mode == "batch" or (mode == "auto" and n >= 32)
        mean, var, _ = self.moving(layer, width)
        if self.training:
            batch_mean = s.mean(0)
            batch_var = ((s - batch_mean) ** 2).mean(0)
            self.seen.setdefault(layer, []).append((n, batch_mean.detach(), batch_var.detach()))
            if of_batch:
                mean, var = batch_mean, batch_var
        p = torch.sigmoid((s - mean) / torch.sqrt(var + eps))
        return p * s + (1 - p) * alpha * s

    def activate(self, kind, layer, s):
        if kind == "sigmoid":
            return torch.sigmoid(s)
        if kind == "tanh":
            return torch.tanh(s)
        if kind == "relu":
            return torch.relu(s)
        if kind == "prelu":
            return torch.where(s > 0, s, self.weight(f"{layer}.alpha", 1, s.shape[1], 0.3) * s)
        assert kind == "dice"
        return self.dice(layer, s)

    def tower(self, prefix, opt, x):
        for i, width in enumerate(opt["hidden"]):
            x = self.activate(opt["activation"], f"{prefix}.{i}", self.affine(f"{prefix}.{i}", x, width))
        return self.affine(f"{prefix}.{len(opt['hidden'])}", x, 1)[:, 0]

    def bag(self, field, ids):
        _, _, table, pool, _ = FIELD[field]
        rows = self.tables[table][ids]  # (k, D)
        if pool == "mean" and ids:
            return rows.mean(0)
        return rows.sum(0)

    def unit_input(self, h, c):
        if self.opt["unit"]["input"] == "paper":
            return torch.cat([h, h * c, c])
        return torch.cat([c, h, c - h, c * h])  # q = c, k = h

    def normalize(self, a, e_width):
        how = self.opt["unit"]["normalize"]
        if how == "softmax":
            return torch.softmax(a, 0)
        if how == "scaled_softmax":
            return torch.softmax(a / math.sqrt(e_width), 0)
        if how == "sqrt_dim":
            return a / math.sqrt(e_width)
        if how == "length":
            return a / len(a)
        assert how == "none"
        return a

    def sequence(self, q, examples):
        """Per example: the vectors of its steps (H, E), their weights (H), v = sum a_j e_j (E)."""
        name, fields = SEQUENCES[q]
        width = sum(TABLES[FIELD[f][2]][0] for f in fields)
        steps, pairs = [], []
        for e in examples:
            c = torch.cat([self.bag(f, e["fields"][[x[0] for x in FIELDS].index(f)])
                           for f in fields])
            hs = [torch.cat([self.bag(f, ids) for f, ids in zip(fields, step)])
                  for step in e["sequences"][q]]
            steps.append(torch.stack(hs) if hs else torch.zeros(0, width, dtype=REAL))
            pairs += [self.unit_input(h, c) for h in hs]
        if self.opt["kind"] == "din":
            # All pairs of the batch at once: Dice's statistics are over them.
            a = self.tower(f"unit.{name}", self.opt["unit"], torch.stack(pairs))
        weights, interest, at = [], [], 0
        for hs in steps:
            n = len(hs)
            if n == 0:
                w = torch.zeros(0, dtype=REAL)
            elif self.opt["kind"] == "din":
                w = self.normalize(a[at:at + n], width)
            else:
                w = torch.full((n,), 1 / n if self.opt["base_pool"] == "mean" else 1.0, dtype=REAL)
            at += n
            weights.append(w)
            interest.append((w[:, None] * hs).sum(0))
        return weights, torch.stack(interest)

    def forward(self, examples):
        fields = [torch.stack([self.bag(f[0], e["fields"][i]) for e in examples])
                  for i, f in enumerate(FIELDS)]
        self.step_weights, self.interest = {}, {}
        for q, (name, _) in enumerate(SEQUENCES):
            self.step_weights[name], self.interest[name] = self.sequence(q, examples)
        x = torch.cat(fields + list(self.interest.values()), 1)
        return self.tower("mlp", self.opt["mlp"], x)


def loss_of(logit, examples):
    label = torch.tensor([e["label"] for e in examples], dtype=REAL)
    return F.binary_cross_entropy_with_logits(logit, label)


# ---- training ------------------------------------------------------------------------------------

def instances(examples):
    """c_mj: for each table, in how many examples an id stands, in whatever place."""
    count = {n: torch.zeros(rows, dtype=REAL) for n, (_, rows) in TABLES.items()}
    for e in examples:
        held = {n: set() for n in TABLES}
        for f, ids in zip(FIELDS, e["fields"]):
            held[f[2]].update(ids)
        for (_, fields), steps in zip(SEQUENCES, e["sequences"]):
            for step in steps:
                for f, ids in zip(fields, step):
                    held[FIELD[f][2]].update(ids)
        for n, ids in held.items():
            for i in ids:
                count[n][i] += 1
    return count


class LazyAdam:
    """Adam on the rows of a batch alone: the others keep weights, m and v; t counts batches."""

    def __init__(self, tables, opt):
        self.opt, self.t = opt, 0
        self.state = {n: (torch.zeros_like(w), torch.zeros_like(w)) for n, w in tables.items()}

    def step(self, tables, grads, touched):
        o = self.opt
        self.t += 1
        for n, w in tables.items():
            m, v = self.state[n]
            for row in torch.nonzero(touched[n])[:, 0].tolist():
                g = grads[n][row]
                m[row] = o["beta1"] * m[row] + (1 - o["beta1"]) * g
                v[row] = o["beta2"] * v[row] + (1 - o["beta2"]) * g * g
                m_hat = m[row] / (1 - o["beta1"] ** self.t)
                v_hat = v[row] / (1 - o["beta2"] ** self.t)
                w.data[row] -= o["rate"] * m_hat / (torch.sqrt(v_hat) + o["eps"])


class PlainRows:
    """SGD and Adagrad: rows without a gradient stand still by themselves, so PyTorch's own."""

    def __init__(self, tables, opt):
        self.torch = torch_optimizer(list(tables.values()), opt, opt["rate"])

    def step(self, tables, grads, touched):
        for n, w in tables.items():
            w.grad = grads[n]
        self.torch.step()


def torch_optimizer(params, opt, rate):
    if opt["kind"] == "sgd":
        return torch.optim.SGD(params, lr=rate)
    if opt["kind"] == "adagrad":
        return torch.optim.Adagrad(params, lr=rate, eps=opt["eps"],
                                   initial_accumulator_value=opt["accumulator"])
    assert opt["kind"] == "adam"
    return torch.optim.Adam(params, lr=rate, eps=opt["eps"], betas=(opt["beta1"], opt["beta2"]))


class Training:
    def __init__(self, case, model):
        self.case, self.model = case, model
        opt = case["optimizer"]
        rows = LazyAdam if opt["kind"] == "adam" else PlainRows
        self.rows = rows(model.tables, opt)
        self.dense = torch_optimizer(list(model.weights.values()), opt, opt["dense_rate"])
        self.n = {n: torch.zeros(rows, dtype=REAL) for n, (_, rows) in TABLES.items()}

    def clip(self, tensors):
        most = self.case["clip_norm"]
        norm = math.sqrt(sum(float((g ** 2).sum()) for g in tensors))
        return [g * (most / norm) if most and norm > most else g for g in tensors]

    def step(self, examples):
        m, mba = self.model, self.case["mba"]
        names = list(m.tables) + list(m.weights)
        tensors = list(m.tables.values()) + list(m.weights.values())
        grads = torch.autograd.grad(loss_of(m.forward(examples), examples), tensors)
        grads = dict(zip(names, self.clip(grads)))
        held = instances(examples)
        decay = {}
        for n, w in m.tables.items():
            self.n[n] = self.n[n] + held[n]
            # lambda alpha / n_j of the rows in the batch: Eq. 5 counts, Eq. 6 takes the maximum
            alpha = held[n] if mba["form"] == "count" else (held[n] > 0).to(REAL)
            strength = mba["lambda"] * alpha / self.n[n].clamp(min=1)
            penalty = (strength[:, None] * w ** 2).sum() / 2
            decay[n] = torch.autograd.grad(penalty, w)[0]
            if not mba["decoupled"]:
                grads[n] = grads[n] + decay[n]
        self.rows.step(m.tables, grads, {n: held[n] > 0 for n in m.tables})
        for n, w in m.tables.items():
            if mba["decoupled"]:
                w.data -= self.case["optimizer"]["rate"] * decay[n]
        for n, w in m.weights.items():
            w.grad = grads[n]
        self.dense.step()


# ---- files ---------------------------------------------------------------------------------------

def flat(t, digits):
    return [float(f"{x:.{digits}g}") for x in t.detach().reshape(-1).tolist()]


def statistics(model, digits):
    out = {}
    for layer, seen in model.seen.items():
        mean, var, updates = model.moving(layer, len(seen[0][1]))
        out[f"{layer}.mean"], out[f"{layer}.var"] = flat(mean, digits), flat(var, digits)
        out[f"{layer}.updates"] = [float(f"{updates:.{digits}g}")]
    return out


def run(case, data, initial):
    examples, size = data["examples"], case["batch"]
    out = dict(case)
    model = Model(case["model"], data, initial)
    first = examples[:size]
    logit = model.forward(first)
    if case["record"] == "all":
        out["forward"] = {
            "logit": flat(logit, 11),
            "weights": {n: flat(torch.cat(w), 11) for n, w in model.step_weights.items()},
            "interest": {n: flat(v, 11) for n, v in model.interest.items()},
        }
        tensors = {f"table.{n}": w for n, w in model.tables.items()} | model.weights
        grads = torch.autograd.grad(loss_of(logit, first), list(tensors.values()))
        out["gradient"] = {n: flat(g, 11) for n, g in zip(tensors, grads)}
    model.seen = {}
    training = Training(case, model)
    out["after"] = {}
    for s in range(max(case["steps"])):
        training.step([examples[(s * size + i) % N_EXAMPLES] for i in range(size)])
        if s + 1 in case["steps"]:
            model.training = False
            out["after"][str(s + 1)] = {
                "value": {f"table.{n}": flat(w, 8) for n, w in model.tables.items()}
                | {n: flat(w, 8) for n, w in model.weights.items()} | statistics(model, 8),
                "n": {n: [int(x) for x in c.tolist()] for n, c in training.n.items()},
                "serve": flat(model.forward(first), 8),
            }
            model.training = True
    return out


def text(x, depth=0):
    """JSON with one tensor a line."""
    if isinstance(x, dict) and x:
        pad = " " * (depth + 1)
        body = ",\n".join(f"{pad}{json.dumps(k)}: {text(v, depth + 1)}" for k, v in x.items())
        return "{\n" + body + "\n" + " " * depth + "}"
    if isinstance(x, list) and x and isinstance(x[0], dict):
        pad = " " * (depth + 1)
        return "[\n" + ",\n".join(pad + json.dumps(v, separators=(",", ":")) for v in x) + "\n]"
    return json.dumps(x, separators=(",", ":"))


# ---- cases ---------------------------------------------------------------------------------------

def model_options(**change):
    o = {"kind": "din", "base_pool": "sum",
         "unit": {"input": "paper", "hidden": [4], "activation": "dice", "normalize": "none"},
         "mlp": {"hidden": [6, 4], "activation": "dice"},
         "dice": {"mode": "batch", "eps": 1e-8, "momentum": 0.9, "alpha": 0.0},
         "prelu_alpha": 0.1}
    for k, v in change.items():
        if isinstance(v, dict):
            o[k] = o[k] | v
        else:
            o[k] = v
    return o


SGD = {"kind": "sgd", "rate": 0.2, "dense_rate": 0.1}
ADAGRAD = {"kind": "adagrad", "rate": 0.05, "dense_rate": 0.03, "eps": 1e-8, "accumulator": 0.01}
ADAM = {"kind": "adam", "rate": 0.004, "dense_rate": 0.002, "eps": 1e-8, "beta1": 0.9,
        "beta2": 0.999}
NO_MBA = {"lambda": 0.0, "form": "once", "decoupled": False}


def case(model, optimizer=ADAGRAD, mba=NO_MBA, batch=36, clip_norm=0.0, record="all", steps=(100,)):
    return {"model": model, "optimizer": optimizer, "mba": mba, "batch": batch,
            "clip_norm": clip_norm, "record": record, "steps": list(steps)}


def all_cases():
    official = {"input": "official", "hidden": [5, 3], "activation": "sigmoid"}
    cases = {
        "form_base_sum": case(model_options(kind="base", mlp={"activation": "prelu"})),
        "form_base_mean": case(model_options(kind="base", base_pool="mean")),
        "form_din_official": case(model_options(unit=official)),
        "form_din_official_scaled_softmax":
            case(model_options(unit=official | {"normalize": "scaled_softmax"},
                               mlp={"activation": "sigmoid"})),
    }
    for how in ["none", "softmax", "sqrt_dim", "length"]:
        cases[f"form_din_paper_{how}"] = case(model_options(unit={"normalize": how}))
    for kind in ["sigmoid", "relu", "tanh", "prelu"]:
        cases[f"activation_{kind}"] = case(
            model_options(unit={"activation": kind}, mlp={"activation": kind}))
    cases["activation_dice_running"] = case(model_options(dice={"mode": "running"}))
    # 24 examples are too few for the statistics of a batch, their pairs are enough.
    cases["activation_dice_auto"] = case(model_options(dice={"mode": "auto"}), batch=24)

    small = model_options(mlp={"hidden": [4], "activation": "prelu"})

    def steps(optimizer, mba=NO_MBA, at=(10, 100), clip_norm=0.0):
        return case(small, optimizer, mba, record="steps", steps=at, clip_norm=clip_norm)

    optimizers = {"sgd": SGD, "adagrad": ADAGRAD, "adam": ADAM}
    for name, optimizer in optimizers.items():
        cases[f"optimizer_{name}"] = steps(optimizer)
    cases["optimizer_adagrad_small"] = steps(ADAGRAD | {"accumulator": 1e-6, "rate": 0.03})
    cases["optimizer_clip"] = steps(ADAM, clip_norm=0.05)
    for form in ["once", "count"]:
        for how in ["coupled", "decoupled"]:
            mba = {"lambda": 0.5, "form": form, "decoupled": how == "decoupled"}
            for name, optimizer in optimizers.items():
                cases[f"mba_{form}_{how}_{name}"] = steps(optimizer, mba, at=(100,))
    return cases


def check(path, expected):
    """Whether a file says the same; another machine may differ in the last bits."""
    def same(a, b, where):
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(same(a[k], b[k], f"{where}.{k}") for k in a
                                                if k != "made_with")
        if isinstance(a, list):
            return len(a) == len(b) and all(same(x, y, where) for x, y in zip(a, b))
        if isinstance(a, float) or isinstance(b, float):
            return abs(a - b) <= 1e-7 * max(1.0, abs(a))
        return a == b
    return path.exists() and same(json.loads(expected), json.loads(path.read_text()), path.name)


def main():
    parser = argparse.ArgumentParser(description="Make the golden files of the learner.")
    parser.add_argument("--check", action="store_true", help="compare with the files, write nothing")
    parser.add_argument("--only", help="cases whose name starts so")
    args = parser.parse_args()
    torch.set_num_threads(1)
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    data, initial, files = make_data(), Initial(), {}
    for name, c in all_cases().items():
        if args.only and not name.startswith(args.only):
            continue
        files[name] = {"made_by": "tests/golden/torch/make.py", "made_with": versions} | \
            run(c, data, initial)
        print(name, file=sys.stderr)
    files["data"] = {"made_with": versions} | data
    if not args.only:
        files["initial"] = {"made_with": versions} | {"values": initial.made}
    bad = 0
    for name, content in files.items():
        path, body = HERE / f"{name}.json", text(content) + "\n"
        if not args.check:
            path.write_text(body)
        elif not check(path, body):
            print(f"{path.name} says something else", file=sys.stderr)
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
