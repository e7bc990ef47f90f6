"""Who goes where: stratified and grouped splits of rows, for classes and for label sets, from a generator.

Rows that must stay together form a unit; without groups each row is one. Units of several rows are placed one by one, the large ones
first, where they disturb the shares of their classes least. Units of one row are then dealt in bulk, class by class, to fill each split
up to its share: exact stratification where there are no groups, and for label sets the order of Sechidis, Tsoumakas and Vlahavas
(2011), the rarest label first. Last, a class that a split lacks although it has units enough is given one, as far as other classes allow;
what train needs comes first.

N rows, U units, S splits, C classes (labels of a multi-label task), P pairs of a unit and a class that it holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def holdout(targets: np.ndarray, fraction: float, rng: np.random.Generator, groups: np.ndarray | None = None) -> np.ndarray:
    """(N,) bool: the rows taken out, about `fraction` of each class.

    targets: (N,) int class, or (N, C) 0/1 labels. groups: (N,) int; rows of one group stay together. Both sides get at least one unit
    of every class that has two; a class that stands in a single unit is not taken.
    """
    return _assign(_Units.of(targets, groups), np.array([1 - fraction, fraction]), rng, home=0) == 1


def folds(targets: np.ndarray, number: int, rng: np.random.Generator, groups: np.ndarray | None = None) -> np.ndarray:
    """(N,) int: the fold of each row, from 0; -1 for a unit that holds all there is of a class, which no fold may take from train."""
    return _assign(_Units.of(targets, groups), np.full(number, 1 / number), rng, home=-1)


def subsample(targets: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """(N,) bool: `size` rows in the proportions of the classes, each class at least once. For label sets about so many."""
    if targets.ndim == 1:
        counts = np.bincount(targets)
        kept = _quotas(counts.astype(float), size)
        kept = np.maximum(kept, np.minimum(counts, 1))
        while kept.sum() > size:  # what the rare classes got beyond their share, the largest ones give
            kept[kept.argmax()] -= 1
        order = np.lexsort((rng.random(len(targets)), targets))
        rank = np.empty(len(targets), dtype=np.int64)
        rank[order] = np.arange(len(targets)) - (np.cumsum(counts) - counts)[targets[order]]
        return rank < kept[targets]
    kept_rows = ~holdout(targets, 1 - size / len(targets), rng)
    counts = targets[kept_rows].sum(0)
    for row in rng.permutation(np.flatnonzero(kept_rows)).tolist():
        if kept_rows.sum() <= size:
            break
        if (counts[targets[row] > 0] > 1).all():
            kept_rows[row] = False
            counts -= targets[row]
    return kept_rows


def joined(*keys: np.ndarray) -> np.ndarray:
    """(N,) int: groups such that rows that agree in any of the keys are together (connected components), numbered by first occurrence."""
    label = np.arange(len(keys[0]))
    while True:
        before = label
        for key in keys:
            lowest = np.full(int(key.max(initial=0)) + 1, len(label))
            np.minimum.at(lowest, key, label)
            label = lowest[key]
        if np.array_equal(before, label):
            return np.unique(label, return_inverse=True)[1]


@dataclass
class _Units:
    """Units and the classes in them, as sorted pairs."""

    of_row: np.ndarray  # (N,) unit of each row
    sizes: np.ndarray  # (U,) rows
    starts: np.ndarray  # (U + 1,) where each unit's pairs begin
    classes: np.ndarray  # (P,)
    counts: np.ndarray  # (P,) rows of that class in that unit
    num_classes: int

    @classmethod
    def of(cls, targets: np.ndarray, groups: np.ndarray | None) -> _Units:
        if targets.ndim == 1:
            rows, classes, num_classes = np.arange(len(targets)), targets.astype(np.int64), int(targets.max(initial=0)) + 1
        else:
            rows, classes = np.nonzero(targets)
            num_classes = targets.shape[1]
        of_row = np.arange(len(targets)) if groups is None else np.unique(groups, return_inverse=True)[1]
        keys, counts = np.unique(of_row[rows] * num_classes + classes, return_counts=True)
        sizes = np.bincount(of_row)
        starts = np.searchsorted(keys // num_classes, np.arange(len(sizes) + 1))
        return cls(of_row, sizes, starts, keys % num_classes, counts, num_classes)

    def pairs(self, unit: int) -> slice:
        return slice(int(self.starts[unit]), int(self.starts[unit + 1]))

    def unit_of_pair(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.sizes)), np.diff(self.starts))


def _assign(units: _Units, shares: np.ndarray, rng: np.random.Generator, home: int) -> np.ndarray:
    """(N,) int: the split of each row. `home` is where a unit goes that holds all there is of a class."""
    place = np.full(len(units.sizes), -2)  # -2: not placed yet
    owner = units.unit_of_pair()
    lone = np.bincount(units.classes, minlength=units.num_classes)[units.classes] == 1
    place[owner[lone]] = home
    # What each split still wants of each class, and (last column) of rows altogether.
    fixed = place[owner] == home
    totals = np.bincount(units.classes, units.counts, minlength=units.num_classes)
    want = np.empty((len(shares), units.num_classes + 1))
    if home < 0:  # rows that stay outside every fold are wanted by none
        totals = totals - np.bincount(units.classes[fixed], units.counts[fixed], minlength=units.num_classes)
        want[:] = shares[:, None] * np.append(totals, units.sizes[place == -2].sum())
    else:
        want[:] = shares[:, None] * np.append(totals, units.sizes.sum())
        want[home, :-1] -= np.bincount(units.classes[fixed], units.counts[fixed], minlength=units.num_classes)
        want[home, -1] -= units.sizes[place == home].sum()
    _place_large(units, place, want, shares, rng)
    _deal_single(units, owner, place, want, rng)
    _give_every_split_its_classes(units, owner, place, len(shares))
    _leave_train_its_classes(units, owner, place, home)
    return place[units.of_row]


def _place_large(units: _Units, place: np.ndarray, want: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> None:
    """Units of several rows, large ones first, each where the squared relative error of its classes' shares grows least.

    In plain Python: the few numbers of a unit are handled faster than NumPy is called.
    """
    large = rng.permutation(np.flatnonzero((place == -2) & (units.sizes > 1)))
    large = large[np.argsort(-units.sizes[large], kind="stable")]
    scale = (1 / np.maximum(want.sum(0), 1) ** 2).tolist()
    rest, inverse = want.tolist(), (1 / shares).tolist()
    for unit in large.tolist():
        pairs = units.pairs(unit)
        held = [*zip(units.classes[pairs].tolist(), units.counts[pairs].tolist(), strict=True), (units.num_classes, int(units.sizes[unit]))]
        best, least = 0, float("inf")
        for split, wanted in enumerate(rest):
            growth = inverse[split] * sum(scale[c] * n * (n - 2 * wanted[c]) for c, n in held)
            if growth < least - 1e-12:
                best, least = split, growth
        place[unit] = best
        for c, n in held:
            rest[best][c] -= n
    want[:] = rest


def _deal_single(units: _Units, owner: np.ndarray, place: np.ndarray, want: np.ndarray, rng: np.random.Generator) -> None:
    """Units of one row, in bulk: always the class with the fewest left, its units dealt by what each split still wants of it."""
    single = (place == -2) & (units.sizes == 1)
    pairs = single[owner]
    pair_owner, pair_class = owner[pairs], units.classes[pairs]
    by_class = np.argsort(pair_class, kind="stable")
    bounds = np.searchsorted(pair_class[by_class], np.arange(units.num_classes + 1))
    several = len(np.unique(pair_owner)) < len(pair_owner)
    left = np.diff(bounds).astype(float)
    while np.isfinite(left).any() and left[np.isfinite(left)].max() > 0:
        rarest = int(np.where(left > 0, left, np.inf).argmin())
        members = pair_owner[by_class[bounds[rarest] : bounds[rarest + 1]]]
        members = rng.permutation(members[place[members] == -2])
        _deal(members, rarest, place, want)
        left[rarest] = 0
        if several:  # labels that came along: fewer are left, and fewer are wanted
            dealt = np.zeros(len(place), dtype=bool)
            dealt[members] = True
            came = dealt[pair_owner] & (pair_class != rarest)
            np.subtract.at(want, (place[pair_owner[came]], pair_class[came]), 1)
            np.subtract.at(left, pair_class[came], 1)
    _deal(rng.permutation(np.flatnonzero(single & (place == -2))), None, place, want)  # rows without a label


def _deal(members: np.ndarray, wanted: int | None, place: np.ndarray, want: np.ndarray) -> None:
    """Cut shuffled units into splits by what each still wants of a class (of rows, where there is none)."""
    dealt = _quotas(want[:, -1 if wanted is None else wanted], len(members), want[:, -1])
    place[members] = np.repeat(np.arange(len(dealt)), dealt)
    want[:, -1] -= dealt
    if wanted is not None:
        want[:, wanted] -= dealt


def _give_every_split_its_classes(units: _Units, owner: np.ndarray, place: np.ndarray, splits: int) -> None:
    """Move single units so that each class is in as many splits as it has units for, the smallest unit that can be spared first."""
    held = np.zeros((splits, units.num_classes), dtype=np.int64)  # units of each class in each split
    placed = place[owner] >= 0
    np.add.at(held, (place[owner[placed]], units.classes[placed]), 1)
    number = held.sum(0)
    for rare in np.argsort(number, kind="stable").tolist():
        if number[rare] < 2:
            continue
        members = owner[units.classes == rare] if (held[:, rare] == 0).any() else np.empty(0, dtype=np.int64)
        members = members[np.argsort(units.sizes[members], kind="stable")]
        for empty in np.flatnonzero(held[:, rare] == 0).tolist():
            spare = (u for u in members.tolist() if place[u] >= 0 and (held[place[u], units.classes[units.pairs(u)]] > 1).all())
            moved = next(spare, None)
            if moved is None:
                break
            classes = units.classes[units.pairs(moved)]
            held[place[moved], classes] -= 1
            held[empty, classes] += 1
            place[moved] = empty


def _leave_train_its_classes(units: _Units, owner: np.ndarray, place: np.ndarray, home: int) -> None:
    """Where units of several classes left a class in a single split that train may have to do without, its smallest unit goes home."""
    first, last = np.full(units.num_classes, len(place)), np.full(units.num_classes, -2)
    np.minimum.at(first, units.classes, place[owner])
    np.maximum.at(last, units.classes, place[owner])
    for rare in np.flatnonzero((first == last) & (first != home)).tolist():
        members = owner[units.classes == rare]
        place[members[units.sizes[members].argmin()]] = home


def _quotas(want: np.ndarray, number: int, prefer: np.ndarray | None = None) -> np.ndarray:
    """(S,) int that sum to `number`, in proportion to what is wanted (largest remainder; ties to who is preferred, then to the first)."""
    share = np.clip(want, 0, None)
    if share.sum() == 0:
        share = np.ones_like(share) if prefer is None or np.clip(prefer, 0, None).sum() == 0 else np.clip(prefer, 0, None)
    exact = share / share.sum() * number
    quotas = np.floor(exact + 1e-9).astype(np.int64)
    remainder = np.round(exact - quotas, 9)
    order = np.lexsort((-(share if prefer is None else prefer), -remainder))
    quotas[order[: number - quotas.sum()]] += 1
    return quotas
