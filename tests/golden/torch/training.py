"""Training as the papers write it: optimizers, regularizers, schedules.  What undine does lazily is
done at once here: every row decays in every step, every counter in every period."""
import math

import torch

from data import FIELDS, REAL, SEQUENCES, Dropout, Tables
from model import loss_of


def instances(examples, n_sequences, tables, row=None):
    """c_mj: for each table, in how many examples an id stands, in whatever place; or, where the rows
    of the ids are given, in how many a row is read."""
    count = {n: torch.zeros(rows + (row is not None), dtype=REAL)
             for n, (_, rows) in tables.shape.items()}
    for e in examples:
        held = {n: set() for n in tables.shape}
        for f, ids in zip(FIELDS, e["fields"]):
            held[f[2]].update(ids)
        for (name, fields), steps in zip(SEQUENCES[:n_sequences], e["sequences"]):
            for step in steps:
                for f, ids in zip(fields, step):
                    held[tables.of_step(name, f)].update(ids)
        for n, ids in held.items():
            for i in ids if row is None else {int(row[n][i]) for i in ids}:
                count[n][i] += 1
    return count


# ---- optimizers: step(gradients by name, touched rows by name or None, rates by name) ------------

class Torch:
    """SGD, Adagrad, and Adam of dense weights.  Rows without a gradient stand still by themselves
    under the first two, so PyTorch's own do for them too."""

    def __init__(self, tensors, opt):
        self.tensors = tensors
        groups = [{"params": [w], "name": n} for n, w in tensors.items()]
        if opt["kind"] == "sgd":
            self.torch = torch.optim.SGD(groups, lr=1.0)
        elif opt["kind"] == "adagrad":
            self.torch = torch.optim.Adagrad(groups, lr=1.0, eps=opt["eps"],
                                             initial_accumulator_value=opt["accumulator"])
        else:
            assert opt["kind"] == "adam"
            self.torch = torch.optim.Adam(groups, lr=1.0, eps=opt["eps"],
                                          betas=(opt["beta1"], opt["beta2"]))

    def step(self, grads, touched, rates):
        for group in self.torch.param_groups:
            group["lr"] = rates[group["name"]]
        for n, w in self.tensors.items():
            w.grad = grads[n]
        self.torch.step()


class LazyAdam:
    """Adam on the rows of a batch alone: the others keep weights, m and v; t counts batches."""

    def __init__(self, tables, opt):
        self.tables, self.opt, self.t = tables, opt, 0
        self.state = {n: (torch.zeros_like(w), torch.zeros_like(w)) for n, w in tables.items()}

    def step(self, grads, touched, rates):
        o = self.opt
        self.t += 1
        for n, w in self.tables.items():
            m, v = self.state[n]
            for row in torch.nonzero(touched[n])[:, 0].tolist():
                g = grads[n][row]
                m[row] = o["beta1"] * m[row] + (1 - o["beta1"]) * g
                v[row] = o["beta2"] * v[row] + (1 - o["beta2"]) * g * g
                m_hat = m[row] / (1 - o["beta1"] ** self.t)
                v_hat = v[row] / (1 - o["beta2"] ** self.t)
                w.data[row] -= rates[n] * m_hat / (torch.sqrt(v_hat) + o["eps"])


class Ftrl:
    """FTRL-proximal as McMahan et al. (KDD'13) state it before they make it incremental (Eq. 1):

        w_{t+1} = argmin_w  sum_s g_s w + 1/2 sum_s sigma_s (w - w_s)^2 + l1 |w| + l2/2 w^2
        sum_{s<=t} sigma_s = (sqrt(sum_{s<=t} g_s^2)) / rate,  and beta/rate more around 0

    with all w_s and g_s of the past remembered.  A constant joins the linear term, by which the
    first weights are the solution before there was a gradient."""

    def __init__(self, tensors, opt):
        self.tensors, self.opt = tensors, opt
        self.past = {n: [] for n in tensors}  # (g_s, w_s, sigma_s)
        self.first = {n: w.detach().clone() for n, w in tensors.items()}

    def step(self, grads, touched, rates):
        l1, l2 = self.opt["l1"], self.opt["l2"]
        for n, w in self.tensors.items():
            past, rate, start = self.past[n], rates[n], self.first[n]
            squares = sum((g * g for g, _, _ in past), torch.zeros_like(start))
            sigma = (torch.sqrt(squares + grads[n] ** 2) - torch.sqrt(squares)) / rate
            past.append((grads[n].detach().clone(), w.detach().clone(), sigma))
            around_0 = self.opt["beta"] / rate + l2
            linear = -(around_0 * start + l1 * torch.sign(start)) + \
                sum(g - s * at for g, at, s in past)
            curved = around_0 + sum(s for _, _, s in past)
            # derivative 0: linear + curved w + l1 sign(w); at 0 where |linear| cannot reach l1
            w.data = -torch.sign(linear) * torch.clamp(linear.abs() - l1, min=0) / curved


# ---- the number of instances that hold an id -----------------------------------------------------

class Counts:
    def __init__(self, opt, data, n_sequences, model):
        tables = model.at
        self.opt = opt
        self.n = {n: torch.zeros(len(w), dtype=REAL) for n, w in model.tables.items()}
        self.learned, self.periods = 0, 0
        if opt["counter"] == "fixed":
            self.known = instances(data["examples"][:opt["known"]], n_sequences, tables)

    def batch(self, held, size):
        """n_j of each table for a batch that holds so many instances of each id."""
        mode = self.opt["counter"]
        if mode == "window":
            while self.learned >= (self.periods + 1) * self.opt["window"]:
                self.periods += 1
                for n in self.n.values():
                    n *= self.opt["decay"]
        for n in self.n:
            self.n[n] += held[n]
        self.learned += size
        return self.effective()

    def effective(self):
        mode = self.opt["counter"]
        if mode == "projected":
            ratio = max(1.0, self.opt["epoch"] / self.learned)
            return {n: x * ratio for n, x in self.n.items()}
        if mode == "fixed":
            return {n: x.clamp(min=1) for n, x in self.known.items()}
        assert mode in ("running", "window")
        return self.n


# ---- schedule ------------------------------------------------------------------------------------

def factor(schedule, examples):
    """Of every rate, for a batch with so many examples learned before it and in it."""
    if schedule is None:
        return 1.0
    if examples < schedule["warmup"]:
        return examples / schedule["warmup"]
    periods = (examples - schedule["warmup"]) / schedule["decay_examples"]
    decayed = {
        "exponential": lambda: schedule["decay_rate"] ** periods,
        "inverse_sqrt": lambda: (1 + periods) ** -0.5,
        "linear": lambda: 1 - periods,
    }[schedule["decay"]]()
    return max(decayed, schedule["floor"])


# ---- a step --------------------------------------------------------------------------------------

class Training:
    def __init__(self, case, model, data):
        self.case, self.model = case, model
        opt = case["optimizer"]
        rows = {"adam": LazyAdam, "ftrl": Ftrl}.get(opt["kind"], Torch)
        self.rows = rows(model.tables, opt)
        self.dense = (Ftrl if opt["kind"] == "ftrl" else Torch)(model.weights, opt)
        self.counts = Counts(case["regularizer"], data, case["sequences"], model)
        self.met = {n: torch.zeros(len(w), dtype=torch.bool) for n, w in model.tables.items()}
        self.seen = {n: torch.zeros(len(r), dtype=REAL) for n, r in model.row.items()}
        self.learned = 0

    def clip(self, tensors):
        most = self.case["clip_norm"]
        norm = math.sqrt(sum(float((g ** 2).sum()) for g in tensors))
        return [g * (most / norm) if most and norm > most else g for g in tensors]

    def loss(self, numbers, examples):
        m, rate = self.model, self.case["dropout"]
        logit = m.forward(numbers, examples)
        if rate > 0:  # the gradient is of the thinned examples; Dice remembers the whole ones
            m.dropout, m.recording = Dropout(rate, m.opt["seed"]), False
            # Averages: as they were before this batch.
            seen, m.seen = m.seen, {n: s[:-1] for n, s in m.seen.items()}
            logit = m.forward(numbers, examples)
            m.dropout, m.recording, m.seen = None, True, seen
        return loss_of(logit, examples)

    def gradients(self, numbers, examples):
        m = self.model
        tensors = m.tables | m.weights
        grads = torch.autograd.grad(self.loss(numbers, examples), list(tensors.values()))
        return dict(zip(tensors, self.clip(grads)))

    def strength(self, n, held, counts):
        """What a row's decay is, as a multiple of the row: MBA's lambda alpha / n_j of the rows in
        the batch (Eq. 5 counts, Eq. 6 takes the maximum), DiFacto's lambda of them, L2's of all
        rows that were ever in one."""
        z = self.case["regularizer"]
        in_batch = (held[n] > 0).to(REAL)
        if z["kind"] == "l2":
            return z["lambda"] * self.met[n].to(REAL)
        if z["kind"] == "difacto":
            return z["lambda"] * in_batch
        assert z["kind"] == "mba"
        alpha = held[n] if z["form"] == "count" else in_batch
        # An id that fixed counts do not know may be held more often than they say.
        return z["lambda"] * alpha / torch.maximum(counts[n], alpha).clamp(min=1)

    def admit(self, examples):
        """Frequency filter: an id has a row of its own from the batch on in which the instances
        that held it, those of this batch included, are k."""
        m, k = self.model, self.case["admission"]
        if k == 0:
            return instances(examples, self.case["sequences"], m.at)
        for n, c in instances(examples, self.case["sequences"], m.at).items():
            self.seen[n] += c
            own = torch.arange(len(c))
            m.row[n] = torch.where(self.seen[n] >= k, own, torch.full_like(own, len(c)))
        return instances(examples, self.case["sequences"], m.at, m.row)

    def step(self, numbers, examples):
        m, z, opt = self.model, self.case["regularizer"], self.case["optimizer"]
        held = self.admit(examples)
        grads = self.gradients(numbers, examples)
        counts = self.counts.batch(held, len(examples))
        self.learned += len(examples)
        scale = factor(self.case["schedule"], self.learned)
        own = {n: opt.get("rates", {}).get(n, opt["rate"]) for n in m.tables}
        beside = {}
        for n, w in m.tables.items():
            self.met[n] |= held[n] > 0
            penalty = (self.strength(n, held, counts)[:, None] * w ** 2).sum() / 2
            decay = torch.autograd.grad(penalty, w)[0]
            if z["kind"] == "l2":  # by the configured rate, whatever the schedule says
                beside[n] = own[n] * decay
            elif z["decoupled"]:
                beside[n] = own[n] * scale * decay
            else:
                grads[n] = grads[n] + decay
        touched = {n: held[n] > 0 for n in m.tables}
        self.rows.step(grads, touched, {n: own[n] * scale for n in own})
        for n, taken in beside.items():
            m.tables[n].data -= taken
        self.dense.step(grads, None, {n: opt["dense_rate"] * scale for n in m.weights})
