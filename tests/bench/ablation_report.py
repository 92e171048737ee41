"""ablation_report: docs/ablation.md and its plots out of the lines of ablation.jsonl."""
import collections
import math
import os
import statistics

import plot

NAMES = {"kuairand": "KuaiRand-Pure", "amazon": "Amazon Beauty", "generated": "generated stream"}
METRICS = ["auc", "gauc", "logloss"]
TITLES = {"auc": "AUC", "gauc": "GAUC", "logloss": "logloss"}


def mean_sd(values):
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def best_strengths(lines):
    """(data, regularizer) -> strength with the best mean AUC on the first half of one pass."""
    found = collections.defaultdict(list)
    for r in lines:
        if r["kind"] == "grid":
            found[r["data"], r["reg"], r["strength"]].append(r["first"]["auc"])
    best = {}
    for (data, reg, strength), aucs in sorted(found.items()):
        at = statistics.mean(aucs)
        if (data, reg) not in best or at > best[data, reg][0]:
            best[data, reg] = (at, strength)
    return {k: v[1] for k, v in best.items()}


def number(mean, sd, n):
    return "%.4f ± %.4f" % (mean, sd) if n > 1 else "%.4f" % mean


def order(lines, name):
    return list(dict.fromkeys(r[name] for r in lines))


class Cells:
    """Results of the grid of models and regularizers: by seed."""

    def __init__(self, lines):
        self.lines = [r for r in lines if r["kind"] == "full"]
        self.at = {}
        for r in self.lines:
            self.at.setdefault((r["data"], r["model"], r["reg"], r["pass"]), {})[r["seed"]] = r
        known = ["none", "L2", "dropout", "filter", "DiFacto", "MBA"]
        self.regs = [r for r in known if r in order(self.lines, "reg")]
        self.models = [m for m in ["base", "base+Dice", "base (mean)+Dice", "DIN", "DIN+Dice"] if m in order(self.lines, "model")]
        self.datas = order(self.lines, "data")

    def get(self, data, model, reg, n_pass, metric, part="all"):
        runs = self.at.get((data, model, reg, n_pass), {})
        return {s: r[part][metric] for s, r in runs.items()}


def cell_table(cells, data, n_pass):
    out = ["| model | regularizer | seeds | AUC | GAUC | logloss | AUC, second half |", "|---|---|---|---|---|---|---|"]
    for model in cells.models:
        for reg in cells.regs:
            runs = cells.at.get((data, model, reg, n_pass))
            if not runs:
                continue
            strength = next(iter(runs.values()))["strength"]
            row = [model, reg if reg == "none" else "%s %g" % (reg, strength), str(len(runs))]
            for metric in METRICS:
                row.append(number(*mean_sd(list(cells.get(data, model, reg, n_pass, metric).values())), len(runs)))
            row.append(number(*mean_sd(list(cells.get(data, model, reg, n_pass, "auc", "second").values())), len(runs)))
            out.append("| " + " | ".join(row) + " |")
    return out


def compare(cells, data, a, b, n_pass, metric):
    """Mean difference a - b over the seeds that both have, its standard error, a word."""
    x, y = cells.get(data, *a, n_pass, metric), cells.get(data, *b, n_pass, metric)
    seeds = sorted(set(x) & set(y))
    if not seeds:
        return None
    d = [x[s] - y[s] for s in seeds]
    mean, sd = mean_sd(d)
    error = sd / math.sqrt(len(d))
    sign = -1 if metric == "logloss" else 1
    if len(d) < 2:
        return "%+.4f, one seed" % mean
    word = "no difference" if abs(mean) <= 2 * error else "better" if sign * mean > 0 else "worse"
    return "%+.4f ± %.4f, %s" % (mean, error, word)


def questions(cells):
    """The differences that the names in the paper stand for, over equal seeds."""
    pairs = [("attention: DIN over base", ("DIN", "none"), ("base", "none")),
             ("attention with Dice: DIN+Dice over base+Dice", ("DIN+Dice", "none"), ("base+Dice", "none")),
             ("the same over mean pooling: DIN+Dice over base (mean)+Dice", ("DIN+Dice", "none"),
              ("base (mean)+Dice", "none")),
             ("Dice: DIN+Dice over DIN", ("DIN+Dice", "none"), ("DIN", "none")),
             ("Dice: base+Dice over base", ("base+Dice", "none"), ("base", "none")),
             ("MBA: DIN+MBA over DIN", ("DIN", "MBA"), ("DIN", "none")),
             ("MBA: DIN+MBA+Dice over DIN+Dice", ("DIN+Dice", "MBA"), ("DIN+Dice", "none"))]
    for reg in cells.regs:
        if reg not in ("none", "MBA"):
            pairs.append(("MBA over %s, DIN+Dice" % reg, ("DIN+Dice", "MBA"), ("DIN+Dice", reg)))
    out = []
    for data in cells.datas:
        for n_pass in sorted({r["pass"] for r in cells.lines})[::2]:
            rows = []
            for name, a, b in pairs:
                got = [compare(cells, data, a, b, n_pass, m) for m in METRICS]
                if all(got):
                    rows.append("| %s | %s |" % (name, " | ".join(got)))
            if rows:
                out += ["", "**%s, pass %d**" % (NAMES[data], n_pass), "",
                        "| | AUC | GAUC | logloss |", "|---|---|---|---|"] + rows
    return out


def grid_table(lines, out_dir):
    grid = [r for r in lines if r["kind"] == "grid"]
    best = best_strengths(lines)
    out = []
    for data in order(grid, "data"):
        out += ["", "**%s**" % NAMES[data], "",
                "| regularizer | strength | seeds | AUC, first half | AUC, second half | GAUC, first half | chosen |",
                "|---|---|---|---|---|---|---|"]
        series = []
        for reg in order(grid, "reg"):
            points = []
            for x in sorted({r["strength"] for r in grid if r["data"] == data and r["reg"] == reg}):
                runs = [r for r in grid if (r["data"], r["reg"], r["strength"]) == (data, reg, x)]
                first = mean_sd([r["first"]["auc"] for r in runs])
                second = mean_sd([r["second"]["auc"] for r in runs])
                gauc = mean_sd([r["first"]["gauc"] for r in runs])
                out.append("| %s | %g | %d | %.4f | %.4f | %.4f | %s |" % (
                    reg, x, len(runs), first[0], second[0], gauc[0], "x" if best[data, reg] == x else ""))
                points.append((math.log10(x) if x > 0 else None, first[0], 0.0))
            if reg != "none":
                series.append((reg, points))
        if series:
            name = "ablation-grid-%s.svg" % data
            plot.lines(os.path.join(out_dir, name), "%s: strength of each regularizer" % NAMES[data],
                                "log10 of the strength", "AUC, first half, one pass", series)
            out += ["", "![strengths](%s)" % name]
    return out


def held_name(r):
    return r["reg"] if r["reg"] == "none" else "%s %g" % (r["reg"], r["strength"])


def held_table(runs_of, names, n, passes):
    out = ["| regularizer | seeds | pass | AUC | GAUC | logloss | training logloss |", "|---|---|---|---|---|---|---|"]
    for name in names:
        for p in range(1, passes + 1):
            runs = [r for r in runs_of[name] if r["pass"] == p and r["examples"] == n]
            if runs:
                cells = [number(*mean_sd([r["held"][m] for r in runs]), len(runs)) for m in METRICS]
                cells.append("%.4f" % statistics.mean(r["all"]["logloss"] for r in runs))
                out.append("| %s | %d | %d | %s |" % (name, len(runs), p, " | ".join(cells)))
    return out


def held_curves(lines, out_dir):
    out = []
    for data in order([r for r in lines if r["kind"] == "held"], "data"):
        runs_of = collections.defaultdict(list)
        for r in lines:
            if r["kind"] == "held" and r["data"] == data:
                runs_of[held_name(r)].append(r)
        names = sorted(runs_of, key=lambda x: (x != "none", x))
        n = max(r["examples"] for runs in runs_of.values() for r in runs)
        passes = max(r["pass"] for runs in runs_of.values() for r in runs)
        for metric in "auc", "logloss":
            series = []
            for name in names:
                at = collections.defaultdict(list)
                for r in runs_of[name]:
                    at[r["pass"] - 1 + r["examples"] / n].append(r["held"][metric])
                series.append((name, [(x,) + mean_sd(v) for x, v in sorted(at.items())]))
            file = "ablation-passes-%s-%s.svg" % (data, metric)
            plot.lines(os.path.join(out_dir, file),
                                "%s: %s of the last fifth, never learned" % (NAMES[data], TITLES[metric]),
                                "passes over the first four fifths", "%s, held out" % TITLES[metric], series,
                                marks=range(1, passes))
            out += ["", "![%s](%s)" % (metric, file)]
        out += ["", "**%s, DIN+Dice: held out, at the end of each pass**" % NAMES[data], ""]
        out += held_table(runs_of, names, n, passes)
    return out


HEAD = """# Ablation: what each part is worth

Made by one command, which imports the data, learns every setting and writes this page, its plots and
`ablation.jsonl`, the results one by one:

```sh
./tests/bench/ablation --build build/release
```

Every setting learns the same examples in the same order, and differs in what its name says alone: mini-batches of 256,
Adagrad at 0.03 for embeddings and layers, embeddings of 18 (profile 4 or 8), layers of 200 and 80, an activation unit
of 36 in the paper's form without softmax. `base` pools the history by its sum, `base (mean)` by its mean; without `+Dice` the activation is PReLU.
The names of the DIN paper: base; DIN; DIN+Dice; DIN+MBA is DIN with the regularizer MBA; DIN+MBA+Dice is DIN+Dice with
MBA. Regularizers: `L2` shrinks every row with every mini-batch, lazily and exactly; `dropout` drops ids while learning;
`filter` admits an id after so many examples; `DiFacto` shrinks the rows that a mini-batch touches, all alike; `MBA`
shrinks them by 1 / n of their examples. All pull on embeddings alone.

Progressive metrics: each prediction was made before its example was learned. AUC and GAUC are exact, over a whole
pass. ± is the standard deviation over seeds in tables of results, and the standard error of the mean difference over
equal seeds where two settings are compared; "better" and "worse" are said beyond two standard errors. A further pass
predicts what it has learned already, so its progressive numbers tell how well a model remembers, not how good it is:
that is what the held-out part is for.

Beauty is not the Electronics set of the DIN paper, and neither is the protocol: AUCs are not comparable with the paper's.
"""


def write(lines, out_dir):
    cells = Cells(lines)
    text = [HEAD, "## Differences"] + questions(cells)
    text += ["", "## One pass and three"]
    for data in cells.datas:
        for n_pass in sorted({r["pass"] for r in cells.lines})[::2]:
            text += ["", "**%s, pass %d**" % (NAMES[data], n_pass), ""] + cell_table(cells, data, n_pass)
    text += ["", "## Strength of the regularizers", "",
             "Chosen for DIN+Dice by the AUC on the first half of one pass, then used for all models."]
    text += grid_table(lines, out_dir)
    text += ["", "## Several passes: the one-epoch effect", "",
             "The first four fifths of the stream are learned again and again; the last fifth is scored frozen, as a",
             "scorer would, and never learned. Dashed: the end of a pass. The band is one standard deviation."]
    text += held_curves(lines, out_dir)
    note = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ablation_reading.md")
    if os.path.exists(note) and "generated" not in cells.datas:
        text += ["", open(note).read().rstrip()]
    with open(os.path.join(out_dir, "ablation.md"), "w") as f:
        f.write("\n".join(text) + "\n")
