"""Other rows in the place of the train rows: edited texts, mixtures, noise."""

from recipes.augmentation.base import Augment, Form, NoAugment, Tokenizer
from recipes.augmentation.mixing import ManifoldMixup, Mixup, Remix
from recipes.augmentation.noise import GaussianNoise
from recipes.augmentation.text import EDA, RandomDeletion, RandomInsertion, RandomSwap, Synonym

__all__ = [
    "EDA",
    "Augment",
    "Form",
    "GaussianNoise",
    "ManifoldMixup",
    "Mixup",
    "NoAugment",
    "RandomDeletion",
    "RandomInsertion",
    "RandomSwap",
    "Remix",
    "Synonym",
    "Tokenizer",
]
