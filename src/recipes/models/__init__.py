"""Batch -> logits_BC: the classifiers, and the base that a new one derives from."""

from recipes.models.base import Model
from recipes.models.fasttext import FastText
from recipes.models.mlp import MLP
from recipes.models.textcnn import TextCNN

__all__ = ["MLP", "FastText", "Model", "TextCNN"]
