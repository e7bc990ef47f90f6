"""A pretrained encoder of Hugging Face transformers, frozen or fine-tuned, with a classifier on top (Devlin et al. 2019).

B batch, T pieces of a text, S all positions that the encoder sees ([CLS] and [SEP] included), E embedding, H hidden.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from recipes.config.types import Fraction, PositiveFloat, PositiveInt, Range
from recipes.data.batch import Batch
from recipes.data.facts import Needs, Task
from recipes.data.pieces import SHIFT
from recipes.errors import ConfigError
from recipes.models import pretrained_files as files
from recipes.models.base import Model
from recipes.models.heads import HeadKind, check_bias, make_head
from recipes.models.init import BiasInit, Init, init_last_bias, init_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from typing_extensions import Self

_POSITIONS = 1 << 15  # of all texts together that are read at a time in evaluation
LayerDecay = Annotated[float, Range(gt=0, le=1)]


class Pretrained(Model):
    """What a local directory holds, read with its own tokenizer: the first position or the mean of all, dropout, a linear layer.

    Rates: the top layer and the head learn with the optimizer's rate, each layer below with `layer_decay` times that of the layer above
    it, and the embeddings with the least (Howard & Ruder 2018; Clark et al. 2020). `freeze` trains the head alone, on features without
    dropout; `top_layers` the head and so many layers.

    A trained model needs neither the directory nor the network: its weights come with the description of the encoder.
    """

    representation = "tokens"
    prefix: Tensor
    suffix: Tensor

    def __init__(
        self,
        num_classes: int,
        task: Task,
        class_counts: np.ndarray,
        train_rows: int,
        *,
        path: str | None = None,
        pooling: Literal["cls", "mean"] = "cls",
        freeze: bool = False,
        top_layers: PositiveInt | None = None,
        layer_decay: LayerDecay = 1.0,
        max_length: PositiveInt | None = None,
        dropout: Fraction = 0.1,
        head: HeadKind = "linear",
        scale: PositiveFloat = 30.0,
        init: Init = "default",
        bias_init: BiasInit = "zero",
    ) -> None:
        super().__init__()
        check_bias(head, bias_init, without="zero")
        spec, self.encoder = _encoder(path)
        _check(spec, self.encoder, pooling, freeze, top_layers, layer_decay)
        # What the weights of a trained model are to be loaded into, kept among them: bytes of JSON.
        self.register_buffer("spec", torch.tensor(list(spec.text().encode()), dtype=torch.uint8))
        self.register_buffer("prefix", torch.tensor(spec.prefix, dtype=torch.int64), persistent=False)
        self.register_buffer("suffix", torch.tensor(spec.suffix, dtype=torch.int64), persistent=False)
        self.unknown, self.pooling, self.freeze, self.layer_decay = spec.unknown, pooling, freeze, layer_decay
        self.max_pieces = _room(spec, max_length)
        self.dropout = nn.Dropout(dropout)
        last = make_head(head, self.encoder.config.hidden_size, num_classes, scale)
        init_weights([last], init)
        if head == "linear":
            init_last_bias(last.bias, bias_init, task, class_counts, train_rows)
        self.head = last
        self._fix_lower(0 if freeze else top_layers)

    @classmethod
    def needs(cls, settings: Mapping[str, Any]) -> Needs:
        """The pieces of the directory's tokenizer, as many of a text as the encoder has positions for."""
        spec, content = files.read_directory(settings.get("path"))
        return Needs("tokens", tokenizer=content, max_length=_room(spec, settings.get("max_length")))

    @classmethod
    def inference_settings(cls, settings: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """In the place of the directory stands what describes the encoder."""
        return {**settings, "path": bytes(weights["spec"].tolist()).decode()}

    def forward(self, batch: Batch) -> Tensor:
        """logits_BC. Without gradients large batches are cut: what the layers make of a thousand long texts does not fit into memory."""
        assert batch.tokens_BT is not None
        rows, width = batch.tokens_BT.shape
        if self.training or torch.is_grad_enabled() or batch.partner is not None or rows * width <= _POSITIONS:
            return super().forward(batch)
        parts = torch.arange(rows, device=batch.tokens_BT.device).split(max(_POSITIONS // width, 1))
        return torch.cat([Model.forward(self, batch.take(part)) for part in parts])

    def embed(self, batch: Batch) -> Tensor:
        """hidden_BSE: word vectors of the text and of what the encoder expects around it, before positions are added."""
        tokens_BT, lengths_B = self._read(batch)
        before, after = len(self.prefix), len(self.suffix)
        ids_BS = tokens_BT.new_zeros(len(tokens_BT), before + tokens_BT.shape[1] + after)
        ids_BS[:, :before] = self.prefix
        pieces_BT = torch.where(tokens_BT < SHIFT, self.unknown, tokens_BT - SHIFT)
        ids_BS[:, before : before + tokens_BT.shape[1]] = pieces_BT
        ends_B1 = (before + lengths_B)[:, None]
        ids_BS.scatter_(1, ends_B1 + torch.arange(after, device=ids_BS.device), self.suffix.expand(len(ids_BS), -1))
        words: Any = self.encoder.get_input_embeddings()
        hidden_BSE = words(ids_BS)
        steps_S = torch.arange(ids_BS.shape[1], device=ids_BS.device)
        return hidden_BSE.masked_fill((steps_S >= ends_B1 + after)[:, :, None], 0)

    def encode(self, hidden: Tensor, batch: Batch) -> Tensor:
        """(B, H) from hidden_BSE"""
        seen_BS = self._seen(hidden, batch)
        states_BSH = self.encoder(inputs_embeds=hidden, attention_mask=seen_BS.long()).last_hidden_state
        if self.pooling == "cls":
            return self.dropout(states_BSH[:, 0])
        total_BH = states_BSH.masked_fill(~seen_BS[:, :, None], 0).sum(1)
        return self.dropout(total_BH / seen_BS.sum(1, keepdim=True))

    @torch.no_grad()
    def attention(self, batch: Batch) -> Tensor:
        """(B, T) the last layer's weights of each piece, averaged over heads: of the first position, or of all with `pooling=mean`.

        What falls on [CLS] and [SEP] is left out, and the rest sums to one over a row's pieces.
        """
        hidden_BSE = self.embed(batch)
        seen_BS = self._seen(hidden_BSE, batch)
        usual = self.encoder.config._attn_implementation
        self.encoder.set_attn_implementation("eager")  # the fast kernels do not return weights
        try:
            out = self.encoder(inputs_embeds=hidden_BSE, attention_mask=seen_BS.long(), output_attentions=True)
        finally:
            self.encoder.set_attn_implementation(usual)
        if not out.attentions:
            raise ConfigError(f"attention: a {self.encoder.config.model_type} model does not return its weights")
        weights_BSS = out.attentions[-1].mean(1)
        # With pooling=mean each position asks, and all count the same.
        weights_BS = weights_BSS[:, 0] if self.pooling == "cls" else (weights_BSS * seen_BS[:, :, None]).sum(1)
        tokens_BT, lengths_B = self._read(batch)
        assert batch.tokens_BT is not None
        width, before = tokens_BT.shape[1], len(self.prefix)
        inside_BT = torch.arange(width, device=hidden_BSE.device) < lengths_B[:, None]
        own_BT = weights_BS[:, before : before + width].masked_fill(~inside_BT, 0)
        own_BT = own_BT / own_BT.sum(1, keepdim=True).clamp_min(torch.finfo(own_BT.dtype).tiny)
        return nn.functional.pad(own_BT, (0, batch.tokens_BT.shape[1] - width))

    def lr_scales(self) -> dict[str, float]:
        """Parameter -> factor of the learning rate; those that are left out have 1."""
        if self.layer_decay == 1:
            return {}
        depth = self.encoder.config.num_hidden_layers
        return {f"encoder.{name}": self.layer_decay ** (depth - level) for name, level in self._levels().items() if level < depth}

    def train(self, mode: bool = True) -> Self:
        """A frozen encoder gives the same features in training as later: without dropout."""
        super().train(mode)
        if self.freeze:
            self.encoder.eval()
        return self

    def _read(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Ids and lengths as far as the encoder has positions: edits may have made a text longer."""
        assert batch.tokens_BT is not None
        assert batch.lengths_B is not None
        if self.max_pieces is None or batch.tokens_BT.shape[1] <= self.max_pieces:
            return batch.tokens_BT, batch.lengths_B
        return batch.tokens_BT[:, : self.max_pieces], batch.lengths_B.clamp(max=self.max_pieces)

    def _seen(self, hidden: Tensor, batch: Batch) -> Tensor:
        """(B, S) bool: what is not padding. An empty text without anything around it is seen as one zero vector."""
        span_B = batch.span_B if self.max_pieces is None else batch.span_B.clamp(max=self.max_pieces)
        ends_B = (span_B + len(self.prefix) + len(self.suffix)).clamp(min=1)
        return torch.arange(hidden.shape[1], device=hidden.device) < ends_B[:, None]

    def _levels(self) -> dict[str, int]:
        """Level of each of the encoder's parameters: 0 embeddings, 1 the lowest layer, up to L the highest and what comes after it."""
        layers = files.layers_of(self.encoder)
        if layers is None:
            return {}
        level_of = {id(p): level for level, layer in enumerate(layers, start=1) for p in layer.parameters()}
        levels, below = {}, 0
        for name, p in self.encoder.named_parameters():
            if id(p) in level_of:
                below = len(layers)  # what follows the first layer and belongs to none is at the top
            levels[name] = level_of.get(id(p), below)
        return levels

    def _fix_lower(self, trained: int | None) -> None:
        """Leave only the highest `trained` layers to be trained; None leaves all."""
        if trained is None:
            return
        if trained == 0:
            self.encoder.requires_grad_(False)
            return
        lowest, levels = self.encoder.config.num_hidden_layers - trained, self._levels()
        for name, p in self.encoder.named_parameters():
            p.requires_grad_(levels[name] > max(lowest, 0))


def _encoder(path: str | None) -> tuple[files.Spec, PreTrainedModel]:
    """From a directory, or from what `inference_settings` puts in its place: then the weights are yet to be loaded."""
    if path is not None and path.startswith("{"):
        spec = files.Spec(**json.loads(path))
        return spec, files.from_spec(spec)
    spec = files.read_directory(path)[0]
    return spec, files.from_directory(str(path), spec)


def _check(spec: files.Spec, encoder: PreTrainedModel, pooling: str, freeze: bool, top_layers: int | None, layer_decay: float) -> None:
    kind = spec.config.get("model_type")
    if pooling == "cls" and not spec.prefix:
        raise ConfigError(
            f"model.pooling: 'cls' reads the token before the text, and the tokenizer of this {kind} puts none there; use mean"
        )
    if freeze and (top_layers is not None or layer_decay != 1):
        named = "top_layers" if top_layers is not None else "layer_decay"
        raise ConfigError(f"model.{named}: with model.freeze=true no layer is trained; use model.freeze=false, or leave model.{named} out")
    layers = files.layers_of(encoder)
    if layers is None and (top_layers is not None or layer_decay != 1):
        named = "top_layers" if top_layers is not None else "layer_decay"
        raise ConfigError(
            f"model.{named}: the layers of this {kind} are not told apart; leave model.top_layers=null, model.layer_decay=1.0"
        )
    if layers is not None and top_layers is not None and top_layers > len(layers):
        raise ConfigError(f"model.top_layers: {top_layers} was asked for, and the encoder has {len(layers)}; use null to train all")


def _room(spec: files.Spec, max_length: int | None) -> int | None:
    """Pieces of a text that fit into `max_length` and the encoder's positions, beside those around it. Raises ConfigError for none."""
    limit, around = spec.positions, len(spec.prefix) + len(spec.suffix)
    if max_length is not None and limit is not None and max_length > limit:
        raise ConfigError(
            f"model.max_length: {max_length} was asked for, and the encoder has {limit} positions; give at most {limit}, or null"
        )
    most = limit if max_length is None else max_length
    if most is not None and most <= around:
        raise ConfigError(f"model.max_length: {most} leaves no room beside the {around} tokens around a text; give more")
    return None if most is None else most - around
