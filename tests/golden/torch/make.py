#!/usr/bin/env python3
"""Golden files of the learner, computed by PyTorch in double; test_torch_parity.c and
test_torch_training.c hold undine to them.

By hand, and only where a model form, an activation, a regularizer or an optimizer is new:

    python3 -m venv venv && venv/bin/pip install torch==2.15.0 numpy==2.4.6
    venv/bin/python tests/golden/torch/make.py            # all files, beside this one
    venv/bin/python tests/golden/torch/make.py --check    # compute again, compare, write nothing

Made with Python 3.11, PyTorch 2.15.0 (on the CPU, double); each file names its own versions.

The equations are written here as the papers write them (model.py, training.py); gradients are
PyTorch's.  Nothing is shared with the C code but the names of the parameters, the hash by which
dropout draws, and the files:

    data.json     tables, fields, sequences and 180 examples (ids are row numbers)
    initial.json  first weights, by name and shape; multiples of 1/128, exact in float
    CASE.json     options, and what comes out: `forward` and `gradient` of the first batch,
                  `after` (weights, statistics, n_j and logits after so many steps; example i of
                  step s is number (s B + i) mod 180)
"""
import argparse
import json
import platform
import sys
from pathlib import Path

import torch

from data import N_EXAMPLES, Initial, make_data
from model import Model, loss_of
from training import Training

HERE = Path(__file__).resolve().parent
DIGITS_FORWARD, DIGITS_AFTER = 10, 6

# ---- a case --------------------------------------------------------------------------------------


def flat(t, digits):
    return [float(f"{x:.{digits}g}") for x in t.detach().reshape(-1).tolist()]


def statistics(model):
    out = {}
    for layer, seen in model.seen.items():
        mean, var, updates = model.moving(layer, len(seen[0][1]))
        out[f"{layer}.mean"] = flat(mean, DIGITS_AFTER)
        out[f"{layer}.var"] = flat(var, DIGITS_AFTER)
        out[f"{layer}.updates"] = [float(f"{updates:.{DIGITS_AFTER}g}")]
    return out


def first_batch(model, numbers, first):
    logit = model.forward(numbers, first)
    tensors = {f"table.{n}": w for n, w in model.tables.items()} | model.weights
    grads = torch.autograd.grad(loss_of(logit, first), list(tensors.values()))
    return flat(logit, DIGITS_FORWARD), {n: flat(g, DIGITS_FORWARD) for n, g in zip(tensors, grads)}


def after(model, training, numbers, first):
    model.training = False
    out = {
        # of each id, the row it has
        "value": {f"table.{n}": flat(w[model.row[n]], DIGITS_AFTER)
                  for n, w in model.tables.items()}
        | {n: flat(w, DIGITS_AFTER) for n, w in model.weights.items()} | statistics(model),
        "n": {n: flat(c[model.row[n]], DIGITS_AFTER) for n, c in training.counts.effective().items()},
        "serve": flat(model.forward(numbers, first), DIGITS_AFTER),
    }
    model.training = True
    return out


def run(case, data, initial):
    examples, size = data["examples"], case["batch"]
    out = dict(case)
    model = Model(case["model"], case["sequences"], case["own_tables"], case["admission"], initial)
    numbers, first = range(size), examples[:size]
    forward, gradient = first_batch(model, numbers, first)
    if case["record"] == "all":
        out["forward"], out["gradient"] = {"logit": forward}, gradient
    model.seen = {}
    training = Training(case, model, data)
    out["after"] = {}
    for s in range(max(case["steps"])):
        number = range(s * size, (s + 1) * size)
        training.step(number, [examples[i % N_EXAMPLES] for i in number])
        if s + 1 in case["steps"]:
            out["after"][str(s + 1)] = after(model, training, numbers, first)
    return out


# ---- cases ---------------------------------------------------------------------------------------

def model_options(**change):
    o = {"kind": "din", "base_pool": "sum",
         "unit": {"input": "paper", "hidden": [4], "activation": "dice", "normalize": "none"},
         "mlp": {"hidden": [6, 4], "activation": "dice"},
         "dice": {"mode": "batch", "eps": 1e-8, "momentum": 0.9, "alpha": 0.0},
         "prelu_alpha": 0.1, "sum_history": False, "product": False, "linear": False, "seed": 0}
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
FTRL = {"kind": "ftrl", "rate": 0.1, "dense_rate": 0.05, "beta": 1.0, "l1": 0.002, "l2": 0.01}
OPTIMIZERS = {"sgd": SGD, "adagrad": ADAGRAD, "adam": ADAM, "ftrl": FTRL}
MBA = {"kind": "mba", "lambda": 0.5, "form": "once", "decoupled": False, "counter": "running"}
NO_MBA = MBA | {"lambda": 0.0}
COUNTERS = {
    "window": {"counter": "window", "window": 150, "decay": 0.7},  # not a multiple of the batch
    "projected": {"counter": "projected", "epoch": 2500},
    "fixed": {"counter": "fixed", "known": 60},  # ids that came later are not known
}


def case(model, optimizer=ADAGRAD, regularizer=NO_MBA, batch=36, clip_norm=0.0, record="all",
         steps=(100,), sequences=2, own_tables=(), schedule=None, dropout=0.0, admission=0):
    return {"model": model, "optimizer": optimizer, "regularizer": regularizer, "batch": batch,
            "sequences": sequences, "own_tables": list(own_tables), "clip_norm": clip_norm,
            "schedule": schedule, "dropout": dropout, "admission": admission, "record": record,
            "steps": list(steps)}


OFFICIAL = {"input": "official", "hidden": [5, 3], "activation": "sigmoid"}
SMALL = model_options(mlp={"hidden": [4], "activation": "prelu"})


def small(optimizer, regularizer=NO_MBA, at=(100,), **more):
    return case(SMALL, optimizer, regularizer, record="steps", steps=at, **more)


def model_cases():
    cases = {
        "form_base_sum": case(model_options(kind="base", mlp={"activation": "prelu"})),
        "form_base_mean": case(model_options(kind="base", base_pool="mean")),
        "form_din_official": case(model_options(unit=OFFICIAL)),
        "form_din_official_scaled_softmax":
            case(model_options(unit=OFFICIAL | {"normalize": "scaled_softmax"},
                               mlp={"activation": "sigmoid"})),
        "form_linear": case(model_options(linear=True), optimizer=FTRL),
        "form_base_product_linear":
            case(model_options(kind="base", base_pool="mean", product=True, linear=True)),
        "form_product": case(model_options(product=True, unit=OFFICIAL), optimizer=ADAM),
        "form_sum_history": case(model_options(sum_history=True)),
        "form_all": case(model_options(product=True, sum_history=True, linear=True,
                                       unit=OFFICIAL | {"normalize": "softmax"})),
        "form_own_tables": case(SMALL | {"linear": True}, regularizer=MBA, own_tables=["clicks"]),
        "form_three_sequences": case(model_options(product=True, sum_history=True), sequences=3),
    }
    for how in ["none", "softmax", "sqrt_dim", "length"]:
        cases[f"form_din_paper_{how}"] = case(model_options(unit={"normalize": how}))
    for kind in ["sigmoid", "relu", "tanh", "prelu"]:
        cases[f"activation_{kind}"] = case(
            model_options(unit={"activation": kind}, mlp={"activation": kind}))
    cases["activation_dice_running"] = case(model_options(dice={"mode": "running"}))
    # 24 examples are too few for the statistics of a batch, their pairs are enough.
    cases["activation_dice_auto"] = case(model_options(dice={"mode": "auto"}), batch=24)
    return cases


def optimizer_cases():
    cases = {f"optimizer_{name}": small(o, at=(10, 100)) for name, o in OPTIMIZERS.items()}
    cases["optimizer_adagrad_small"] = small(ADAGRAD | {"accumulator": 1e-6, "rate": 0.03},
                                             at=(10, 100))
    cases["optimizer_clip"] = small(ADAM, at=(10, 100), clip_norm=0.05)
    # The penalty is no part of what is clipped.
    cases["optimizer_clip_mba"] = small(SGD, MBA, clip_norm=0.05)
    rates = {"user": 0.3, "item": 0.02, "hour": 0.1}
    cases["rates_adagrad_l2"] = small(ADAGRAD | {"rates": rates}, MBA | {"kind": "l2"})
    cases["rates_adam_mba_decoupled"] = small(
        ADAM | {"rates": {n: r / 20 for n, r in rates.items()}},
        MBA | {"lambda": 20.0, "decoupled": True})
    # l1 and l2 strong enough that some weights come to 0.
    cases["rates_ftrl"] = small(FTRL | {"rates": rates, "l1": 0.02, "l2": 0.1})
    for decay in ["exponential", "inverse_sqrt", "linear"]:
        schedule = {"warmup": 500, "decay": decay, "decay_rate": 0.6, "decay_examples": 1100,
                    "floor": 0.25}
        cases[f"schedule_{decay}"] = small(SGD if decay == "linear" else ADAGRAD, schedule=schedule)
        cases[f"schedule_{decay}_clip"] = small(ADAM, schedule=schedule, clip_norm=0.05)
    cases["schedule_l2"] = small(SGD, MBA | {"kind": "l2", "lambda": 0.05}, schedule=schedule)
    cases["schedule_mba_decoupled"] = small(ADAGRAD, MBA | {"lambda": 2.0, "decoupled": True},
                                            schedule=schedule)
    return cases


def regularizer_cases():
    cases = {}
    plain = ["sgd", "adagrad", "adam"]  # FTRL has no decay beside its step
    couplings = {"coupled": False, "decoupled": True}
    for form in ["once", "count"]:
        for how, decoupled in couplings.items():
            z = MBA | {"form": form, "decoupled": decoupled}
            for name in plain:
                cases[f"mba_{form}_{how}_{name}"] = small(OPTIMIZERS[name], z)
            for counter, more in COUNTERS.items():
                cases[f"mba_{counter}_{form}_{how}_adagrad"] = small(ADAGRAD, z | more)
    for counter, more in COUNTERS.items():
        cases[f"mba_{counter}_once_coupled_sgd"] = small(SGD, MBA | more)
        cases[f"mba_{counter}_once_coupled_adam"] = small(ADAM, MBA | more)
    cases["mba_window_once_coupled_ftrl"] = small(FTRL, MBA | COUNTERS["window"])
    for name in plain:
        cases[f"l2_{name}"] = small(OPTIMIZERS[name], MBA | {"kind": "l2", "lambda": 0.1})
        for how, decoupled in couplings.items():
            cases[f"difacto_{how}_{name}"] = small(
                OPTIMIZERS[name], MBA | {"kind": "difacto", "lambda": 0.05, "decoupled": decoupled})
    return cases


def dropout_cases():
    dice = model_options(linear=True, product=True, seed=12345)
    return {
        "dropout_adagrad": small(ADAGRAD, dropout=0.3),
        "dropout_mba_adam": small(ADAM, MBA, dropout=0.5),
        "dropout_dice": case(dice, record="steps", dropout=0.2),
        "dropout_dice_running": case(dice | {"dice": dice["dice"] | {"mode": "running"}},
                                     record="steps", dropout=0.2),
    }


def admission_cases():
    # Some ids have their rows in the third batch, some still wait after the last.
    return {"admission_mba": small(ADAGRAD, MBA | {"lambda": 0.1}, admission=100)}


def all_cases():
    return admission_cases() | model_cases() | optimizer_cases() | regularizer_cases() | dropout_cases()


# ---- files ---------------------------------------------------------------------------------------

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


def check(path, expected):
    """Whether a file says the same; another machine may differ in the last digit."""
    def same(a, b, digits):
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(
                same(a[k], b[k], DIGITS_AFTER if k == "after" else digits)
                for k in a if k != "made_with")
        if isinstance(a, list):
            return len(a) == len(b) and all(same(x, y, digits) for x, y in zip(a, b))
        if isinstance(a, float) or isinstance(b, float):
            return abs(a - b) <= 1.01 * 10.0 ** (1 - digits) * max(1.0, abs(a))
        return a == b
    return path.exists() and same(json.loads(expected), json.loads(path.read_text()),
                                  DIGITS_FORWARD)


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
