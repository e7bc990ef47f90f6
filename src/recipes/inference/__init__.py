"""The bundle: what prediction needs, in files that hold data and no code."""

from recipes.inference.bundle import bundle_of, load_bundle, save_bundle
from recipes.inference.predictor import Predictor

__all__ = ["Predictor", "bundle_of", "load_bundle", "save_bundle"]
