"""scipy's bootstrap of AUC, log loss and NDCG@10 of two models, users resampled: FOLDER RESAMPLES SEED. Prints one line of JSON.

FOLDER has little-endian arrays with one entry a row: labels (uint8), users, groups (uint32), scores0, scores1 (float32). A group
belongs to one user.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import scipy
from scipy.stats import bootstrap

K = 10


def main() -> None:
    folder, resamples, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    log = Log(folder)
    run = {"n_resamples": resamples, "batch": 1, "method": "percentile", "confidence_level": 0.9, "rng": seed}
    seconds, cpu_seconds = {}, {}
    for name, statistic in (("rows", log.of_rows), ("weights", log.of_weights)):
        started, cpu_started = time.perf_counter(), time.process_time()
        result = bootstrap((np.arange(log.user_count),), statistic, **run)
        seconds[name] = time.perf_counter() - started
        cpu_seconds[name] = time.process_time() - cpu_started
        print(name, result.confidence_interval, file=sys.stderr)
    everyone = np.arange(log.user_count)[None, :]
    for statistic in (log.of_rows, log.of_weights):
        np.testing.assert_allclose(statistic(everyone)[:, 0], log.estimates(), rtol=1e-12)
    print(
        json.dumps(
            {
                "resamples": resamples,
                "rowsSeconds": seconds["rows"],
                "rowsCpuSeconds": cpu_seconds["rows"],
                "weightsSeconds": seconds["weights"],
                # AUC, log loss, NDCG of the first model, then of the second.
                "estimates": log.estimates().tolist(),
                "scipy": scipy.__version__,
                "numpy": np.__version__,
            }
        )
    )


class Log:
    def __init__(self, folder: Path) -> None:
        def read(name: str, kind: str) -> np.ndarray:
            return np.fromfile(folder / name, dtype=kind)

        self.labels = read("labels", "u1").astype(np.int64)
        users, groups = read("users", "<u4"), read("groups", "<u4")
        self.scores = [read(f"scores{model}", "<f4") for model in range(2)]
        self.user_count = int(users.max()) + 1
        # What does not depend on the resampling is done once: losses of rows, NDCG of groups, sums of users.
        self.losses = [log_losses(self.labels, scores) for scores in self.scores]
        user_of_group = users[np.unique(groups, return_index=True)[1]]
        self.ndcg_sums, self.ndcg_counts = [], []
        for scores in self.scores:
            ndcg = ndcg_of_groups(self.labels, scores, groups)
            known = ~np.isnan(ndcg)
            self.ndcg_sums.append(np.bincount(user_of_group[known], ndcg[known], self.user_count))
            self.ndcg_counts.append(np.bincount(user_of_group[known], minlength=self.user_count))
        self.by_user = np.argsort(users, kind="stable")
        self.row_counts = np.bincount(users, minlength=self.user_count)
        self.row_ends = np.cumsum(self.row_counts)
        self.loss_sums = [np.bincount(users, losses, self.user_count) for losses in self.losses]
        self.sorted = [Sorted(self.labels, users, scores) for scores in self.scores]

    def of_rows(self, drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        """The statistic as one writes it: of the rows of the users that were drawn."""
        drawn = drawn[0]
        rows = self.rows_of(drawn)
        labels = self.labels[rows]
        values = []
        for model, scores in enumerate(self.scores):
            ndcg = self.ndcg_sums[model][drawn].sum() / self.ndcg_counts[model][drawn].sum()
            values += [auc(labels, scores[rows]), self.losses[model][rows].mean(), ndcg]
        return np.array(values)[:, None]

    def of_weights(self, drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        """The same with rows sorted once and weighted, which takes knowing that an AUC can be."""
        weights = np.bincount(drawn[0], minlength=self.user_count)
        rows = weights @ self.row_counts
        values = []
        for model in range(len(self.scores)):
            ndcg = weights @ self.ndcg_sums[model] / (weights @ self.ndcg_counts[model])
            values += [self.sorted[model].auc(weights), weights @ self.loss_sums[model] / rows, ndcg]
        return np.array(values)[:, None]

    def rows_of(self, drawn: np.ndarray) -> np.ndarray:
        counts = self.row_counts[drawn]
        ends = np.cumsum(counts)
        starts = np.repeat(self.row_ends[drawn] - counts - (ends - counts), counts)
        return self.by_user[np.arange(ends[-1]) + starts]

    def estimates(self) -> np.ndarray:
        return np.array(
            [
                value
                for model, scores in enumerate(self.scores)
                for value in (
                    auc(self.labels, scores),
                    self.losses[model].mean(),
                    self.ndcg_sums[model].sum() / self.ndcg_counts[model].sum(),
                )
            ]
        )


class Sorted:
    """Rows by ascending score; ties end where `last` says."""

    def __init__(self, labels: np.ndarray, users: np.ndarray, scores: np.ndarray) -> None:
        order = np.argsort(scores)
        ordered = scores[order]
        self.users = users[order]
        self.labels = labels[order]
        self.last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))

    def auc(self, weights: np.ndarray) -> float:
        rows = weights[self.users]
        return area(np.cumsum(rows * self.labels)[self.last], np.cumsum(rows)[self.last])


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    order = np.argsort(scores)
    ordered = scores[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    return area(np.cumsum(labels[order])[last], last + 1)


def area(positives: np.ndarray, rows: np.ndarray) -> float:
    """From the numbers of positives and rows up to the end of each tie, by ascending score."""
    negatives = rows - positives
    won = np.diff(positives, prepend=0) * (negatives + np.concatenate(([0], negatives[:-1]))) / 2
    return won.sum() / (positives[-1] * negatives[-1])


def log_losses(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    clipped = np.clip(scores.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.where(labels == 1, -np.log(clipped), -np.log1p(-clipped))


def ndcg_of_groups(labels: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Ties averaged; NaN without a positive. Groups are numbered from 0."""
    sizes = np.bincount(groups)
    order = np.lexsort((-scores.astype(np.float64), groups))
    ranks = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    discounts = np.where(ranks < K, 1 / np.log2(ranks + 2), 0)
    ordered, members = scores[order], groups[order]
    starts = np.append(True, (ordered[1:] != ordered[:-1]) | (members[1:] != members[:-1]))
    tie = np.cumsum(starts) - 1
    gains = np.bincount(tie, labels[order]) / np.bincount(tie) * np.bincount(tie, discounts)
    found = np.bincount(members[starts], gains, len(sizes))
    positives = np.bincount(groups, labels, len(sizes)).astype(int)
    best = np.concatenate(([0], np.cumsum(1 / np.log2(np.arange(K) + 2))))[np.minimum(positives, K)]
    return np.where(positives > 0, found / np.where(positives > 0, best, 1), np.nan)


main()
