"""Edited texts: what an edit may change, how much of it, and how often."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from recipes.augmentation import EDA, RandomDeletion, RandomInsertion, RandomSwap, Synonym
from recipes.augmentation.text import TextEdit
from recipes.augmentation.words import words_of
from recipes.data.batch import Batch
from recipes.errors import ConfigError

from .conftest import LEXICON, VOCABULARY, batch_of, spell

FACTS: dict[str, Any] = {"class_names": ("usual", "rare"), "class_counts": np.array([9, 3]), "form": "sequence"}
WORDS = FACTS | {"vocabulary": VOCABULARY}
LOOKUP = WORDS | {"tokenizer": "word"}
SYNONYMS = {(word, other) for word, others in LEXICON.items() for other in others.split("|")}
TEXTS = [
    "the big film not fast",
    "cat",
    "",
    "big big cat big fast run 7",
    "été über 3.5 don't not",
    "a dog run the fast film a large cat jog",
]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def every_edit(lexicon: str, form: str = "sequence", **settings: Any) -> list[TextEdit]:
    facts, lookup = WORDS | {"form": form}, LOOKUP | {"form": form, "lexicon": lexicon}
    swap = {name: fact for name, fact in facts.items() if name != "vocabulary"}
    return [
        RandomDeletion(**facts, **settings),
        RandomSwap(**swap, **settings),
        Synonym(**lookup, **settings),
        RandomInsertion(**lookup, **settings),
        EDA(**lookup, **settings),
    ]


def is_subsequence(short: list[str], long: list[str]) -> bool:
    rest = iter(long)
    return all(word in rest for word in short)


@pytest.mark.parametrize("form", ["sequence", "bag"])
def test_deletion_keeps_the_order_and_protected_words(form: str) -> None:
    edit = RandomDeletion(**WORDS | {"form": form}, p=0.6, protected=["Film"])  # type: ignore[arg-type]
    for seed in range(50):
        for before, after in zip(TEXTS, spell(edit(batch_of(TEXTS, form), rng(seed))), strict=True):
            assert is_subsequence(after.split(), before.split())
            assert bool(after) == bool(before)
            for word in ("not", "don't", "film"):
                assert after.split().count(word) == before.split().count(word)


def test_deletion_leaves_out_the_share_that_it_is_asked_for() -> None:
    texts = ["cat dog run walk jog the"] * 4000
    lengths = np.array([len(text.split()) for text in spell(RandomDeletion(**WORDS, p=0.3)(batch_of(texts), rng()))])
    # Binomial, but for the one word that stays where none would.
    expected = [
        0,
        6 * 0.3**5 * 0.7 + 0.3**6,
        *(len(list(itertools.combinations(range(6), k))) * 0.3 ** (6 - k) * 0.7**k for k in range(2, 7)),
    ]
    np.testing.assert_allclose(np.bincount(lengths, minlength=7) / len(texts), expected, atol=0.025)


def test_a_text_that_would_lose_all_words_keeps_any_of_them() -> None:
    kept = Counter(spell(RandomDeletion(**WORDS, p=1 - 1e-9)(batch_of(["cat dog run walk"] * 4000), rng())))
    assert set(kept) == {"cat", "dog", "run", "walk"}
    assert min(kept.values()) > 850


@pytest.mark.parametrize(("alpha", "swaps"), [(0.1, 1), (0.5, 2), (1.0, 5)])
def test_swaps_move_words_and_change_none(alpha: float, swaps: int) -> None:
    texts = ["the cat run fast 7", "cat dog", "cat", ""]
    for seed in range(100):
        after = spell(RandomSwap(**FACTS, alpha=alpha)(batch_of(texts), rng(seed)))
        assert [sorted(text.split()) for text in after] == [sorted(text.split()) for text in texts]
        moved = sum(a != b for a, b in zip(after[0].split(), texts[0].split(), strict=True))
        assert moved == 2 if swaps == 1 else moved <= 2 * swaps


def test_all_pairs_are_swapped_equally_often() -> None:
    text = "the cat run fast 7"
    after = spell(RandomSwap(**FACTS)(batch_of([text] * 10_000), rng()))
    pairs = Counter(tuple(i for i, (a, b) in enumerate(zip(text.split(), new.split(), strict=True)) if a != b) for new in after)
    assert set(pairs) == set(itertools.combinations(range(5), 2))
    assert min(pairs.values()) > 850
    assert max(pairs.values()) < 1150


@pytest.mark.parametrize("form", ["sequence", "bag"])
@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.7, 1.0])
def test_synonyms_replace_n_different_words_wherever_they_stand(lexicon: str, form: str, alpha: float) -> None:
    edit = Synonym(**LOOKUP | {"form": form}, lexicon=lexicon, alpha=alpha)  # type: ignore[arg-type]
    for seed in range(50):
        for before, after in zip(TEXTS, spell(edit(batch_of(TEXTS, form), rng(seed))), strict=True):
            old, new = before.split(), after.split()
            changes = {(a, b) for a, b in zip(old, new, strict=True)}  # one partner a word: all places of it are changed alike
            assert len(changes) == len(set(old))
            changed = {(a, b) for a, b in changes if a != b}
            assert changed <= SYNONYMS
            assert not {"not", "7"} & {a for a, _ in changed}
            assert not {"not", "non"} & {b for _, b in changed}
            candidates = set(old) & {"big", "large", "fast", "film", "run"}
            assert len(changed) == min(max(1, int(alpha * len(old))), len(candidates))


def test_words_and_their_synonyms_are_equally_likely(lexicon: str) -> None:
    after = Counter(spell(Synonym(**LOOKUP, lexicon=lexicon)(batch_of(["big film big"] * 6000), rng())))
    assert set(after) == {"big movie big", "large film large", "huge film huge"}
    assert after["big movie big"] == pytest.approx(3000, abs=200)
    assert after["huge film huge"] == pytest.approx(1500, abs=150)


@pytest.mark.parametrize("form", ["sequence", "bag"])
@pytest.mark.parametrize("alpha", [0.1, 0.45, 1.0])
def test_insertions_add_n_synonyms_of_words_of_the_text(lexicon: str, form: str, alpha: float) -> None:
    edit = RandomInsertion(**LOOKUP | {"form": form}, lexicon=lexicon, alpha=alpha)  # type: ignore[arg-type]
    for seed in range(50):
        for before, after in zip(TEXTS, spell(edit(batch_of(TEXTS, form), rng(seed))), strict=True):
            old, new = before.split(), after.split()
            sources = set(old) & {"big", "large", "fast", "film", "run"}
            assert is_subsequence(old, new)
            added = Counter(new) - Counter(old)
            assert added.total() == len(new) - len(old) == (max(1, int(alpha * len(old))) if sources else 0)
            assert all(any((word, other) in SYNONYMS for word in sources) and other not in ("not", "non") for other in added)


def test_insertions_stand_anywhere_and_come_from_any_word(lexicon: str) -> None:
    after = Counter(spell(RandomInsertion(**LOOKUP, lexicon=lexicon)(batch_of(["cat film fast"] * 8000), rng())))
    places = Counter({(text.split().index(new), new): n for text, n in after.items() for new in ("movie", "quick") if new in text.split()})
    assert set(places) == set(itertools.product(range(4), ("movie", "quick")))
    assert min(places.values()) > 850
    assert max(places.values()) < 1150


def test_eda_draws_one_edit_for_each_sample(lexicon: str) -> None:
    text = "cat film run dog the"
    after = spell(EDA(**LOOKUP, lexicon=lexicon, probability=0.8, alpha_rd=0.3)(batch_of([text] * 8000), rng()))
    kinds = Counter()
    for new in after:
        length, same = len(new.split()), sorted(new.split()) == sorted(text.split())
        kinds["none" if new == text else "swap" if same else "deletion" if length < 5 else "insertion" if length > 5 else "synonym"] += 1
    unchanged = 0.2 + 0.2 * 0.7**5  # a deletion may leave out nothing
    expected = {"none": unchanged, "swap": 0.2, "deletion": 0.4 - unchanged, "insertion": 0.2, "synonym": 0.2}
    assert {kind: kinds[kind] / 8000 for kind in expected} == pytest.approx(expected, abs=0.02)


def test_eda_leaves_out_what_is_switched_off_and_swaps_of_bags(lexicon: str) -> None:
    def kinds(form: str = "sequence", **settings: Any) -> list[str]:
        return [type(edit).__name__ for edit in EDA(**LOOKUP | {"form": form}, **settings).edits]

    assert kinds(lexicon=lexicon) == ["Replace", "Insert", "Swap", "Delete"]
    assert kinds("bag", lexicon=lexicon) == ["Replace", "Insert", "Delete"]
    assert kinds(alpha_sr=0, alpha_ri=0) == ["Swap", "Delete"]  # no source of synonyms is needed then
    with pytest.raises(ConfigError, match="no edit is left"):
        kinds("bag", alpha_sr=0, alpha_ri=0, alpha_rd=0)


def test_edits_write_into_nothing_that_they_are_given(lexicon: str) -> None:
    for edit in EDA(**LOOKUP, lexicon=lexicon, alpha_rd=0.5).edits:
        batch = batch_of(TEXTS)
        words = words_of(batch)
        edit(words, torch.ones(len(TEXTS), dtype=torch.bool), rng())
        assert spell(batch) == TEXTS


def test_an_edit_runs_through_all_samples_once_however_wide_they_are(lexicon: str) -> None:
    """Insertions widen some rows, deletions shorten others: samples that are not edited are what they were."""
    edit = EDA(**LOOKUP, lexicon=lexicon, alpha_ri=1.0, alpha_rd=0.5)
    for seed in range(20):
        after = spell(edit(batch_of(TEXTS), rng(seed)))
        assert after[2] == ""
        assert after[4].count("not") == 1
        assert len(after) == len(TEXTS)


def test_signs_survive_that_the_published_code_strips(lexicon: str) -> None:
    text = "été über 3.5 7 don't film"
    for edit in every_edit(lexicon)[1:4]:
        for seed in range(20):
            after = spell(edit(batch_of([text]), rng(seed)))[0].split()
            assert {"été", "über", "3.5", "7", "don't"} <= set(after)


@pytest.mark.parametrize("form", ["sequence", "bag"])
def test_only_the_chosen_classes_are_edited(lexicon: str, form: str) -> None:
    texts, targets = ["big fast film run cat dog"] * 40, [0, 1] * 20
    for only, edited in (("minority", 1), (["usual"], 0)):
        for edit in every_edit(lexicon, form, only=only):
            if form == "bag" and isinstance(edit, RandomSwap):
                continue
            after = spell(edit(batch_of(texts, form, targets), rng()))
            changed = {target for target, text in zip(targets, after, strict=True) if text != texts[0]}
            assert changed == {edited}


def test_of_multilabel_rows_those_with_a_chosen_label_are_edited() -> None:
    edit = RandomSwap(("a", "b", "c"), np.array([50, 9, 20]), "sequence", only=["b", "c"])
    batch = batch_of(["cat dog"] * 5)
    batch.targets = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 0, 1], [0, 1, 1], [0, 0, 0]]).float()
    assert spell(edit(batch, rng())) == ["cat dog", "dog cat", "dog cat", "dog cat", "cat dog"]
    minority = RandomSwap(("a", "b", "c"), np.array([50, 9, 50]), "sequence", only="minority")
    assert spell(minority(batch, rng())) == ["cat dog", "dog cat", "cat dog", "dog cat", "cat dog"]


def test_class_names_that_are_numbers() -> None:
    edit = RandomSwap(("0", "1"), np.array([5, 5]), "sequence", only=[1])
    assert spell(edit(batch_of(["cat dog"] * 2, targets=[0, 1]), rng())) == ["cat dog", "dog cat"]


def test_probability_is_the_share_of_samples_that_is_edited() -> None:
    after = spell(RandomSwap(**FACTS, probability=0.3)(batch_of(["cat dog"] * 5000), rng()))
    assert after.count("dog cat") / 5000 == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"form": "ngrams"}, "model.word_ngrams=1 model.maxn=0"),
        ({"form": "tfidf"}, "model=textcnn"),
        ({"form": "dense"}, "augment=gaussian_noise"),
    ],
)
def test_rows_without_words_are_refused(lexicon: str, change: dict[str, Any], message: str) -> None:
    for kind, facts in ((RandomDeletion, WORDS), (RandomSwap, FACTS), (Synonym, LOOKUP), (RandomInsertion, LOOKUP), (EDA, LOOKUP)):
        with pytest.raises(ConfigError, match=f"augment={kind.option}: .*{message}"):  # type: ignore[attr-defined]
            kind(**facts | change)  # type: ignore[operator]


def test_characters_have_no_synonyms(lexicon: str) -> None:
    for kind in (Synonym, RandomInsertion, EDA):
        with pytest.raises(ConfigError, match=r"features\.tokenizer=word.*augment=random_deletion"):
            kind(**LOOKUP | {"tokenizer": "char"}, lexicon=lexicon)


def test_swaps_of_bags_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        RandomSwap(**FACTS | {"form": "bag"})
    assert "nothing changes" in caplog.text


def test_mistaken_classes() -> None:
    with pytest.raises(ConfigError, match=r"augment\.only: there is no class 'rara'; did you mean 'rare'"):
        RandomSwap(**FACTS, only=["rara"])
    with pytest.raises(ConfigError, match=r"all 2 classes have 7 train rows; use augment\.only=all"):
        RandomSwap(**FACTS | {"class_counts": np.array([7, 7])}, only="minority")


def test_mixtures_of_the_sampler_are_refused() -> None:
    batch: Batch = batch_of(["cat dog"])
    batch.partner, batch.mix_B2 = batch_of(["dog run"]), torch.tensor([[0.5, 0.5]])
    with pytest.raises(ConfigError, match="augment=random_swap: sampler=smote"):
        RandomSwap(**FACTS)(batch, rng())
