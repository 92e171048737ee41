#!/usr/bin/env python3
"""Deep Interest Network in PyTorch on the mini-batches of `undine bench learner --write-batches`, to
see how fast it can be: what undine's speed is compared with (the script `speed` beside this one).

    speed_learn.py --batches FILE --style tuned|public|fresh --optimizer sgd|adagrad|adam

fresh: tuned, packed, that has learned nothing yet.

public: as the code that people publish does it.  Histories padded to the longest of the batch and
masked; the unit reads [q, k, q-k, q*k] (or [h, h*c, c]) spelled out; nn.Embedding with dense
gradients; Dice upon nn.BatchNorm1d; torch.optim over everything; eager.

tuned: as one does it who knows PyTorch well.  Steps packed one behind the other, no padding.  The
unit's first layer without its widest input, in two ways of which the faster is taken by measuring:
  packed  [h, h*c] W + (c W_c + b) of the example: one product for all steps, c's part once a batch;
  folded  h (W_h + diag(c) W_p): a batched product, histories sorted by length and cut into groups
          of nearly one length.
Forward and backward compiled by Inductor; sums over steps by embedding_bag; ids merged in O(n)
without a sort; rows, and only those of the batch, updated in a compiled kernel of their own; fused
dense optimizers.  Ids come numbered, their layout and segments are made before time is taken.

Reads lines: "run SECONDS" trains for so long and answers with one JSON line, "passes N" trains N
times over all batches and answers with the mean loss of the last.  Ends at the end of its input.
"""
import argparse
import json
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

EPS = 1e-8
MOMENTUM = 0.99
GROUPS = 8
ROW_RATE, DENSE_RATE, ROW_SCALE, ACCUMULATOR = 0.01, 0.001, 0.01, 0.1
BETAS = (0.9, 0.999)


# ---- data ----------------------------------------------------------------------------------------

class Batch:
    """ids[f]: (B) of field f; step_ids[f]: (T); n: (B) steps of each example's history."""

    def __init__(self, label, n, ids, step_ids):
        self.label, self.n, self.ids, self.step_ids = label, n, ids, step_ids


class Data:
    """The file, with ids numbered by table in the order in which they come first."""

    def __init__(self, path):
        raw = open(path, "rb").read()
        end = raw.index(b"\n") + 1
        self.head = json.loads(raw[:end])
        self.names = [f["name"] for f in self.head["fields"]]
        self.vocabulary = [f["ids"] for f in self.head["fields"]]
        self.step_fields = self.head["step_fields"]
        self.batches = list(self.read(raw, end))
        self.number()

    def read(self, raw, at):
        b, fields, steps = self.head["batch"], len(self.names), self.step_fields
        for _ in range(self.head["batches"]):
            label = np.frombuffer(raw, np.uint8, b, at).astype(np.float32)
            n = np.frombuffer(raw, "<u4", b, at + b).astype(np.int64)
            at += 5 * b
            ids = np.frombuffer(raw, "<u8", b * fields, at).reshape(b, fields)
            at += ids.nbytes
            step_ids = np.frombuffer(raw, "<u8", int(n.sum()) * steps, at).reshape(-1, steps)
            at += step_ids.nbytes
            yield Batch(label, n, list(ids.T), list(step_ids.T))

    def number(self):
        for f in range(len(self.names)):
            parts = []
            for b in self.batches:
                parts += b.step_ids[f:f + 1] + [b.ids[f]]  # no steps beyond step_fields
            every = np.concatenate(parts)
            _, first, inverse = np.unique(every, return_index=True, return_inverse=True)
            rank = np.empty(len(first), np.int64)
            rank[np.argsort(first)] = np.arange(len(first))
            numbers = np.split(rank[inverse], np.cumsum([len(p) for p in parts])[:-1])
            for b in self.batches:
                if f < self.step_fields:
                    b.step_ids[f] = numbers.pop(0)
                b.ids[f] = numbers.pop(0)


# ---- what both share -----------------------------------------------------------------------------

def xavier(rows, cols):
    return torch.nn.Parameter(torch.nn.init.xavier_uniform_(torch.empty(rows, cols)))


class Dense(torch.nn.Module):
    """y = x W + b; without `out`, its parts are used one by one."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.weight, self.bias = xavier(n_in, n_out), torch.nn.Parameter(torch.zeros(n_out))

    def forward(self, x):
        return torch.addmm(self.bias, x, self.weight)


class Dice(torch.nn.Module):
    """DIN, Eq. 9; per channel over the rows at hand, gradient through the statistics."""

    def __init__(self, width):
        super().__init__()
        self.alpha = torch.nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("var", torch.ones(width))

    def forward(self, s):
        var, mean = torch.var_mean(s, 0, correction=0)
        with torch.no_grad():
            self.mean.lerp_(mean, 1 - MOMENTUM)
            self.var.lerp_(var, 1 - MOMENTUM)
        p = torch.sigmoid((s - mean) * torch.rsqrt(var + EPS))
        return s * (self.alpha + (1 - self.alpha) * p)


def layers(head):
    return [n for n in head["unit_hidden"] if n > 0], [200, 80]


class Tower(torch.nn.Module):
    """Hidden layers with Dice, then one number; `first` may have been done by the caller."""

    def __init__(self, width, hidden):
        super().__init__()
        self.dense, self.dice = torch.nn.ModuleList(), torch.nn.ModuleList()
        for n in hidden:
            self.dense.append(Dense(width, n))
            self.dice.append(Dice(n))
            width = n
        self.out = Dense(width, 1)

    def from_first(self, s):
        for i, dice in enumerate(self.dice):
            s = dice(s if i == 0 else self.dense[i](s))
        return self.out(s)[:, 0]

    def forward(self, x):
        return self.from_first(self.dense[0](x))


def dense_parameters(module):
    return sum(p.numel() for n, p in module.named_parameters() if not n.startswith("table"))


def dense_optimizer(name, parameters):
    parameters = list(parameters)
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=DENSE_RATE, fused=True)
    if name == "adagrad":
        return torch.optim.Adagrad(parameters, lr=DENSE_RATE, fused=True, eps=EPS,
                                   initial_accumulator_value=ACCUMULATOR)
    return torch.optim.Adam(parameters, lr=DENSE_RATE, betas=BETAS, eps=EPS, fused=True)


# ---- public style --------------------------------------------------------------------------------

class PublicDice(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(width, eps=EPS, momentum=1 - MOMENTUM, affine=False)
        self.alpha = torch.nn.Parameter(torch.zeros(width))

    def forward(self, s):
        p = torch.sigmoid(self.norm(s))
        return p * s + (1 - p) * self.alpha * s


def public_tower(width, hidden):
    parts = []
    for n in hidden:
        parts += [torch.nn.Linear(width, n), PublicDice(n)]
        width = n
    return torch.nn.Sequential(*parts, torch.nn.Linear(width, 1))


class PublicDin(torch.nn.Module):
    def __init__(self, data):
        super().__init__()
        d, fields = data.head["dim"], len(data.names)
        self.step_fields, self.official = data.step_fields, data.head["unit"] == "official"
        # Row 0 is the padding's.
        self.tables = torch.nn.ModuleList(torch.nn.Embedding(n + 1, d, padding_idx=0)
                                          for n in data.vocabulary)
        for table in self.tables:
            torch.nn.init.normal_(table.weight, std=ROW_SCALE)
        unit, mlp = layers(data.head)
        e = d * data.step_fields
        self.unit = public_tower((4 if self.official else 3) * e, unit)
        self.mlp = public_tower(d * fields + e, mlp)

    def forward(self, ids, step_ids, mask):
        fields = [table(ids[:, f]) for f, table in enumerate(self.tables)]
        h = torch.cat([self.tables[f](step_ids[:, :, f]) for f in range(self.step_fields)], -1)
        c = torch.cat(fields[:self.step_fields], -1).unsqueeze(1).expand(-1, h.shape[1], -1)
        parts = [c, h, c - h, c * h] if self.official else [h, h * c, c]
        x = torch.cat(parts, -1)
        a = self.unit(x.reshape(-1, x.shape[-1])).reshape(mask.shape) * mask
        v = torch.bmm(a.unsqueeze(1), h).squeeze(1)
        return self.mlp(torch.cat([*fields, v], -1))[:, 0]


class Public:
    variant = "padded, eager, dense gradients"

    def __init__(self, data, optimizer):
        self.model = PublicDin(data)
        self.parameters = dense_parameters(self.model)
        kind = {"sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad, "adam": torch.optim.Adam}
        self.optimizer = kind[optimizer](self.model.parameters(), lr=DENSE_RATE)
        self.batches = [self.padded(b) for b in data.batches]

    @staticmethod
    def padded(b):
        mask = np.arange(b.n.max())[None, :] < b.n[:, None]
        steps = np.zeros((*mask.shape, len(b.step_ids)), np.int64)
        steps[mask] = np.stack(b.step_ids, 1) + 1
        return (torch.from_numpy(np.stack(b.ids, 1) + 1), torch.from_numpy(steps),
                torch.from_numpy(mask.astype(np.float32)), torch.from_numpy(b.label))

    def step(self, i):
        ids, steps, mask, label = self.batches[i]
        loss = F.binary_cross_entropy_with_logits(self.model(ids, steps, mask), label)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss


# ---- tuned ---------------------------------------------------------------------------------------

@torch.library.custom_op("peer::segment_sum", mutates_args=())
def segment_sum(x: torch.Tensor, weight: torch.Tensor, every: torch.Tensor,
                offset: torch.Tensor) -> torch.Tensor:
    """Sums over the rows of each segment, weighted: x (T, D), weight (T), offset (B)."""
    return torch.ops.aten._embedding_bag_forward_only(x, every, offset, False, 0, False, weight)[0]


@segment_sum.register_fake
def _(x, weight, every, offset):
    return x.new_empty(offset.shape[0], x.shape[1])


class Spread(torch.autograd.Function):
    """q[of]: what an example has, for each of its steps."""

    @staticmethod
    def forward(ctx, q, of, ones, every, offset):
        ctx.save_for_backward(ones, every, offset)
        return q[of]

    @staticmethod
    def backward(ctx, g):
        ones, every, offset = ctx.saved_tensors
        return segment_sum(g.contiguous(), ones, every, offset), None, None, None, None


class Pool(torch.autograd.Function):
    """Sum over an example's steps of a h."""

    @staticmethod
    def forward(ctx, a, h, of, every, offset):
        ctx.save_for_backward(a, h, of)
        return segment_sum(h, a, every, offset)

    @staticmethod
    def backward(ctx, g):
        a, h, of = ctx.saved_tensors
        g = g[of]
        return (g * h).sum(1), a[:, None] * g, None, None, None


class TunedDin(torch.nn.Module):
    def __init__(self, head, fields, step_fields):
        super().__init__()
        self.official = head["unit"] == "official"
        unit, mlp = layers(head)
        self.e = head["dim"] * step_fields
        self.unit = Tower((4 if self.official else 3) * self.e, unit)
        self.mlp = Tower(head["dim"] * fields + self.e, mlp)

    def parts(self):
        """W_h, W_p (of h*c), W_c."""
        w = self.unit.dense[0].weight.split(self.e)
        return (w[1] - w[2], w[3], w[0] + w[2]) if self.official else w

    def query(self, c, w_c):
        return torch.addmm(self.unit.dense[0].bias, c, w_c)

    def packed(self, h, c, of, ones, every, offset):
        w_h, w_p, w_c = self.parts()
        x = torch.cat([h, h * Spread.apply(c, of, ones, every, offset)], 1)
        q = Spread.apply(self.query(c, w_c), of, ones, every, offset)
        return x @ torch.cat([w_h, w_p]) + q

    def folded(self, h, c, groups, at, back, valid):
        """groups: (examples, longest) of each; at: rows of h by group, padded; back: the way back."""
        w_h, w_p, w_c = self.parts()
        q, p, first, row, out = self.query(c, w_c), w_h + c[:, :, None] * w_p, 0, 0, []
        padded = h if at is None else h[at] * valid[:, None]
        for n, longest in groups:
            x = padded[row:row + n * longest].view(n, longest, self.e)
            s = torch.baddbmm(q[first:first + n, None, :], x, p[first:first + n])
            out.append(s.reshape(n * longest, -1))
            first, row = first + n, row + n * longest
        s = out[0] if len(out) == 1 else torch.cat(out)
        return s if at is None else s[back]

    def forward(self, h, c, other, label, of, ones, every, offset, fold):
        s = self.packed(h, c, of, ones, every, offset) if fold is None else self.folded(h, c, *fold)
        v = Pool.apply(self.unit.from_first(s), h, of, every, offset)
        logit = self.mlp(torch.cat([c, other, v], 1))
        return F.binary_cross_entropy_with_logits(logit, label)


def update_sgd(table, idx, g):
    table.index_add_(0, idx, g, alpha=-ROW_RATE)


def update_adagrad(table, acc, rows, g):
    a = acc[rows] + g * g
    acc[rows] = a
    table[rows] = table[rows] - ROW_RATE * g / (a.sqrt() + EPS)


def update_adam(table, m, v, rows, g, correct_m, correct_v):
    m_new = BETAS[0] * m[rows] + (1 - BETAS[0]) * g
    v_new = BETAS[1] * v[rows] + (1 - BETAS[1]) * g * g
    m[rows] = m_new
    v[rows] = v_new
    step = ROW_RATE * correct_m * m_new / (v_new.sqrt() * correct_v + EPS)
    table[rows] = table[rows] - step


class Table:
    def __init__(self, n, dim, optimizer, update):
        self.weight = ROW_SCALE * torch.randn(n, dim)
        self.kind, self.update = optimizer, update
        slots = {"sgd": [], "adagrad": [ACCUMULATOR], "adam": [0.0, 0.0]}[optimizer]
        self.slots = [torch.full((n, dim), x) for x in slots]
        self.last = torch.empty(n, dtype=torch.int64)

    def learn(self, idx, count, g, t):
        if self.kind == "sgd":
            return self.update(self.weight, idx, g)
        # The last of an id's places stands for it: merged without a sort.
        self.last[idx] = count
        place = self.last[idx]
        first = (place == count).nonzero()[:, 0]
        g = torch.zeros_like(g).index_add_(0, place, g)[first]
        rows = idx[first]
        if self.kind == "adagrad":
            return self.update(self.weight, *self.slots, rows, g)
        correct = [torch.tensor(1 / (1 - BETAS[0] ** t)), torch.tensor((1 - BETAS[1] ** t) ** -0.5)]
        return self.update(self.weight, *self.slots, rows, g, *correct)


class Layout:
    """Of a batch, made once: everything that follows from its ids and lengths alone."""

    def __init__(self, b, step_fields, folded):
        if folded and b.n.min() < b.n.max():
            b, _ = self.sorted(b)
        t = int(b.n.sum())
        self.label, self.n_steps = torch.from_numpy(b.label), t
        self.of = torch.from_numpy(np.repeat(np.arange(len(b.n)), b.n))
        self.offset = torch.from_numpy(np.cumsum(b.n) - b.n)
        self.every, self.ones = torch.arange(t), torch.ones(t)
        self.idx, self.count = [], []
        for f, ids in enumerate(b.ids):
            both = np.concatenate([b.step_ids[f], ids]) if f < step_fields else ids
            self.idx.append(torch.from_numpy(np.ascontiguousarray(both)))
            self.count.append(torch.arange(len(both)))
        self.fold = self.groups(b) if folded else None

    @staticmethod
    def sorted(b):
        order = np.argsort(b.n, kind="stable")
        first = (np.cumsum(b.n) - b.n)[order]
        n = b.n[order]
        steps = np.arange(int(n.sum())) + np.repeat(first - np.cumsum(n) + n, n)
        return Batch(b.label[order], n, [x[order] for x in b.ids],
                     [x[steps] for x in b.step_ids]), order

    @staticmethod
    def groups(b):
        if b.n.min() == b.n.max():
            return ((len(b.n), int(b.n[0])),), None, None, None
        groups, at, valid, first = [], [], [], np.cumsum(b.n) - b.n
        for part in np.array_split(np.arange(len(b.n)), GROUPS):
            # Lengths in eights, so that few shapes are compiled.
            longest = int(-(-b.n[part].max() // 4) * 4)
            groups.append((len(part), longest))
            k = np.arange(longest)[None, :]
            ok = k < b.n[part][:, None]
            at.append(np.where(ok, first[part][:, None] + k, 0).ravel())
            valid.append(ok.ravel())
        valid = np.concatenate(valid)
        return (tuple(groups), torch.from_numpy(np.concatenate(at)),
                torch.from_numpy(np.flatnonzero(valid)),
                torch.from_numpy(valid.astype(np.float32)))


class Tuned:
    def __init__(self, data, optimizer, folded):
        self.variant = "folded" if folded else "packed"
        self.step_fields, self.dim = data.step_fields, data.head["dim"]
        self.model = TunedDin(data.head, len(data.names), data.step_fields)
        self.parameters = dense_parameters(self.model)
        self.optimizer = dense_optimizer(optimizer, self.model.parameters())
        update = {"sgd": update_sgd, "adagrad": update_adagrad, "adam": update_adam}[optimizer]
        update = update if optimizer == "sgd" else torch.compile(update, dynamic=True)
        self.tables = [Table(n, self.dim, optimizer, update) for n in data.vocabulary]
        self.batches = [Layout(b, data.step_fields, folded) for b in data.batches]
        constant = all(b.n_steps == self.batches[0].n_steps for b in self.batches)
        self.loss = torch.compile(self.model, dynamic=False if constant else True)
        self.t = 0

    def gather(self, b):
        rows = [t.weight[idx] for t, idx in zip(self.tables, b.idx)]
        s = self.step_fields
        h = torch.cat([r[:b.n_steps] for r in rows[:s]], 1)
        c = torch.cat([r[b.n_steps:] for r in rows[:s]], 1)
        other = torch.cat(rows[s:], 1) if len(rows) > s + 1 else rows[s]
        return [x.requires_grad_() for x in (h, c, other)]

    def step(self, i):
        b = self.batches[i]
        self.t += 1
        h, c, other = self.gather(b)
        loss = self.loss(h, c, other, b.label, b.of, b.ones, b.every, b.offset, b.fold)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        d, s = self.dim, self.step_fields
        with torch.no_grad():
            for f, table in enumerate(self.tables):
                if f < s:
                    g = torch.cat([h.grad[:, f * d:(f + 1) * d], c.grad[:, f * d:(f + 1) * d]])
                else:
                    g = other.grad[:, (f - s) * d:(f - s + 1) * d]
                table.learn(b.idx[f], b.count[f], g, self.t)
        return loss


# ---- running -------------------------------------------------------------------------------------

class Runner:
    def __init__(self, peer, n_batches, batch):
        self.peer, self.n_batches, self.batch, self.at = peer, n_batches, batch, 0

    def one(self):
        loss = self.peer.step(self.at)
        self.at = (self.at + 1) % self.n_batches
        return loss

    def round(self):
        return float(sum(self.one().detach() for _ in range(self.n_batches))) / self.n_batches

    def rate(self, seconds):
        wall, cpu, n = time.monotonic(), time.process_time(), 0
        while time.monotonic() - wall < seconds:
            self.one()
            n += self.batch
        return n / (time.monotonic() - wall), n / (time.process_time() - cpu)


def open_peer(data, opt):
    torch.manual_seed(opt.seed)
    if opt.style == "fresh":
        return Runner(Tuned(data, opt.optimizer, False), len(data.batches), data.head["batch"])
    if opt.style == "public":
        runners = [Runner(Public(data, opt.optimizer), len(data.batches), data.head["batch"])]
        runners[0].round()
        return runners[0]
    ways = [False, True] if opt.way == "best" else [opt.way == "folded"]
    runners = []
    for folded in ways:
        torch.manual_seed(opt.seed)
        runners.append(Runner(Tuned(data, opt.optimizer, folded), len(data.batches),
                              data.head["batch"]))
        for _ in range(2):
            runners[-1].round()
    return max(runners, key=lambda r: r.rate(opt.choose)[1]) if len(runners) > 1 else runners[0]


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--batches", required=True)
    p.add_argument("--style", choices=["tuned", "public", "fresh"], required=True)
    p.add_argument("--optimizer", choices=["sgd", "adagrad", "adam"], required=True)
    p.add_argument("--way", choices=["packed", "folded", "best"], default="best",
                   help="of the unit's first layer; best: measured")
    p.add_argument("--choose", default=3.0, type=float, help="seconds for each way")
    p.add_argument("--seed", default=1, type=int)
    p.add_argument("--threads", default=1, type=int)
    opt = p.parse_args()
    torch.set_num_threads(opt.threads)
    torch.set_flush_denormal(True)
    data = Data(opt.batches)
    runner = open_peer(data, opt)
    print(json.dumps({"ready": True, "way": runner.peer.variant, "torch": torch.__version__,
                      "parameters": runner.peer.parameters}), flush=True)
    for line in sys.stdin:
        word, n = line.split()
        if word == "run":
            wall, cpu = runner.rate(float(n))
            answer = {"examples_per_second": wall, "examples_per_cpu_second": cpu}
        else:
            answer = {"logloss": [runner.round() for _ in range(int(n))][-1]}
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
