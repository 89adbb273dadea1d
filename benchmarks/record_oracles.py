"""Record what other people's statistics libraries say, for tests/reference/oracles_*.json.

The libraries are no dependencies of accord. Record in a throw-away environment:

    python -m venv /tmp/oracles
    /tmp/oracles/bin/pip install evalica choix statsmodels scikit-learn irrCAC
    /tmp/oracles/bin/pip install nltk transformers pyarrow tqdm attrs
    /tmp/oracles/bin/pip install --no-deps crowd-kit
    /tmp/oracles/bin/python benchmarks/record_oracles.py

Where only one library knows an estimator, the second oracle is its likelihood written down naively
and maximised by SciPy. Inputs are drawn here and kept in the files beside the answers.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from itertools import combinations
from pathlib import Path

import choix
import evalica
import numpy as np
import pandas as pd
import statsmodels.api as sm
from crowdkit.aggregation import DawidSkene, NoisyBradleyTerry, OneCoinDawidSkene
from irrCAC.raw import CAC
from scipy.optimize import minimize
from scipy.special import expit, logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa, fleiss_kappa
from statsmodels.stats.proportion import proportion_confint

FOLDER = Path(__file__).parents[1] / "tests" / "reference"
LIBRARIES = (
    "evalica", "choix", "statsmodels", "scikit-learn", "irrCAC", "crowd-kit", "scipy", "numpy"
)  # fmt: skip

# Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section C: four observers, twelve
# units; None is missing. He prints alpha 0.743 (nominal), 0.815 (ordinal), 0.849 (interval).
KRIPPENDORFF = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


def agreement() -> dict:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 4, 60)
    noise = rng.integers(-1, 2, (4, 60)) * (rng.random((4, 60)) < 0.5)
    full = np.clip(truth + noise, 0, 3)
    holes = full.astype(float)
    holes[rng.random(holes.shape) < 0.3] = np.nan
    cases = {}
    known = [[np.nan if x is None else x for x in row] for row in KRIPPENDORFF]
    for name, table in (("full", full), ("holes", holes), ("krippendorff", np.array(known, float))):
        frame = pd.DataFrame(np.asarray(table, dtype=float))
        cac = CAC(frame.T)
        cases[name] = {
            "ratings": json.loads(frame.to_json(orient="values")),
            "alpha_nominal": {
                "evalica": evalica.alpha(frame, "nominal").alpha,
                "irrCAC": cac.krippendorff()["est"]["coefficient_value"],
            },
            "alpha_ordinal": {"evalica": evalica.alpha(frame, "ordinal").alpha},
            "alpha_interval": {
                "evalica": evalica.alpha(frame, "interval").alpha,
                "irrCAC": CAC(frame.T, "quadratic").krippendorff()["est"]["coefficient_value"],
            },
            "gwet_ac1": {"irrCAC": cac.gwet()["est"]["coefficient_value"]},
            "fleiss_kappa": {"irrCAC": cac.fleiss()["est"]["coefficient_value"]},
            "irrCAC_digits": 5,
        }
    counts = np.stack([(full == k).sum(axis=0) for k in range(4)], axis=1)
    cases["full"]["fleiss_kappa"]["statsmodels"] = fleiss_kappa(counts)
    x, y = full[0], full[1]
    square = np.zeros((4, 4))
    np.add.at(square, (x, y), 1)
    cohen = {}
    for kind in ("none", "linear", "quadratic"):
        weights = None if kind == "none" else kind
        found = cohens_kappa(square, wt=weights)
        cohen[kind] = {
            "scikit-learn": cohen_kappa_score(x, y, weights=weights),
            "statsmodels": found.kappa,
            "statsmodels_error": found.std_kappa,
        }
    wilson = [[k, n, *proportion_confint(k, n, method="wilson")] for k, n in ((3, 8), (41, 57))]
    return {"cases": cases, "cohen": cohen, "wilson": wilson}


def pairs(rng: np.random.Generator, num: int, ties: float) -> dict:
    """Options 0..5 compared with a side effect of 0.4 and an effect of length of 0.5."""
    worth = np.array([0.0, 0.5, -0.4, 1.0, 0.2, -0.8])
    drawn = np.array([rng.choice(6, 2, replace=False) for _ in range(num)])
    length = np.round(rng.normal(0, 1, (num, 2)), 3)
    gap = worth[drawn[:, 0]] - worth[drawn[:, 1]] + 0.4 + 0.5 * (length[:, 0] - length[:, 1])
    weight = np.stack([np.exp(gap / 2), np.exp(-gap / 2), np.full(num, ties)], axis=1)
    cumulative = (weight / weight.sum(axis=1, keepdims=True)).cumsum(axis=1)
    outcome = (rng.random(num)[:, None] > cumulative).sum(axis=1)
    return {
        "a": drawn[:, 0].tolist(),
        "b": drawn[:, 1].tolist(),
        "length_a": length[:, 0].tolist(),
        "length_b": length[:, 1].tolist(),
        "outcome": outcome.tolist(),
        "rater": rng.integers(0, 9, num).tolist(),
        "prompt": rng.integers(0, 70, num).tolist(),
    }


def design(data: dict, extra: bool) -> np.ndarray:
    """Columns: options 1..5, then side and length difference."""
    num = len(data["a"])
    x = np.zeros((num, 6))
    x[np.arange(num), data["a"]] += 1
    x[np.arange(num), data["b"]] -= 1
    more = np.array(data["length_a"]) - np.array(data["length_b"])
    return np.column_stack([x[:, 1:], np.ones(num), more]) if extra else x[:, 1:]


def centred(worth: np.ndarray) -> list[float]:
    return (worth - worth.mean()).tolist()


def bradley_terry() -> dict:
    data = pairs(np.random.default_rng(2), 500, ties=0.0)
    won = [(a, b) if o == 0 else (b, a)
           for a, b, o in zip(data["a"], data["b"], data["outcome"], strict=True)]  # fmt: skip
    winners = [evalica.Winner.X] * len(won)
    names = [str(i) for i in range(6)]
    scores = evalica.bradley_terry(
        [str(w) for w, _ in won], [str(v) for _, v in won], winners, tolerance=1e-14, limit=100000
    ).scores
    y = 1 - np.array(data["outcome"])
    x = design(data, extra=True)
    logit = sm.Logit(y, x).fit(disp=0, method="newton", tol=1e-14, maxiter=100)
    groups = {"rater": np.array(data["rater"]), "prompt": np.array(data["prompt"])}
    covariance = {}
    for name, group in groups.items():
        robust = sm.Logit(y, x).fit(
            disp=0, tol=1e-14, maxiter=100, cov_type="cluster",
            cov_kwds={"groups": group, "use_correction": False},
        )  # fmt: skip
        covariance[name] = robust.cov_params().tolist()
    both = groups["rater"] * 70 + groups["prompt"]
    robust = sm.Logit(y, x).fit(
        disp=0, tol=1e-14, maxiter=100, cov_type="cluster",
        cov_kwds={"groups": both, "use_correction": False},
    )  # fmt: skip
    covariance["intersection"] = robust.cov_params().tolist()
    plain = LogisticRegression(
        C=np.inf, fit_intercept=False, tol=1e-14, max_iter=10**5, solver="newton-cg"
    )
    return {
        "data": data,
        "plain": {
            "choix.opt_pairwise": centred(
                choix.opt_pairwise(6, won, method="Newton-CG", tol=1e-14)
            ),
            "choix.ilsr_pairwise": centred(choix.ilsr_pairwise(6, won, tol=1e-13)),
            "evalica.bradley_terry": centred(np.log(scores[names].to_numpy())),
        },
        "order_and_length": {
            "statsmodels.Logit": logit.params.tolist(),
            "scikit-learn": plain.fit(x, y).coef_[0].tolist(),
        },
        "covariance": {"information": logit.cov_params().tolist(), **covariance},
        "log_likelihood": float(logit.llf),
    }


def multinomial(stages: list[tuple], params: np.ndarray, sizes: list[int], num: int) -> float:
    """Minus the Davidson-Luce log-likelihood, written as it stands in the paper."""
    worth = np.concatenate([[0.0], params[: num - 1]])
    delta = dict(zip([1, *sizes], [0.0, *params[num - 1 :]], strict=True))
    total = 0.0
    for options, chosen in stages:
        subsets = [s for size in [1, *sizes] for s in combinations(options, size)]
        values = [delta[len(s)] + np.mean([worth[i] for i in s]) for s in subsets]
        total += values[subsets.index(tuple(chosen))] - logsumexp(values)
    return -total


def poisson(stages: list[tuple], sizes: list[int], num: int) -> np.ndarray:
    """The same maximum by a log-linear model: a row an alternative, an intercept a stage."""
    rows, counts, stage = [], [], []
    grouped: dict = {}
    for options, chosen in stages:
        grouped.setdefault(tuple(options), []).append(tuple(chosen))
    for index, (options, picks) in enumerate(grouped.items()):
        for s in (s for size in [1, *sizes] for s in combinations(options, size)):
            row = np.zeros(num - 1 + len(sizes))
            for i in s:
                if i:
                    row[i - 1] += 1 / len(s)
            if len(s) > 1:
                row[num - 1 + sizes.index(len(s))] = 1
            rows.append(row)
            counts.append(picks.count(s))
            stage.append(index)
    x = np.column_stack([np.array(rows), np.eye(len(grouped))[stage]])
    fit = sm.GLM(counts, x, family=sm.families.Poisson()).fit(tol=1e-14, maxiter=300)
    return fit.params[: num - 1 + len(sizes)]


def davidson() -> dict:
    data = pairs(np.random.default_rng(3), 500, ties=0.7)
    kinds = [evalica.Winner.X, evalica.Winner.Y, evalica.Winner.Draw]
    found = evalica.newman(
        [str(a) for a in data["a"]], [str(b) for b in data["b"]],
        [kinds[o] for o in data["outcome"]], tolerance=1e-15, limit=10**6,
    )  # fmt: skip
    stages = []
    for a, b, o in zip(data["a"], data["b"], data["outcome"], strict=True):
        options = sorted((a, b))
        stages.append((options, [a] if o == 0 else [b] if o == 1 else options))
    plain = poisson(stages, [2], 6)
    scores = found.scores[[str(i) for i in range(6)]].to_numpy()
    # With a side effect: log-linear, one intercept an ordered pair.
    grouped: dict = {}
    for a, b, o in zip(data["a"], data["b"], data["outcome"], strict=True):
        grouped.setdefault((a, b), []).append(o)
    rows, counts, cell = [], [], []
    for index, ((a, b), outcomes) in enumerate(grouped.items()):
        for o, (wa, wb, side, tie) in enumerate(
            ((1, 0, 0.5, 0), (0, 1, -0.5, 0), (0.5, 0.5, 0, 1))
        ):
            row = np.zeros(8)
            row[a] += wa
            row[b] += wb
            row[6:] = side, tie
            rows.append(row[1:])
            counts.append(outcomes.count(o))
            cell.append(index)
    x = np.column_stack([np.array(rows), np.eye(len(grouped))[cell]])
    glm = sm.GLM(counts, x, family=sm.families.Poisson()).fit(tol=1e-14, maxiter=300)

    def sided(params: np.ndarray) -> float:
        worth, order, delta = np.concatenate([[0.0], params[:5]]), params[5], params[6]
        total = 0.0
        for a, b, o in zip(data["a"], data["b"], data["outcome"], strict=True):
            u = [worth[a] + order / 2, worth[b] - order / 2, delta + (worth[a] + worth[b]) / 2]
            total += u[o] - logsumexp(u)
        return -total

    exact = newton(sided, np.zeros(7))
    return {
        "data": data,
        "plain": {
            "evalica.newman": [*centred(np.log(scores)), float(np.log(2 * found.v))],
            "statsmodels.GLM": [*centred(np.append(0.0, plain[:5])), float(plain[5])],
        },
        "order": {
            "statsmodels.GLM": [
                *centred(np.append(0.0, glm.params[:5])),
                *glm.params[5:7].tolist(),
            ],
            "scipy": [*centred(np.append(0.0, exact[:5])), *exact[5:].tolist()],
        },
    }


def newton(function, start: np.ndarray) -> np.ndarray:
    """A minimum by BFGS, polished by Newton steps with finite differences."""
    x = minimize(function, start, method="BFGS", options={"gtol": 1e-7}).x
    step = 1e-4
    for _ in range(4):
        eye = np.eye(len(x)) * step
        slope = np.array([(function(x + e) - function(x - e)) / (2 * step) for e in eye])
        five = np.array([(function(x + 2 * e) - function(x - 2 * e)) / (4 * step) for e in eye])
        slope = (4 * slope - five) / 3

        def bend(e: np.ndarray, f: np.ndarray, at: np.ndarray = x) -> float:
            ends = function(at + e + f) + function(at - e - f)
            return (ends - function(at + e - f) - function(at - e + f)) / (4 * step**2)

        curve = np.array([[bend(e, f) for f in eye] for e in eye])
        x = x - np.linalg.solve(curve, slope)
    return x


def plackett_luce() -> dict:
    rng = np.random.default_rng(4)
    worth = np.array([0.0, 0.7, -0.5, 1.1, 0.2, -0.9])
    strict, tied = [], []
    for _ in range(150):
        chosen = rng.choice(6, 4, replace=False)
        noisy = worth[chosen] + rng.gumbel(size=4)
        strict.append(chosen[np.argsort(-noisy)].tolist())
        ranks = pd.Series(-np.round(noisy / 0.8)).rank(method="min").astype(int) - 1
        tied.append({"options": chosen.tolist(), "ranks": ranks.tolist()})
    stages = []
    for row in tied:
        for rank in sorted(set(row["ranks"])):
            both = list(zip(row["options"], row["ranks"], strict=True))
            left = sorted(o for o, r in both if r >= rank)
            if len(left) > 1:
                stages.append((left, sorted(o for o, r in both if r == rank)))
    sizes = sorted({len(c) for _, c in stages} - {1})
    naive = newton(lambda p: multinomial(stages, p, sizes, 6), np.zeros(5 + len(sizes)))
    glm = poisson(stages, sizes, 6)
    return {
        "strict": strict,
        "plain": {
            "choix.opt_rankings": centred(
                choix.opt_rankings(6, strict, method="Newton-CG", tol=1e-14)
            ),
            "choix.ilsr_rankings": centred(choix.ilsr_rankings(6, strict, tol=1e-13)),
        },
        "tied": tied,
        "sizes": sizes,
        "ties": {
            "scipy": [*centred(np.append(0.0, naive[:5])), *naive[5:].tolist()],
            "statsmodels.GLM": [*centred(np.append(0.0, glm[:5])), *glm[5:].tolist()],
        },
    }


def crowd(rng: np.random.Generator, accuracy: list[float], num: int, classes: int) -> dict:
    truth = rng.integers(0, classes, num)
    item, rater, label = [], [], []
    for i in range(num):
        for r in rng.choice(len(accuracy), 4, replace=False):
            wrong = (truth[i] + rng.integers(1, classes)) % classes
            item.append(i)
            rater.append(int(r))
            label.append(int(truth[i] if rng.random() < accuracy[r] else wrong))
    return {"item": item, "rater": rater, "label": label, "classes": classes}


def dawid_skene() -> dict:
    data = crowd(np.random.default_rng(5), [0.9, 0.85, 0.75, 0.7, 0.5, 0.8], 200, 3)
    frame = pd.DataFrame({"task": data["item"], "worker": data["rater"], "label": data["label"]})
    full = DawidSkene(n_iter=20000, tol=1e-16).fit(frame)
    coin = OneCoinDawidSkene(n_iter=20000, tol=1e-16).fit(frame)
    item, rater, label = (np.array(data[k]) for k in ("item", "rater", "label"))

    def likelihood(confusion: np.ndarray, shares: np.ndarray) -> float:
        table = np.tile(np.log(shares), (200, 1))
        for i, r, k in zip(item, rater, label, strict=True):
            table[i] += np.log(confusion[r, :, k])
        return float(logsumexp(table, axis=1).sum())

    def softmax(x: np.ndarray) -> np.ndarray:
        full_x = np.concatenate([x, np.zeros((*x.shape[:-1], 1))], axis=-1)
        return np.exp(full_x - logsumexp(full_x, axis=-1, keepdims=True))

    def minus(params: np.ndarray) -> float:
        rate, shares = expit(params[:6]), softmax(params[6:])
        confusion = np.repeat((1 - rate)[:, None, None] / 2, 3, axis=1).repeat(3, axis=2)
        confusion[:, range(3), range(3)] = rate[:, None]
        return -likelihood(confusion, shares)

    exact = newton(minus, np.append(np.full(6, 1.0), [0.0, 0.0]))
    errors = full.errors_.reset_index().sort_values(["worker", "label"])
    matrix = errors[[0, 1, 2]].to_numpy().reshape(6, 3, 3).transpose(0, 2, 1)
    return {
        "data": data,
        "full": {
            "crowd-kit": {
                "confusion": matrix.tolist(),
                "posterior": full.probas_.sort_index()[[0, 1, 2]].to_numpy().tolist(),
                "shares": full.priors_.sort_index().tolist(),
            },
            "log_likelihood": likelihood(matrix, full.priors_.sort_index().to_numpy()),
        },
        "one": {
            "crowd-kit": coin.skills_.sort_index().tolist(),
            "scipy": expit(exact[:6]).tolist(),
            "log_likelihood": -minus(exact),
        },
    }


def rater_model() -> dict:
    """Verdicts of six raters; the marginal posterior by SciPy over a dense grid of gaps."""
    rng = np.random.default_rng(6)
    num = 60
    gap = rng.normal(0, 2, num)
    taste, reliability = [0, 0, 0, 1.5, 0, 0], [1, 1, 0, 1, 1, -0.8]
    rows, style = [], np.round(rng.normal(0, 1, num), 3)
    for i in range(num):
        for r in rng.choice(6, 4, replace=False):
            shown = int(rng.choice([-1, 1]))
            logit = reliability[r] * gap[i] + taste[r] * style[i] + (0.8 * shown if r == 1 else 0)
            rows.append((i, int(r), shown, int(rng.random() < expit(logit))))
    item, rater, shown, first = (np.array(c) for c in zip(*rows, strict=True))
    x = style[item] / style[item].std()
    z = np.linspace(-9, 9, 721)
    log_z = -0.5 * z**2 - logsumexp(-0.5 * z**2)

    def minus(params: np.ndarray) -> float:
        theta, log_spread, shared = params[:18].reshape(6, 3), params[18], params[19]
        table = np.tile(log_z, (num, 1))
        gaps = shared * (style / style[item].std())[:, None] + np.exp(log_spread) * z
        own = theta[rater]
        logit = own[:, :1] * gaps[item] + (own[:, 1] * shown + own[:, 2] * x)[:, None]
        np.add.at(table, item, -np.logaddexp(0.0, np.where(first[:, None] == 1, -logit, logit)))
        prior = ((theta - [1, 0, 0]) ** 2).sum() + 4 * log_spread**2 + shared**2 / 4
        return -float(logsumexp(table, axis=1).sum()) + prior / 2

    exact = newton(minus, np.append(np.tile([1.0, 0.0, 0.0], 6), [0.3, 0.0]))
    frame = pd.DataFrame({
        "worker": rater, "left": [f"{i}x" for i in item], "right": [f"{i}y" for i in item],
        "label": [f"{i}{'x' if f else 'y'}" for i, f in zip(item, first, strict=True)],
    })  # fmt: skip
    noisy = NoisyBradleyTerry(n_iter=500, tol=1e-10, regularization_ratio=0.1).fit(frame)
    return {
        "item": item.tolist(), "rater": rater.tolist(), "shown": shown.tolist(),
        "first": first.tolist(), "style": style.tolist(),
        "scipy": {"theta": exact[:18].reshape(6, 3).tolist(), "log_spread": exact[18],
                  "shared": exact[19], "log_posterior": -minus(exact)},
        "crowd-kit": {"skills": noisy.skills_.sort_index().tolist()},
    }  # fmt: skip


def main() -> None:
    record = {"versions": {name: version(name) for name in LIBRARIES}}
    for name, content in (
        ("agreement", agreement()),
        ("ratings", {"bradley_terry": bradley_terry(), "davidson": davidson(),
                     "plackett_luce": plackett_luce()}),
        ("quality", {"dawid_skene": dawid_skene(), "rater_model": rater_model()}),
    ):  # fmt: skip
        path = FOLDER / f"oracles_{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({**record, **content}) + "\n", encoding="utf-8")
        print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
