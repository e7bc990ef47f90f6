"""A local Hugging Face directory, and what of it a trained model takes along: transformers is imported here, and never asks the network."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from recipes.data import tokenizers
from recipes.data.pieces import surroundings, unknown_piece
from recipes.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

_log = logging.getLogger(__name__)
_WHERE = "model.path"


@dataclass(frozen=True)
class Spec:
    """All of a directory that is neither weights nor the tokenizer itself."""

    config: dict[str, Any]  # of transformers
    prefix: list[int]  # what stands before a text: [CLS]
    suffix: list[int]  # what stands after it: [SEP]
    unknown: int  # the piece of what the tokenizer does not know
    positions: int | None  # pieces that the encoder can read, those around a text included; None where nothing bounds them

    def text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


@lru_cache(maxsize=4)
def read_directory(path: str | None) -> tuple[Spec, str]:
    """The spec of a directory, and the content of its tokenizer.json. Raises ConfigError for one that cannot be used."""
    folder = _directory(path)
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise ConfigError(
            f"{_WHERE}: there is no tokenizer.json in '{path}'; transformers writes one: "
            "AutoTokenizer.from_pretrained(path).save_pretrained(path)"
        )
    content = tokenizers.read_file(file, _WHERE)
    from transformers import AutoConfig

    try:
        with _quiet():
            config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{_WHERE}: transformers cannot read the config.json in '{path}': {_first_line(error)}") from error
    if config.is_encoder_decoder:
        raise ConfigError(f"{_WHERE}: '{path}' is an encoder with a decoder ({config.model_type}); give an encoder, such as a BERT")
    # Without the traces of this machine, and without the format that the weights were saved in: they are trained as float32.
    left_out = ("dtype", "torch_dtype", "transformers_version")
    full = json.loads(config.to_json_string(use_diff=False))
    known = {name: value for name, value in full.items() if not name.startswith("_") and name not in left_out}
    spec = Spec(known, *surroundings(content), unknown_piece(content), _positions(known))
    words, rows = len(tokenizers.pieces(content)), getattr(config, "vocab_size", 0)
    if words > rows:
        raise ConfigError(
            f"{_WHERE}: the tokenizer of '{path}' has {words:,} pieces, and the model vectors for {rows:,}: they are not a pair"
        )
    return spec, content


def _positions(config: dict[str, Any]) -> int | None:
    """The rows of the table of positions, which the encoder is built for without weights: configs name them in several ways."""
    with torch.device("meta"):
        encoder = _from_config(config)
    for module in encoder.modules():
        table = getattr(module, "position_embeddings", None)
        if isinstance(table, nn.Embedding):  # RoBERTa and its kin count from the row after that of padding
            return table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
    return getattr(encoder.config, "max_position_embeddings", None)


def from_directory(path: str, spec: Spec) -> PreTrainedModel:
    """The encoder with the weights of the directory, in float32."""
    from transformers import AutoModel

    try:
        with _quiet():
            encoder, report = AutoModel.from_pretrained(
                str(_directory(path)), config=_config(spec.config), local_files_only=True, dtype=torch.float32, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{_WHERE}: the weights in '{path}' cannot be loaded: {_first_line(error)}") from error
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        some = ", ".join(missing[:3] + ["..."] * (len(missing) > 3))
        _log.warning("%s: '%s' has no weights for %s, which start at random", _WHERE, path, some)
    return _prepared(encoder)


def from_spec(spec: Spec) -> PreTrainedModel:
    """The encoder with random weights, for those of a trained model to be loaded into."""
    require()
    return _from_config(spec.config)


def require() -> None:
    """Raise ConfigError where transformers is not installed."""
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "model=pretrained: it needs the package 'transformers'; install it with `pip install 'recipes-imbalanced[hf]'`"
        ) from error


def layers_of(encoder: PreTrainedModel) -> nn.ModuleList | None:
    """The stack of layers, from the lowest; None for a model that has none of its own for each depth (ALBERT shares one)."""
    depth = encoder.config.num_hidden_layers
    return next((m for m in encoder.modules() if isinstance(m, nn.ModuleList) and len(m) == depth), None)


def _prepared(encoder: PreTrainedModel) -> PreTrainedModel:
    """Without the pooler, a layer for the task of pretraining that nothing here reads."""
    import inspect

    lacking = {"inputs_embeds", "attention_mask"} - inspect.signature(encoder.forward).parameters.keys()
    if lacking:  # mixtures are made of vectors, and what sees padding would see the rest of the batch
        kind = encoder.config.model_type
        raise ConfigError(f"{_WHERE}: a {kind} model does not take {' and '.join(sorted(lacking))}; use BERT or one of its kin")
    if getattr(encoder, "pooler", None) is not None:
        encoder.register_module("pooler", None)
    return encoder


def _from_config(config: dict[str, Any]) -> PreTrainedModel:
    from transformers import AutoModel

    with _quiet():
        return _prepared(AutoModel.from_config(_config(config), dtype=torch.float32))


def _config(config: dict[str, Any]) -> PretrainedConfig:
    from transformers import AutoConfig

    return AutoConfig.for_model(**config)


def _directory(path: str | None) -> Path:
    require()
    if path is None:
        raise ConfigError(f"{_WHERE}: model=pretrained starts from a directory with a Hugging Face encoder; add {_WHERE}=<directory>")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ConfigError(
            f"{_WHERE}: '{path}' is not a directory. Models are read from this machine only, never from the network; where there is one: "
            f"`hf download {path if path.count('/') < 2 and not path.startswith(('.', '/', '~')) else '<name>'} --local-dir <directory>`, "
            f"then {_WHERE}=<directory>"
        )
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{_WHERE}: there is no config.json in '{path}', so it is not the directory of a Hugging Face model")
    return folder


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """transformers reports what it loads, at length and with bars; what matters of it is said here."""
    from transformers.utils import logging as theirs

    level, bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        theirs.set_verbosity(level)
        if bars:
            theirs.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
