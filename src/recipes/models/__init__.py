"""Batch -> logits_BC: the classifiers, and the base that a new one derives from."""

from recipes.models.base import Model
from recipes.models.dpcnn import DPCNN
from recipes.models.fasttext import FastText
from recipes.models.han import HAN
from recipes.models.mlp import MLP
from recipes.models.pretrained import Pretrained
from recipes.models.textcnn import TextCNN
from recipes.models.textrcnn import TextRCNN
from recipes.models.textrnn import TextRNN
from recipes.models.transformer import Transformer

__all__ = ["DPCNN", "HAN", "MLP", "FastText", "Model", "Pretrained", "TextCNN", "TextRCNN", "TextRNN", "Transformer"]
