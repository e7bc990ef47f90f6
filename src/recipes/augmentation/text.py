"""Edited texts in the place of the train texts: easy data augmentation (Wei & Zou 2019), made anew for every update.

B batch, T tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np

from recipes.augmentation.base import Augment, Form, Tokenizer, refuse_mixtures
from recipes.augmentation.choice import Choice, Only, Share
from recipes.augmentation.edits import Delete, Edit, Insert, Replace, Swap
from recipes.augmentation.tensors import Constant, send
from recipes.augmentation.thesaurus import make_thesaurus
from recipes.augmentation.words import placed, protected_words, with_words, words_of
from recipes.config.types import Fraction, PositiveInt, Probability, Range
from recipes.data.batch import Batch
from recipes.errors import ConfigError

logger = logging.getLogger(__name__)
_NONE: list[str] = []
Cosine = Annotated[float, Range(ge=-1, le=1)]
StopWords = Literal["english", "none"]


class TextEdit(Augment):
    """Edits the words of the chosen samples, each with one of `edits`, all equally likely.

    Words are edited as ids, so every sign that the tokenizer kept stays what it is: digits, accents, other scripts. `probability` is the
    share of the chosen samples that is edited; an update sees each sample once, either as it is or edited.
    """

    option: ClassVar[str]  # the name that messages call it by
    approximate = "texts are edited at random"

    def __init__(self, edits: Sequence[Edit], choice: Choice, probability: float) -> None:
        self.edits, self.choice, self.probability = tuple(edits), choice, probability

    def __call__(self, batch: Batch, rng: np.random.Generator) -> Batch:
        refuse_mixtures(batch, self.option)
        whole, chosen_B = words_of(batch), self.choice(batch.targets)
        samples = np.flatnonzero(rng.random(len(batch)) < self.probability)
        which = rng.integers(0, len(self.edits), size=len(samples))
        for i, edit in enumerate(self.edits):
            if len(own := samples[which == i]):
                index = send(own, chosen_B.device)
                part = type(whole)(*(tensor.index_select(0, index) for tensor in whole))
                whole = placed(whole, index, edit(part, chosen_B.index_select(0, index), rng))
        return with_words(batch, whole)


class RandomDeletion(TextEdit):
    """Leaves out each word with the probability `p`; one of them always stays.

    Negations and the words that `protected` adds are never left out: a text without its "not" has another label.
    """

    option = "random_deletion"

    def __init__(
        self,
        vocabulary: tuple[str, ...],
        class_names: tuple[str, ...],
        class_counts: np.ndarray,
        form: Form,
        *,
        p: Annotated[float, Range(gt=0, lt=1)] = 0.1,
        protected: list[str] = _NONE,
        only: Only = "all",
        probability: Share = 1.0,
    ) -> None:
        _require_words(self.option, form)
        spared = Constant(protected_words(vocabulary, protected))
        super().__init__([Delete(p, spared)], Choice(only, class_names, class_counts), probability)


class RandomSwap(TextEdit):
    """Exchanges two words of different places, max(1, int(alpha * words)) times. A bag of words does not notice, which is warned of."""

    option = "random_swap"

    def __init__(
        self,
        class_names: tuple[str, ...],
        class_counts: np.ndarray,
        form: Form,
        *,
        alpha: Share = 0.1,
        only: Only = "all",
        probability: Share = 1.0,
    ) -> None:
        _require_words(self.option, form)
        if form == "bag":
            logger.warning("augment=random_swap: this model reads words without their order, so nothing changes; choose random_deletion")
        super().__init__([Swap(alpha)], Choice(only, class_names, class_counts), probability)


class Synonym(TextEdit):
    """Replaces max(1, int(alpha * words)) different words of a text, wherever they stand in it, by a random synonym of each.

    Synonyms come from `lexicon`, lines of `word<TAB>synonym, synonym` or `word<TAB>part of speech<TAB>synonym|synonym`; or from `vectors`
    in word2vec's or GloVe's text form, where the `neighbors` nearest words with a cosine of `min_similarity` and more count as such; or
    from both. Only words of the vocabulary can stand for others. Stop words, numbers, negations and the words that `protected` adds are
    never replaced, nor do the last three replace another.

    Raises ConfigError where no source is given, where it knows none of the words, and where tokens are characters.
    """

    option = "synonym"

    def __init__(
        self,
        vocabulary: tuple[str, ...],
        class_names: tuple[str, ...],
        class_counts: np.ndarray,
        form: Form,
        tokenizer: Tokenizer,
        *,
        alpha: Share = 0.1,
        lexicon: str | None = None,
        vectors: str | None = None,
        neighbors: PositiveInt = 5,
        min_similarity: Cosine = 0.6,
        stop_words: StopWords = "english",
        protected: list[str] = _NONE,
        only: Only = "all",
        probability: Share = 1.0,
    ) -> None:
        _require_words(self.option, form, tokenizer)
        thesaurus = make_thesaurus(self.option, vocabulary, lexicon, vectors, neighbors, min_similarity, stop_words, protected)
        super().__init__([Replace(alpha, thesaurus)], Choice(only, class_names, class_counts), probability)


class RandomInsertion(TextEdit):
    """Puts a random synonym of a random word of the text at a random place, max(1, int(alpha * words)) times.

    Where synonyms come from, and which words have any, is said of `Synonym`.
    """

    option = "random_insertion"

    def __init__(
        self,
        vocabulary: tuple[str, ...],
        class_names: tuple[str, ...],
        class_counts: np.ndarray,
        form: Form,
        tokenizer: Tokenizer,
        *,
        alpha: Share = 0.1,
        lexicon: str | None = None,
        vectors: str | None = None,
        neighbors: PositiveInt = 5,
        min_similarity: Cosine = 0.6,
        stop_words: StopWords = "english",
        protected: list[str] = _NONE,
        only: Only = "all",
        probability: Share = 1.0,
    ) -> None:
        _require_words(self.option, form, tokenizer)
        thesaurus = make_thesaurus(self.option, vocabulary, lexicon, vectors, neighbors, min_similarity, stop_words, protected)
        super().__init__([Insert(alpha, thesaurus)], Choice(only, class_names, class_counts), probability)


class EDA(TextEdit):
    """Easy data augmentation (Wei & Zou 2019): one of four edits, drawn for each sample.

    Synonyms, insertions and swaps have the strength alpha_sr, alpha_ri and alpha_rs, deletion the probability alpha_rd; 0 leaves an edit
    out. The paper adds up to 16 edited copies of each text to the data; here a sample is edited with `probability` whenever it is seen,
    by another draw each time. Swaps are left out where the model reads bags of words. See `Synonym` for the sources of synonyms.
    """

    option = "eda"

    def __init__(
        self,
        vocabulary: tuple[str, ...],
        class_names: tuple[str, ...],
        class_counts: np.ndarray,
        form: Form,
        tokenizer: Tokenizer,
        *,
        alpha_sr: Probability = 0.1,
        alpha_ri: Probability = 0.1,
        alpha_rs: Probability = 0.1,
        alpha_rd: Fraction = 0.1,
        lexicon: str | None = None,
        vectors: str | None = None,
        neighbors: PositiveInt = 5,
        min_similarity: Cosine = 0.6,
        stop_words: StopWords = "english",
        protected: list[str] = _NONE,
        only: Only = "all",
        probability: Share = 0.5,
    ) -> None:
        _require_words(self.option, form, tokenizer)
        edits: list[Edit] = []
        if alpha_sr or alpha_ri:
            thesaurus = make_thesaurus(self.option, vocabulary, lexicon, vectors, neighbors, min_similarity, stop_words, protected)
            edits += [Replace(alpha_sr, thesaurus)] if alpha_sr else []
            edits += [Insert(alpha_ri, thesaurus)] if alpha_ri else []
        edits += [Swap(alpha_rs)] if alpha_rs and form != "bag" else []
        edits += [Delete(alpha_rd, Constant(protected_words(vocabulary, protected)))] if alpha_rd else []
        if not edits:
            raise ConfigError("augment=eda: no edit is left; give augment.alpha_rd, alpha_sr or alpha_ri above 0, or choose augment=none")
        super().__init__(edits, Choice(only, class_names, class_counts), probability)


def _require_words(option: str, form: Form, tokenizer: Tokenizer = "word") -> None:
    """Raise ConfigError where rows are no words in the batch any more, or tokens no words."""
    instead = {
        "ngrams": "this model's n-grams were made from the texts as they are; set model.word_ngrams=1 model.maxn=0, or use augment=mixup",
        "tfidf": "this model reads TF-IDF, in which words are columns; use model=textcnn, or choose augment=mixup",
        "dense": "this data is a table; choose augment=gaussian_noise or augment=mixup",
    }
    if form in instead:
        raise ConfigError(f"augment={option}: it edits words, and {instead[form]}")
    if tokenizer == "char":
        raise ConfigError(
            f"augment={option}: it looks up words, and the tokens are characters (features.tokenizer=char); "
            "set features.tokenizer=word, or choose augment=random_deletion or augment=random_swap"
        )
