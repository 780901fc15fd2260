"""What every selection method means, written as its paper says it: loops, floats of Python, one
token at a time, nothing shared with the implementation.

A definition takes (grid, budget, seed, text) and gives the kept ids, most important first, and for
methods that merge each kept id's feature and the owner of every token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from saccade.types import F32, TokenGrid

Vector = list[float]


@dataclass(frozen=True)
class Expected:
    ranked: list[int]
    features: dict[int, Vector] = field(default_factory=dict)
    owners: dict[int, int] = field(default_factory=dict)


def picture(seed: int = 5, dim: int = 32) -> TokenGrid:
    """8 x 8 tokens like a picture's: five even windows, two sinks, the rest all different."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(8, 8, dim))
    for row, column in ((0, 0), (0, 3), (3, 3), (6, 0), (3, 6)):
        window = features[row : row + 3, column : column + 3]
        window[:] = 0.2 * window + generator.normal(size=dim)
    features[2, 7] *= 8
    features[7, 4] *= 9
    saliency = generator.random((3, 4, 64))
    saliency /= saliency.sum(axis=2, keepdims=True)
    return TokenGrid(
        features=features.reshape(64, dim).astype(np.float32),
        saliency=saliency.astype(np.float32),
        keys=generator.normal(size=(64, 8)).astype(np.float32),
        grid=(1, 8, 8),
    )


def frames(seed: int = 5, dim: int = 32) -> TokenGrid:
    """Two frames of 4 x 7 tokens: like each other in one window, elsewhere all different."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(2, 4, 7, dim))
    features[:, 0:3, 3:6] = 0.2 * features[:, 0:3, 3:6] + generator.normal(size=dim)
    features[1, 3, 2] *= 9
    saliency = generator.random((2, 3, 56))
    return TokenGrid(
        features=features.reshape(56, dim).astype(np.float32),
        saliency=(saliency / saliency.sum(axis=2, keepdims=True)).astype(np.float32),
        keys=generator.normal(size=(56, 6)).astype(np.float32),
        grid=(2, 4, 7),
    )


def words(dim: int = 32) -> F32:
    """Features of a text of three tokens."""
    return np.random.default_rng(99).normal(size=(3, dim)).astype(np.float32)


def dot(a: Iterable[float], b: Iterable[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def cos(a: Sequence[float], b: Sequence[float]) -> float:
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def mean(rows: Sequence[Vector]) -> Vector:
    return [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]


def distance(a: Vector, b: Vector) -> float:
    return math.dist(a, b)


def falling(scores: dict[int, float]) -> list[int]:
    return sorted(scores, key=lambda i: (-scores[i], i))


def rows_of(array: F32) -> list[Vector]:
    return [[float(x) for x in row] for row in array]


def attention(grid: TokenGrid, layers: Sequence[int]) -> dict[int, float]:
    heads = grid.saliency.shape[1]
    return {
        i: math.fsum(float(grid.saliency[n, h, i]) for n in layers for h in range(heads)) / heads
        for i in range(len(grid.features))
    }


def last(grid: TokenGrid) -> dict[int, float]:
    return attention(grid, [len(grid.saliency) - 1])


def every(grid: TokenGrid) -> dict[int, float]:
    return attention(grid, range(len(grid.saliency)))


def spanned(scores: dict[int, float]) -> dict[int, float]:
    low, high = min(scores.values()), max(scores.values())
    return {i: (s - low) / (high - low) for i, s in scores.items()}


def cls_ensemble(grid: TokenGrid, budget: int, seed: int, text: F32) -> Expected:
    return Expected(falling(every(grid))[:budget])


def cls_topk(grid: TokenGrid, budget: int, seed: int, text: F32) -> Expected:
    return Expected(falling(last(grid))[:budget])


def random(grid: TokenGrid, budget: int, seed: int, text: F32) -> Expected:
    bits = np.random.PCG64(seed)
    lots = {i: -int(bits.random_raw()) for i in range(len(grid.features))}
    return Expected(sorted(lots, key=lambda i: -lots[i])[:budget])


def uniform(grid: TokenGrid, budget: int, seed: int, text: F32) -> Expected:
    """The dither matrix by its recursion: four copies, the next quarter of the order in each. Of
    each place that the grid has, all frames.
    """
    frames, rows, columns = grid.grid
    order = [(0, 0)]
    side = 1
    while side < max(rows, columns):
        order = [
            (2 * y + dy, 2 * x + dx)
            for dy, dx in ((0, 0), (1, 1), (0, 1), (1, 0))
            for y, x in order
        ]
        side *= 2
    there = [columns * y + x for y, x in order if y < rows and x < columns]
    return Expected([rows * columns * t + i for i in there for t in range(frames)][:budget])


def pool2d(grid: TokenGrid, budget: int, seed: int, text: F32) -> Expected:
    """For a quarter of an 8 x 8 grid: squares of 2 x 2."""
    x = rows_of(grid.features)
    owners = {8 * r + c: 16 * (r // 2) + 2 * (c // 2) for r in range(8) for c in range(8)}
    ids = [i for i in uniform(grid, 64, seed, text).ranked if owners[i] == i]
    return Expected(ids, means(x, owners), owners)


def means(x: list[Vector], owners: dict[int, int]) -> dict[int, Vector]:
    kept = {o for o in owners.values() if o >= 0}
    return {k: mean([x[i] for i, o in owners.items() if o == k]) for k in kept}


def half_and_half(x: list[Vector], scores: dict[int, float], budget: int) -> list[int]:
    order = falling(scores)
    best, left = order[: budget // 2], order[budget // 2 :]
    while len(left) > budget - len(best):
        even = [i for n, i in enumerate(left) if n % 2 == 0]
        odd = [i for n, i in enumerate(left) if n % 2 == 1]
        closest = falling({i: max(cos(x[i], x[j]) for j in odd) for i in even})
        gone = min(8, len(left) - (budget - len(best)))
        left = closest[gone:] + odd
    return [i for i in order if i in {*best, *left}]


def vispruner(grid: TokenGrid, budget: int, seed: int, text: F32) -> Expected:
    return Expected(half_and_half(rows_of(grid.features), last(grid), budget))


def flashvlm(grid: TokenGrid, budget: int, seed: int, text: F32) -> Expected:
    x, t = rows_of(grid.features), rows_of(text)
    alike = {}
    for i, row in enumerate(x):
        c = [cos(row, word) for word in t]
        powers = [math.exp(v / 0.05) for v in c]
        alike[i] = math.fsum(p * v for p, v in zip(powers, c, strict=True)) / math.fsum(powers)
    top = max(alike.values())
    total = math.fsum(math.exp((v - top) / 0.01) for v in alike.values())
    sharp = spanned({i: (math.exp((v - top) / 0.01) / total) ** 2.5 for i, v in alike.items()})
    edge = float(np.quantile(list(sharp.values()), 0.995))
    damped = spanned({i: v if v >= edge else 0.1 * v for i, v in sharp.items()})
    seen = spanned(last(grid))
    scores = {
        i: math.exp(0.5 * math.log(seen[i] + 1e-6) + 0.5 * math.log(max(damped[i], 1e-6)))
        for i in seen
    }
    return Expected(half_and_half(x, scores, budget))


def cdpruner(grid: TokenGrid, budget: int, seed: int, text: F32) -> Expected:
    """The greedy subset by determinants."""
    x, t = rows_of(grid.features), rows_of(text)
    unlike = {i: -math.fsum(cos(row, word) for word in t) / len(t) for i, row in enumerate(x)}
    r = {i: v + 1e-6 for i, v in spanned(unlike).items()}
    kernel = np.array([[r[i] * cos(x[i], x[j]) * r[j] for j in r] for i in r])
    ranked: list[int] = []
    while len(ranked) < budget:
        volumes = {
            i: float(np.linalg.det(kernel[np.ix_([*ranked, i], [*ranked, i])]))
            for i in r
            if i not in ranked
        }
        ranked.append(falling(volumes)[0])
    return Expected(ranked)


def visionzip(grid: TokenGrid, budget: int, seed: int, text: F32) -> Expected:
    x = rows_of(grid.features)
    ranked, owners = _visionzip(grid, budget)
    features = {}
    for k in ranked:
        others = [x[i] for i, o in owners.items() if o == k and i != k]
        extra = mean(others) if others else [0.0] * len(x[k])
        features[k] = [a + b for a, b in zip(x[k], extra, strict=True)]
    return Expected(ranked, features, owners)


def visionzip_mean(grid: TokenGrid, budget: int, seed: int, text: F32) -> Expected:
    ranked, owners = _visionzip(grid, budget)
    return Expected(ranked, means(rows_of(grid.features), owners), owners)


def _visionzip(grid: TokenGrid, budget: int) -> tuple[list[int], dict[int, int]]:
    keys = rows_of(grid.keys)
    contextual = max(1, budget * 10 // 64)
    order = falling(last(grid))
    dominant, rest = order[: budget - contextual], sorted(order[budget - contextual :])
    step = max(1, len(rest) // contextual)
    targets = [rest[n * step] for n in range(contextual)]
    owners = {i: i for i in (*dominant, *targets)}
    for i in rest:
        if i not in targets:
            owners[i] = max(targets, key=lambda j: cos(keys[i], keys[j]))
    return dominant + targets, owners


def divprune(grid: TokenGrid, budget: int, seed: int, text: F32) -> Expected:
    x = rows_of(grid.features)
    apart = [[1 - cos(a, b) for b in x] for a in x]
    ranked = [falling({i: sorted(apart[i])[1] for i in range(len(x))})[0]]
    while len(ranked) < budget:
        free = [i for i in range(len(x)) if i not in ranked]
        ranked.append(falling({i: min(apart[i][j] for j in ranked) for i in free})[0])
    return Expected(ranked)


def mmr(grid: TokenGrid, budget: int, seed: int, text: F32) -> Expected:
    x, worth = rows_of(grid.features), spanned(every(grid))
    ranked = [falling(worth)[0]]
    while len(ranked) < budget:
        scores = {
            i: 0.5 * worth[i] - 0.5 * max(cos(x[i], x[j]) for j in ranked)
            for i in worth
            if i not in ranked
        }
        ranked.append(falling(scores)[0])
    return Expected(ranked)


def scope(grid: TokenGrid, budget: int, seed: int, text: F32) -> Expected:
    x, seen = rows_of(grid.features), last(grid)
    alike = [[cos(a, b) for b in x] for a in x]
    ranked: list[int] = []
    covered = [0.0] * len(x)
    while len(ranked) < budget:
        gains = {
            j: seen[j] * math.fsum(max(0.0, alike[i][j] - covered[i]) for i in range(len(x)))
            for j in range(len(x))
            if j not in ranked
        }
        ranked.append(falling(gains)[0])
        covered = [max(c, alike[i][ranked[-1]]) for i, c in enumerate(covered)]
    return Expected(ranked)


def apet(grid: TokenGrid, budget: int, seed: int, text: F32) -> Expected:
    x = rows_of(grid.features)
    basis = [int(np.random.PCG64(seed).random_raw()) % len(x)]
    while len(basis) < 10:
        free = [i for i in range(len(x)) if i not in basis]
        basis.append(falling({i: min(distance(x[i], x[b]) for b in basis) for i in free})[0])
    s = np.array([x[b] for b in basis])
    project = s.T @ np.linalg.inv(s @ s.T + 1e-5 * np.eye(10)) @ s
    errors = {
        i: float(np.linalg.norm(np.array(row) - np.array(row) @ project)) for i, row in enumerate(x)
    }
    sent = basis[: budget // 2]
    best = [i for i in falling(errors) if i not in sent][: budget - len(sent)]
    owners = {i: i for i in (*best, *sent)}
    for i in range(len(x)):
        if i not in owners:
            owners[i] = max(sorted(best), key=lambda j: cos(x[i], x[j]))
    return Expected(best + sent, means(x, owners), owners)


def prumerge(grid: TokenGrid, budget: int, seed: int, text: F32) -> Expected:
    x, keys, seen = rows_of(grid.features), rows_of(grid.keys), last(grid)
    order = falling(seen)
    best, rest = order[: budget - 1], order[budget - 1 :]
    features = {}
    for i in best:
        nearest = falling({j: cos(keys[i], keys[j]) for j in seen if j != i})[:32]
        features[i] = weighted([(1.0, x[i]), *((seen[j], x[j]) for j in nearest)])
    features[rest[0]] = weighted([(seen[j], x[j]) for j in rest])
    owners = {i: i if i in best else rest[0] for i in seen}
    return Expected([*best, rest[0]], features, owners)


def weighted(parts: Sequence[tuple[float, Vector]]) -> Vector:
    return [math.fsum(w * v[d] for w, v in parts) for d in range(len(parts[0][1]))]


def tome(grid: TokenGrid, budget: int, seed: int, text: F32) -> Expected:
    x, keys = rows_of(grid.features), rows_of(grid.keys)
    members = {i: [i] for i in range(len(x))}
    while len(members) > budget:
        ids = sorted(members)
        metric = {i: mean([keys[m] for m in members[i]]) for i in ids}
        even, odd = ids[0::2], ids[1::2]
        best = {i: max(odd, key=lambda j: cos(metric[i], metric[j])) for i in even}
        gone = min(len(ids) - budget, max(1, len(ids) // 8))
        for i in falling({i: cos(metric[i], metric[j]) for i, j in best.items()})[:gone]:
            members[best[i]] += members.pop(i)
    owners = {m: i for i, group in members.items() for m in group}
    return Expected(falling({i: len(g) for i, g in members.items()}), means(x, owners), owners)


def mustdrop(grid: TokenGrid, budget: int, seed: int, text: F32) -> Expected:
    x, seen = rows_of(grid.features), last(grid)
    protected = falling(seen)[: math.ceil(0.08 * len(x))]
    _, rows, columns = grid.grid
    of: dict[tuple[int, int, int], list[int]] = {}
    for i in range(len(x)):
        t, place = divmod(i, rows * columns)
        of.setdefault((t, place // columns // 3, place % columns // 3), []).append(i)
    windows = dict(enumerate(of[key] for key in sorted(of)))
    even = {
        w: math.fsum(cos(x[i], x[j]) for i in m for j in m if i != j) / (len(m) * (len(m) - 1))
        for w, m in windows.items()
        if len(m) > 1 and not set(m) & set(protected)
    }
    owners = {i: i for i in seen}
    for w in falling(even):
        saved = len(windows[w]) - 1
        if even[w] >= 0.8 and len(set(owners.values())) - saved >= budget:
            owners |= dict.fromkeys(windows[w], windows[w][saved // 2])
    scores = {
        k: math.fsum(seen[i] for i, o in owners.items() if o == k) + 10 * (k in protected)
        for k in set(owners.values())
    }
    ranked = falling(scores)[:budget]
    owners = {i: o if o in ranked else -1 for i, o in owners.items()}
    return Expected(ranked, means(x, owners), owners)


def dpc_knn(grid: TokenGrid, budget: int, seed: int, text: F32) -> Expected:
    x = rows_of(grid.features)
    apart = [[distance(a, b) / math.sqrt(len(a)) for b in x] for a in x]
    density = {
        i: math.exp(-math.fsum(d * d for d in sorted(apart[i])[:5]) / 5) for i in range(len(x))
    }
    scores = {}
    for i, mine in density.items():
        denser = [apart[i][j] for j, other in density.items() if other > mine]
        scores[i] = mine * (min(denser) if denser else max(map(max, apart)))
    centres = falling(scores)[:budget]
    owners = {i: min(sorted(centres), key=lambda c: apart[i][c]) for i in density}
    return Expected(centres, means(x, owners), owners)


def alive(grid: TokenGrid, budget: int, seed: int, text: F32) -> Expected:
    x, seen = rows_of(grid.features), every(grid)
    lengths = {i: math.sqrt(dot(row, row)) for i, row in enumerate(x)}
    first, third = np.percentile(list(lengths.values()), [25, 75])
    sinks = [i for i, n in lengths.items() if n > third + 3 * (third - first)]
    others = [i for i in seen if i not in sinks]
    common = mean([[v / lengths[i] for v in x[i]] for i in others])
    dead = falling({i: cos(x[i], common) for i in others})[: int(0.4 * len(x)) - len(sinks)]
    groups = [[i for i in others if i not in dead], dead, sinks]
    ranked = [i for group in groups for i in falling({i: seen[i] for i in group})]
    return Expected(ranked[:budget])


def mmtok(grid: TokenGrid, budget: int, seed: int, text: F32) -> Expected:
    x = rows_of(grid.features)
    powers = [[math.exp(cos(a, b) / 0.2) for b in x] for a in x]
    likeness = [[p / math.fsum(row) for p in row] for row in powers]
    ranked: list[int] = []
    while len(ranked) < budget:
        covered = [max((row[j] for j in ranked), default=0.0) for row in likeness]
        gains = {
            j: math.fsum(max(0.0, row[j] - c) for row, c in zip(likeness, covered, strict=True))
            for j in range(len(x))
            if j not in ranked
        }
        ranked.append(falling(gains)[0])
    return Expected(ranked)


def id_selection(grid: TokenGrid, budget: int, seed: int, text: F32) -> Expected:
    x, scores = rows_of(grid.features), spanned(every(grid))
    ranked: list[int] = []
    while len(ranked) < budget:
        best = falling(scores)[0]
        ranked.append(best)
        height = scores.pop(best)
        for j in scores:
            suppression = math.exp(-20 * (1 - cos(x[best], x[j])) ** 2)
            scores[j] = max(0.0, scores[j] - suppression * height)
    return Expected(ranked)


def prunesid(grid: TokenGrid, budget: int, seed: int, text: F32) -> Expected:
    x, seen = rows_of(grid.features), last(grid)
    groups = principal_groups(x, max(budget // 4, 1), seed)
    pairs = [cos(x[i], x[j]) for i in seen for j in seen if i < j]
    threshold = budget / 32 * math.fsum(pairs) / max(len(pairs), 1)
    order: list[list[int]] = []
    survivors: list[int] = []
    for group in groups:
        left, kept = falling({i: seen[i] for i in group}), list[int]()
        while left:
            kept.append(left.pop(0))
            left = [j for j in left if cos(x[kept[-1]], x[j]) <= threshold]
        others = [i for i in falling({i: seen[i] for i in group}) if i not in kept]
        order.append(kept + others)
        survivors.append(len(kept))
    shares = prunesid_shares([len(g) for g in groups], survivors, budget)
    taken = {
        i: (r, -seen[i]) for s, g in zip(shares, order, strict=True) for r, i in enumerate(g[:s])
    }
    return Expected(sorted(taken, key=lambda i: taken[i]))


def principal_groups(x: Sequence[Vector], components: int, seed: int) -> list[list[int]]:
    """The powers of the matrix that subspace iteration stands for, and the spectrum in what they
    span.
    """
    a = np.array([[1 / (1 + math.exp(-v)) for v in row] for row in x])
    a = (a - a.mean(axis=1, keepdims=True)).T
    rank = min(components, len(a))
    bits = np.random.PCG64(seed)
    start = [[(int(bits.random_raw()) >> 11) / 2**52 - 1 for _ in range(rank)] for _ in x]
    basis = np.linalg.svd(a @ np.linalg.matrix_power(a.T @ a, 2) @ start, full_matrices=False)[0]
    small = basis.T @ a
    values, vectors = np.linalg.eigh(small @ small.T)
    weights = np.abs(small.T @ vectors[:, ::-1] / np.sqrt(values[::-1]))
    groups: list[list[int]] = [[] for _ in range(rank)]
    for i, row in enumerate(weights):
        groups[int(row.argmax())].append(i)
    return groups


def prunesid_shares(sizes: list[int], survivors: list[int], budget: int) -> list[int]:
    most = [min(5 * math.ceil(budget / 64), n) for n in survivors]
    while sum(most) < budget:
        most = [min(m + 1, size) for m, size in zip(most, sizes, strict=True)]
    least = [min(size, 1) for size in sizes]
    spare, whole = budget - sum(least), sum(survivors)
    ends = [round(sum(survivors[:n]) * spare / whole) for n in range(len(sizes) + 1)]
    shares = [min(least[n] + ends[n + 1] - ends[n], most[n]) for n in range(len(sizes))]
    for n in falling({n: float(count) for n, count in enumerate(survivors)}):
        shares[n] += min(most[n] - shares[n], budget - sum(shares))
    return shares


BY_HAND: dict[str, Callable[[TokenGrid, int, int, F32], Expected]] = {
    f.__name__: f
    for f in (
        cls_ensemble, cls_topk, random, uniform, pool2d, vispruner, flashvlm, cdpruner, visionzip,
        visionzip_mean, divprune, mmr, scope, apet, prumerge, tome, mustdrop, dpc_knn, alive,
        mmtok, id_selection, prunesid,
    )
}  # fmt: skip
