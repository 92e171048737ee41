"""The models as the papers write them, one example after the other where they speak of one.

base: Embedding & MLP.  din: DIN (arXiv 1706.06978, sec. 4.3), with the heads of the authors' codes
(product, sum_history) and the wide part of Wide & Deep (linear) as options."""
import math

import torch
import torch.nn.functional as F

from data import FIELD, FIELDS, NUMBER, REAL, SEQUENCES, TABLES, Tables, field_place, step_place


class Model:
    def __init__(self, opt, n_sequences, own_tables, admission, initial):
        self.opt, self.initial = opt, initial
        self.sequences = SEQUENCES[:n_sequences]
        self.at = Tables(n_sequences, own_tables)
        # With a linear part, the last number of a row is the id's weight in it; steps have none.
        self.tables = {n: initial(f"table.{n}", rows, d + (opt["linear"] and n in TABLES),
                                  0.8).requires_grad_()
                       for n, (d, rows) in self.at.shape.items()}
        # Which row an id has; with admission all begin with the last one, which is shared, and
        # every row begins with zeros.
        self.row = {n: torch.arange(rows) for n, (_, rows) in self.at.shape.items()}
        if admission > 0:
            self.row = {n: torch.full_like(r, len(r)) for n, r in self.row.items()}
            self.tables = {n: torch.zeros(len(w) + 1, w.shape[1], dtype=REAL).requires_grad_()
                           for n, w in self.tables.items()}
        self.weights = {}  # name -> tensor, in the order in which layers first run
        self.seen = {}     # Dice: (mean, biased variance) of every batch trained, by layer
        self.training = True
        self.recording = True  # of what Dice sees
        self.dropout = None    # a Dropout while it thins

    def weight(self, name, rows, cols, scale):
        if name not in self.weights:
            self.weights[name] = self.initial(name, rows, cols, scale).requires_grad_()
        return self.weights[name]

    def affine(self, name, x, width):
        fan_in = x.shape[1]
        w = self.weight(f"{name}.weight", fan_in, width, math.sqrt(6 / (fan_in + width)))
        return x @ w + self.weight(f"{name}.bias", 1, width, 0.2)

    # ---- activations ----

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
        if self.training and of_batch:
            mean = s.mean(0)
            var = ((s - mean) ** 2).mean(0)
        else:
            mean, var, _ = self.moving(layer, width)
        if self.training and self.recording:
            batch_mean = s.mean(0)
            batch_var = ((s - batch_mean) ** 2).mean(0)
            self.seen.setdefault(layer, []).append((n, batch_mean.detach(), batch_var.detach()))
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

    # ---- ids ----

    def pooled(self, field, table, bags, places):
        """The pooled rows of each bag, as wide as they are; places: (example, place) of each."""
        pool = FIELD[field][3]
        ids = [i for bag in bags for i in bag]
        bag_of = [k for k, bag in enumerate(bags) for _ in bag]
        rows = self.tables[table][self.row[table][ids]]
        if self.dropout is not None:
            kept = [self.dropout.factor(*places[k], i) for k, i in zip(bag_of, ids)]
            rows = rows * torch.tensor(kept, dtype=REAL).reshape(-1, 1)
        out = torch.zeros(len(bags), rows.shape[1], dtype=REAL)
        out = out.index_add(0, torch.tensor(bag_of, dtype=torch.int64), rows)
        if pool == "mean":
            out = out / torch.tensor([max(len(bag), 1) for bag in bags], dtype=REAL)[:, None]
        return out

    def vectors(self, field, table, bags, places):
        return self.pooled(field, table, bags, places)[:, :self.at.shape[table][0]]

    def of_field(self, field, numbers, examples, what):
        f = NUMBER[field]
        return what(field, FIELD[field][2], [e["fields"][f] for e in examples],
                    [(number, field_place(f)) for number in numbers])

    def linear(self, numbers, examples):
        """A weight for each id of each field, pooled as the field is."""
        return sum(self.of_field(f[0], numbers, examples, self.pooled)[:, -1] for f in FIELDS)

    # ---- sequences ----

    def unit_input(self, h, c):
        if self.opt["unit"]["input"] == "paper":
            return torch.cat([h, h * c, c], 1)
        return torch.cat([c, h, c - h, c * h], 1)  # q = c, k = h

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

    def steps(self, q, numbers, examples):
        """The vectors of the steps of all examples, one after the other."""
        name, fields = self.sequences[q]
        columns = []
        for i, f in enumerate(fields):
            bags, places = [], []
            for number, e in zip(numbers, examples):
                for t, step in enumerate(e["sequences"][q]):
                    bags.append(step[i])
                    places.append((number, step_place(q, t, i)))
            columns.append(self.vectors(f, self.at.of_step(name, f), bags, places))
        return torch.cat(columns, 1)

    def sequence(self, q, numbers, examples):
        """What stands in x of an example's steps: v = sum a_j e_j (E), and what crosses it."""
        name, fields = self.sequences[q]
        length = [len(e["sequences"][q]) for e in examples]
        query = torch.cat([self.of_field(f, numbers, examples, self.vectors) for f in fields], 1)
        h = self.steps(q, numbers, examples)
        if self.opt["kind"] == "din":
            # All pairs of the batch at once: Dice's statistics are over them.
            candidate = query[[b for b, n in enumerate(length) for _ in range(n)]]
            a = self.tower(f"unit.{name}", self.opt["unit"], self.unit_input(h, candidate))
        else:
            a = torch.ones(len(h), dtype=REAL)
        columns = []
        for c, hs, w in zip(query, torch.split(h, length), torch.split(a, length)):
            if len(hs) == 0:
                v = torch.zeros_like(c)
            elif self.opt["kind"] == "din":
                v = self.normalize(w, len(c)) @ hs
            else:
                v = hs.mean(0) if self.opt["base_pool"] == "mean" else hs.sum(0)
            columns.append(torch.cat(self.head(c, v, hs)))
        return torch.stack(columns)

    def head(self, c, v, hs):
        columns = [v]
        if self.opt["product"]:  # DIN's code: u, u*i
            columns.append(c * v)
        if self.opt["sum_history"]:  # DIEN's code of DIN: sum_his, i*sum_his
            columns += [hs.sum(0), c * hs.sum(0)]
        return columns

    def forward(self, numbers, examples):
        """Logits; numbers: of the examples in the stream."""
        x = [self.of_field(f[0], numbers, examples, self.vectors) for f in FIELDS]
        x += [self.sequence(q, numbers, examples) for q in range(len(self.sequences))]
        logit = self.tower("mlp", self.opt["mlp"], torch.cat(x, 1))
        return logit + self.linear(numbers, examples) if self.opt["linear"] else logit


def loss_of(logit, examples):
    label = torch.tensor([e["label"] for e in examples], dtype=REAL)
    return F.binary_cross_entropy_with_logits(logit, label)
