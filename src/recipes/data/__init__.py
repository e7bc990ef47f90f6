"""Files to batches: readers, splits, encoders fitted on train only, the cache, and flat tensors that batches are gathered from."""

from recipes.data.batch import Batch
from recipes.data.dataset import Dataset, prepare
from recipes.data.encoder import Encoder, load_encoder
from recipes.data.facts import Facts, Modality, Needs, Representation, Task
from recipes.data.features import Features
from recipes.data.sources import ICD10, BreastCancer, File, Keel, Source
from recipes.data.split import Split, TrainSplit

__all__ = [
    "ICD10",
    "Batch",
    "BreastCancer",
    "Dataset",
    "Encoder",
    "Facts",
    "Features",
    "File",
    "Keel",
    "Modality",
    "Needs",
    "Representation",
    "Source",
    "Split",
    "Task",
    "TrainSplit",
    "load_encoder",
    "prepare",
]
