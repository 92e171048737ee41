#!/usr/bin/env python3
"""Deep Interest Network in PyTorch on event lines of `undine import`, progressively: every batch of
256 is predicted, then trained on, once, in the order of time.

    learn.py --data kuairand|amazon --events FILE.jsonl --seeds 1,2,3 --mba 0.01,0

What undine is compared with (the script `learning` beside this one runs both).  The join is made
here, from the lines alone: an impression is positive where a click names it; its history are the
newest 50 steps with a time below its own.  Nothing is shared with undine but the files.

The model is that of the paper: activation unit on [h, h*c, c] with 36 hidden, no softmax, sum over
the steps; 200-80-1 on top; Dice in both, normalised over the valid rows of the batch.  Histories
are packed one behind the other: no padding, no masks.  Prints one JSON object per run.
"""
import argparse
import json
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

STEPS_MAX = 50
VALUES_MAX = 8  # of a multi-hot field
PROFILE = ["user_active_degree", "is_live_streamer", "is_video_author", "follow_user_num_range",
           "fans_user_num_range", "friend_user_num_range", "register_days_range",
           *[f"onehot_feat{i}" for i in range(18)]]
DATA = {  # fields by the member of an impression that holds them; fields of a step
    "kuairand": {"candidate": ["video", "author", "tag"], "context": ["tab", "hour"],
                 "profile": PROFILE, "step": ["video", "author", "tag"], "multi": {"tag"}},
    "amazon": {"candidate": ["item", "category"], "context": [], "profile": [],
               "step": ["item", "category"], "multi": set()},
}


# ---- data ----------------------------------------------------------------------------------------

class Ragged:
    """Lists of integers, one behind the other: list i is flat[offset[i]:offset[i + 1]]."""

    def __init__(self, lists):
        self.offset = np.zeros(len(lists) + 1, dtype=np.int64)
        np.cumsum([len(x) for x in lists], out=self.offset[1:])
        self.flat = np.fromiter((v for x in lists for v in x), dtype=np.int64,
                                count=int(self.offset[-1]))

    def take(self, which):
        """The lists of these numbers: their values, and their lengths."""
        first, n = self.offset[which], self.offset[which + 1] - self.offset[which]
        ends = np.cumsum(n)
        at = np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - ends + n, n)
        return self.flat[at], n


class Stream:
    """Examples in the order of time, with ids numbered by table."""

    def __init__(self, name, path):
        spec = DATA[name]
        self.names = ["user", *spec["candidate"], *spec["context"], *spec["profile"]]
        self.step_names, self.multi = spec["step"], spec["multi"]
        self.number = {n: {} for n in self.names}
        events = [json.loads(line) for line in open(path, encoding="utf-8")]
        events.sort(key=lambda e: e["time"])  # stable: those of one time as they stand in the file
        clicked = {e["impression"] for e in events if e["kind"] == "click"}
        self.fields = {n: [] for n in self.names}
        self.steps = {n: [] for n in self.step_names}
        self.label, self.user, history = [], [], []
        self.by_user, shown = {}, {}
        for e in events:
            if e["kind"] == "impression":
                shown[e["id"]] = e
                members = {"user": e["user"], **e["candidate"], **e.get("context", {}),
                           **e.get("profile", {})}
                for n in self.names:
                    self.fields[n].append(self.ids(n, members.get(n)))
                self.label.append(float(e["id"] in clicked))
                self.user.append(self.fields["user"][-1][0])
                history.append(self.history(e["user"], e["time"]))
            elif e["kind"] == "click":
                self.add_step(shown[e["impression"]]["user"], e["time"],
                              shown[e["impression"]]["candidate"])
            else:
                self.add_step(e["user"], e["time"], e["item"])
        self.fields = {n: Ragged(x) for n, x in self.fields.items()}
        self.steps = {n: Ragged(x) for n, x in self.steps.items()}
        self.history = Ragged(history)
        self.label, self.user = np.array(self.label, dtype=np.float32), np.array(self.user)
        del self.by_user

    def ids(self, name, value):
        """Numbers of a field's values; an id that comes twice counts once."""
        if value is None or value == "" or value == []:
            return []
        values = value if isinstance(value, list) else [value]
        number = self.number[name]
        most = VALUES_MAX if name in self.multi else 1
        return [number.setdefault(str(v), len(number)) for v in dict.fromkeys(values)][:most]

    def add_step(self, user, time_ms, item):
        bags = [self.ids(n, item.get(n)) for n in self.step_names]
        steps = self.by_user.setdefault(user, [])
        for at, number, same in reversed(steps):
            if at != time_ms:
                break
            if same == bags:
                return  # the same of the same moment counts once
        steps.append((time_ms, len(self.steps[self.step_names[0]]), bags))
        for n, bag in zip(self.step_names, bags):
            self.steps[n].append(bag)

    def history(self, user, time_ms):
        steps = self.by_user.get(user, [])
        end = len(steps)
        while end > 0 and steps[end - 1][0] >= time_ms:
            end -= 1
        return [number for _, number, _ in steps[max(0, end - STEPS_MAX):end]]


class Batch:
    def __init__(self, stream, first, end):
        which = np.arange(first, end)
        self.n = end - first
        self.label = torch.from_numpy(stream.label[first:end])
        self.fields = {n: x.take(which) for n, x in stream.fields.items()}
        steps, n_steps = stream.history.take(which)
        self.of_example = np.repeat(np.arange(self.n), n_steps)
        self.steps = {n: x.take(steps) for n, x in stream.steps.items()}

    def instances(self, name, rows):
        """In how many examples each id of a table stands, in whatever place."""
        ids, n = self.fields[name]
        of = np.repeat(np.arange(self.n), n)
        if name in self.steps:
            step_ids, n = self.steps[name]
            ids = np.concatenate([ids, step_ids])
            of = np.concatenate([of, np.repeat(self.of_example, n)])
        return np.bincount(np.unique(of * rows + ids) % rows, minlength=rows).astype(np.float32)


# ---- model ---------------------------------------------------------------------------------------

class Dice(torch.nn.Module):
    """Eq. 8 and 9 of the paper; moving averages only where a batch has too few rows."""

    def __init__(self, width):
        super().__init__()
        self.alpha = torch.nn.Parameter(torch.zeros(width))
        self.mean, self.var, self.weight = torch.zeros(width), torch.ones(width), 0.0

    def forward(self, s):
        if len(s) >= 32:
            mean, var = s.mean(0), s.var(0, unbiased=False)
            self.weight = 0.99 * self.weight + 0.01
            share = 0.01 / self.weight
            self.mean += share * (mean.detach() - self.mean)
            self.var += share * (var.detach() - self.var)
        else:
            mean, var = self.mean, self.var
        p = torch.sigmoid((s - mean) / torch.sqrt(var + 1e-8))
        return p * s + (1 - p) * self.alpha * s


def tower(width, hidden):
    layers = []
    for n in hidden:
        layers += [torch.nn.Linear(width, n), Dice(n)]
        width = n
    layers.append(torch.nn.Linear(width, 1))
    for layer in layers:
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.xavier_uniform_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
    return torch.nn.Sequential(*layers)


class Din(torch.nn.Module):
    def __init__(self, stream, opt):
        super().__init__()
        self.names, self.step_names = stream.names, stream.step_names
        self.tables = torch.nn.ParameterDict({
            n: torch.nn.Parameter(opt.row_scale * torch.randn(len(stream.number[n]), opt.width))
            for n in stream.names})
        step = opt.width * len(self.step_names)
        self.unit = tower(3 * step, [36])
        self.mlp = tower(opt.width * len(self.names) + step, [200, 80])

    def bags(self, name, ids, n):
        """Sums of the embeddings; an empty bag is zero."""
        offsets = torch.from_numpy(np.cumsum(n) - n)
        return F.embedding_bag(torch.from_numpy(ids), self.tables[name], offsets, mode="sum")

    def forward(self, batch):
        fields = {n: self.bags(n, *batch.fields[n]) for n in self.names}
        candidate = torch.cat([fields[n] for n in self.step_names], 1)
        h = torch.cat([self.bags(n, *batch.steps[n]) for n in self.step_names], 1)
        of = torch.from_numpy(batch.of_example)
        interest = torch.zeros_like(candidate)
        if len(of) > 0:
            c = candidate[of]
            interest = interest.index_add(0, of, self.unit(torch.cat([h, h * c, c], 1)) * h)
        return self.mlp(torch.cat([*fields.values(), interest], 1))[:, 0]


# ---- metrics -------------------------------------------------------------------------------------

def auc(score, label):
    """Ties count half; None where there is one class only."""
    positives = float(label.sum())
    negatives = len(label) - positives
    if positives == 0 or negatives == 0:
        return None
    _, inverse, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[inverse]
    return (rank[label > 0].sum() - positives * (positives + 1) / 2) / (positives * negatives)


def gauc(user, score, label):
    """Over users with both classes, weighted by their impressions."""
    order = np.argsort(user, kind="stable")
    ends = np.flatnonzero(np.diff(user[order])) + 1
    total = weight = 0.0
    for rows in np.split(order, ends):
        a = auc(score[rows], label[rows])
        if a is not None:
            total, weight = total + a * len(rows), weight + len(rows)
    return total / weight


def logloss(score, label):
    z = score.astype(np.float64)
    return float(np.mean(np.maximum(z, 0) - z * label + np.log1p(np.exp(-np.abs(z)))))


def popularity_auc(stream, batch):
    """Of the item's click rate so far, 20 shows of prior: a check that two streams are one."""
    first = stream.fields[stream.step_names[0]]
    item = np.array([first.flat[a] if b > a else -1
                     for a, b in zip(first.offset[:-1], first.offset[1:])])
    shows, clicks = np.zeros(item.max() + 1), np.zeros(item.max() + 1)
    n = c = 0.0
    score = np.empty(len(item))
    for at in range(0, len(item), batch):
        i, y = item[at:at + batch], stream.label[at:at + batch]
        prior = (c + 1) / (n + 2)
        score[at:at + batch] = np.where(i < 0, prior, (clicks[i] + 20 * prior) / (shows[i] + 20))
        np.add.at(shows, i[i >= 0], 1)
        np.add.at(clicks, i[i >= 0], y[i >= 0])
        n, c = n + len(i), c + float(y.sum())
    return auc(score, stream.label)


def rows_seen(stream):
    """Ids that an example holds, by table: as many rows as a table that grows would have."""
    steps = np.unique(stream.history.flat)
    total = 0
    for n in stream.names:
        ids = stream.fields[n].flat
        if n in stream.step_names:
            ids = np.concatenate([ids, stream.steps[n].take(steps)[0]])
        total += len(np.unique(ids))
    return total


# ---- training ------------------------------------------------------------------------------------

class Training:
    def __init__(self, stream, opt, seed, mba):
        torch.manual_seed(seed)
        self.stream, self.opt, self.mba = stream, opt, mba
        self.model = Din(stream, opt)
        self.optimizer = torch.optim.Adagrad(self.model.parameters(), lr=opt.rate, eps=opt.eps,
                                             initial_accumulator_value=opt.accumulator)
        self.count = {n: np.zeros(len(t), dtype=np.float32)
                      for n, t in self.model.tables.items()}

    def regularize(self, batch):
        """Eq. 7: lambda / n_j w_j for the ids of the batch; n_j counts instances so far."""
        for n, table in self.model.tables.items():
            now = batch.instances(n, len(table))
            self.count[n] += now
            rows = np.flatnonzero(now)
            strength = torch.from_numpy((self.mba / self.count[n][rows]).astype(np.float32))
            rows = torch.from_numpy(rows)
            table.grad[rows] += strength[:, None] * table.detach()[rows]

    def step(self, batch):
        """The predictions, made before the step."""
        logit = self.model(batch)
        self.optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(logit, batch.label).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.opt.clip)
        if self.mba > 0:
            self.regularize(batch)
        self.optimizer.step()
        return logit.detach().numpy()

    def run(self):
        n = len(self.stream.label)
        score = np.empty(n, dtype=np.float32)
        for first in range(0, n, self.opt.batch):
            end = min(first + self.opt.batch, n)
            score[first:end] = self.step(Batch(self.stream, first, end))
        return score


def numbers(text, kind):
    return [kind(x) for x in text.split(",")]


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", choices=sorted(DATA), required=True)
    p.add_argument("--events", required=True)
    p.add_argument("--seeds", default="1", type=lambda x: numbers(x, int))
    p.add_argument("--mba", default="0.01", type=lambda x: numbers(x, float))
    p.add_argument("--width", default=16, type=int)
    p.add_argument("--batch", default=256, type=int)
    p.add_argument("--rate", default=0.03, type=float)
    p.add_argument("--accumulator", default=1e-6, type=float)
    p.add_argument("--eps", default=1e-8, type=float)
    p.add_argument("--row_scale", default=0.01, type=float)
    p.add_argument("--clip", default=5.0, type=float)
    p.add_argument("--threads", default=1, type=int)
    opt = p.parse_args()
    torch.set_num_threads(opt.threads)
    stream = Stream(opt.data, opt.events)
    same = {"examples": len(stream.label), "positives": int(stream.label.sum()),
            "rows": rows_seen(stream),
            "steps": len(stream.history.flat),
            "without_history": int((np.diff(stream.history.offset) == 0).sum()),
            "popularity_auc": popularity_auc(stream, opt.batch)}
    for mba in opt.mba:
        for seed in opt.seeds:
            start = time.monotonic()
            score = Training(stream, opt, seed, mba).run()
            seconds = time.monotonic() - start
            print(json.dumps({"data": opt.data, "learner": "PyTorch", "mba": mba, "seed": seed,
                              "auc": auc(score, stream.label),
                              "gauc": gauc(stream.user, score, stream.label),
                              "logloss": logloss(score, stream.label), "seconds": seconds,
                              "torch": torch.__version__, **same}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
