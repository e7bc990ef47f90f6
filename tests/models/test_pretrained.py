"""model=pretrained against transformers itself, and the contract of a model. B batch, C classes."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tiny_encoder import make_directory, wordpiece
from torch.nn import functional

pytest.importorskip("transformers", reason="model=pretrained needs the extra [hf]")
pytest.importorskip("tokenizers", reason="model=pretrained needs the extra [hf]")

from recipes.config import build
from recipes.data import Dataset, Facts, Features, load_encoder
from recipes.data.batch import Batch
from recipes.data.pieces import PieceEncoder
from recipes.data.split import TrainSplit
from recipes.errors import ConfigError
from recipes.evaluation import Readout
from recipes.inference import Predictor, save_bundle
from recipes.inference.bundle import bundle_of
from recipes.models import Model, Pretrained
from recipes.optim import make_optimizer, set_lr
from recipes.priors import Ledger

TEXTS = ["a good plot", "Bad acting, not good!", "", "film", "é 漢 \x00 👍", "zzz " * 30, "the actor", "bad bad"]
TARGETS = np.array([0, 1, 2, 0, 1, 2, 0, 1])
KINDS = ("bert", "distilbert", "roberta")
ADAMW = {"_target_": "torch.optim.AdamW", "lr": 0.1, "weight_decay": 0.01, "l1": 0.0, "decay": "weights"}


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {kind: make_directory(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


class Case:
    """The texts above, encoded as a model with these settings asks, and the model."""

    def __init__(self, path: str, seed: int = 0, **settings: Any) -> None:
        self.settings = {"_target_": "recipes.models.Pretrained", "path": path, **settings}
        self.needs = Pretrained.needs(self.settings)
        self.encoder, store, self.notes = PieceEncoder.fit(pl.Series(TEXTS), Features(), self.needs)
        self.facts = Facts("multiclass", "text", ("a", "b", "c"), np.array([3, 3, 2]), len(TEXTS), **self.encoder.facts())
        self.split = TrainSplit("train", store, TARGETS, num_classes=3)
        torch.manual_seed(seed)
        model = build(Model, self.settings, "model", facts=self.facts.as_dict())
        assert isinstance(model, Pretrained)
        self.model = model

    def batch(self, rows: list[int] | None = None) -> Batch:
        return self.split.batch(np.array(range(len(TEXTS)) if rows is None else rows))

    def step(self, batch: Batch | None = None) -> None:
        batch = self.batch() if batch is None else batch
        self.model.zero_grad()
        functional.cross_entropy(self.model(batch), batch.targets).backward()
        with torch.no_grad():
            for p in self.model.parameters():
                if p.grad is not None:
                    p.sub_(0.1 * p.grad)


def direct(path: str, text: str, pooling: str) -> torch.Tensor:
    """(H,) features of a text alone, by transformers and tokenizers as their users call them."""
    from tokenizers import Tokenizer
    from transformers import AutoModel

    tokenizer = Tokenizer.from_file(f"{path}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(39 if "roberta" in path else 40)
    ids = torch.tensor([tokenizer.encode(text).ids])
    states_SH = AutoModel.from_pretrained(path, local_files_only=True).eval()(input_ids=ids).last_hidden_state[0]
    return states_SH[0] if pooling == "cls" else states_SH.mean(0)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("kind", KINDS)
def test_features_are_those_of_transformers(kind: str, pooling: str, directories: dict[str, str]) -> None:
    case = Case(directories[kind], pooling=pooling)
    model, batch = case.model.eval(), case.batch()
    features_BH = model.encode(model.embed(batch), batch)
    expected_BH = torch.stack([direct(directories[kind], text, pooling) for text in TEXTS])
    torch.testing.assert_close(features_BH, expected_BH, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(batch), model.head(expected_BH), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_sees_neither_padding_nor_others(kind: str, directories: dict[str, str]) -> None:
    case = Case(directories[kind])
    case.step()
    model = case.model.eval()
    together = model(case.batch())
    alone = torch.cat([model(case.batch([i])) for i in range(len(TEXTS))])
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-5)
    batch = case.batch()
    hidden_BSE = model.embed(batch)
    assert batch.lengths_B is not None
    for hidden_SE, length in zip(hidden_BSE, batch.lengths_B.tolist(), strict=True):
        assert not hidden_SE[length + 2 :].any()
    wide = case.batch([0, 3])
    assert wide.tokens_BT is not None
    wide.tokens_BT = functional.pad(wide.tokens_BT, (0, 5))
    torch.testing.assert_close(model(wide), together[[0, 3]], rtol=1e-5, atol=1e-5)


def test_every_trained_weight_has_a_gradient_and_the_seed_decides(directories: dict[str, str]) -> None:
    def run() -> tuple[Case, torch.Tensor]:
        case = Case(directories["bert"])
        case.model.train()
        case.step()
        return case, case.model.eval()(case.batch())

    case, first = run()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in case.model.parameters())
    assert torch.equal(first, run()[1])


def test_mixtures(directories: dict[str, str]) -> None:
    case = Case(directories["bert"])
    model, rows, partners = case.model.eval(), np.arange(6), np.arange(6) + 2

    def mixed(a: float, b: float, swap: bool = False) -> Batch:
        mix = np.tile(np.array([a, b], np.float32), (6, 1))
        return case.split.batch(*((partners, rows, mix[:, ::-1].copy()) if swap else (rows, partners, mix)))

    plain = model(case.split.batch(rows))
    torch.testing.assert_close(model(mixed(1, 0)), plain, rtol=1e-5, atol=1e-5)
    batch = mixed(0.7, 0.3)
    assert batch.partner is not None
    hidden = 0.7 * model.embed(batch) + 0.3 * model.embed(batch.partner)
    torch.testing.assert_close(model(batch), model.classify(hidden, batch), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(model(batch), plain, atol=1e-3)
    torch.testing.assert_close(model(batch), model(mixed(0.7, 0.3, swap=True)), rtol=1e-5, atol=1e-5)
    batch.mix_at = "hidden"
    first, second = (model.encode(model.embed(b), b) for b in (replace(batch, partner=None), batch.partner))
    torch.testing.assert_close(model(batch), model.head(0.7 * first + 0.3 * second), rtol=1e-5, atol=1e-5)


def test_bf16_autocast_and_float64(directories: dict[str, str]) -> None:
    case = Case(directories["bert"])
    model, batch = case.model.eval(), case.batch()
    single = model(batch)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(batch)
    torch.testing.assert_close(rough.float(), single, rtol=0.1, atol=0.1)
    torch.testing.assert_close(model.double()(batch).float(), single, rtol=1e-4, atol=1e-5)


def test_frozen_only_the_head_learns(directories: dict[str, str]) -> None:
    case = Case(directories["bert"], freeze=True)
    before = {name: p.detach().clone() for name, p in case.model.named_parameters()}
    case.model.train()
    assert torch.equal(case.model.encoder(inputs_embeds=case.model.embed(case.batch())).last_hidden_state,
                       case.model.encoder(inputs_embeds=case.model.embed(case.batch())).last_hidden_state)  # fmt: skip
    case.step()
    changed = {name for name, p in case.model.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {"head.weight", "head.bias"}


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_the_top_layers_alone_learn(kind: str, directories: dict[str, str]) -> None:
    model = Case(directories[kind], top_layers=1).model
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {name for name, _ in model.named_parameters() if ".layer.1." in name or name.startswith("head.")}


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_rates_fall_from_layer_to_layer(kind: str, directories: dict[str, str]) -> None:
    model = Case(directories[kind], layer_decay=0.5).model
    optimizer = make_optimizer(ADAMW, model)
    rate_of = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, p in model.named_parameters():
        expected = 0.1 if ".layer.1." in name or name.startswith("head.") else 0.05 if ".layer.0." in name else 0.025
        assert rate_of[id(p)] == pytest.approx(expected), name
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)  # what the log shows
    set_lr(optimizer, 0.5)
    assert {round(group["lr"], 6) for group in optimizer.param_groups} == {0.05, 0.025, 0.0125}
    decays = {
        name: group["weight_decay"]
        for group in optimizer.param_groups
        for p in group["params"]
        for name, q in model.named_parameters()
        if p is q
    }
    assert {decay for name, decay in decays.items() if name.endswith("bias")} == {0.0}
    assert decays["head.weight"] == pytest.approx(0.01)


def test_the_penalty_follows_the_rate_of_each_layer(directories: dict[str, str]) -> None:
    model = Case(directories["bert"], layer_decay=0.5).model
    optimizer = make_optimizer({"_target_": "torch.optim.SGD", "lr": 0.1, "l1": 0.2, "decay": "weights"}, model)
    watched = {
        rate: next(p for n, p in model.named_parameters() if part in n)
        for rate, part in ((0.1, "layer.1.intermediate.dense.weight"), (0.05, "layer.0.intermediate.dense.weight"))
    }
    before = {rate: p.detach().clone() for rate, p in watched.items()}
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for rate, p in watched.items():
        torch.testing.assert_close(p.detach(), functional.softshrink(before[rate], rate * 0.2))


@pytest.mark.parametrize(("pooling", "kind"), [("cls", "bert"), ("mean", "bert"), ("cls", "distilbert")])
def test_attention(pooling: str, kind: str, directories: dict[str, str]) -> None:
    from transformers import AutoModel

    case = Case(directories[kind], pooling=pooling)
    batch, model = case.batch(), case.model.eval()
    before = model(batch)
    weights_BT = model.attention(batch)
    assert batch.tokens_BT is not None
    assert weights_BT.shape == batch.tokens_BT.shape
    torch.testing.assert_close(weights_BT.sum(1), torch.tensor([float(bool(n)) for n in batch.lengths_B.tolist()]))  # type: ignore[union-attr]
    assert not weights_BT[batch.tokens_BT == 0].any()
    torch.testing.assert_close(model(batch), before, rtol=0, atol=0)  # the usual kernel is back
    theirs = AutoModel.from_pretrained(directories[kind], attn_implementation="eager").eval()
    ids = torch.tensor([[2, *(i - 2 for i in batch.tokens_BT[0].tolist() if i), 3]])
    last_SS = theirs(input_ids=ids, output_attentions=True).attentions[-1][0].mean(0)
    row_T = (last_SS[0] if pooling == "cls" else last_SS.mean(0))[1:-1]
    torch.testing.assert_close(weights_BT[0, : len(row_T)], row_T / row_T.sum(), rtol=1e-4, atol=1e-6)


def test_the_encoder_reads_what_the_directory_says(directories: dict[str, str]) -> None:
    case = Case(directories["bert"])
    pieces = list(wordpiece()["model"]["vocab"])
    assert case.facts.vocabulary == ("", "<unk>", *pieces)
    assert case.encoder.tokens(pl.Series(["Acting, not", "", "a"])) == [["act", "##ing", "[UNK]", "not"], [], ["a"]]
    assert case.needs.max_length == 38  # 40 positions, [CLS] and [SEP]
    assert "zzz" not in pieces
    assert case.split.store.lengths.tolist()[5] == 38
    assert case.notes == ["train: 1 texts are longer than 38 tokens (all that the model reads) and were cut there"]
    assert Case(directories["roberta"]).needs.max_length == 37  # the first row of its positions is for padding
    assert Case(directories["bert"], max_length=10).split.store.lengths.max() == 8
    _, _, notes = PieceEncoder.fit(pl.Series(TEXTS), Features(tokenizer="char", max_length=5), case.needs)
    assert "longer than 5 tokens (features.max_length)" in notes[0]
    assert notes[1].startswith("features.tokenizer: not read")
    again = load_encoder(json.loads(json.dumps(case.encoder.state()[0])), {})
    np.testing.assert_array_equal(again.encode(pl.Series(TEXTS)).store.tensors["ids"], case.split.store.tensors["ids"])


def test_large_batches_are_read_in_parts_in_evaluation(directories: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(directories["bert"])
    model, batch, seen = case.model.eval(), case.batch(), []
    expected = model(batch)
    usual = model.encode
    monkeypatch.setattr(model, "encode", lambda hidden, part: seen.append(len(part)) or usual(hidden, part))
    monkeypatch.setattr("recipes.models.pretrained._POSITIONS", 3 * 38)
    with torch.no_grad():
        torch.testing.assert_close(model(batch), expected, rtol=1e-5, atol=1e-5)
        assert seen == [3, 3, 2]
        model.train()(batch)
    assert seen == [3, 3, 2, 8]  # the masks of dropout are those of the pass with gradients that follows


def test_a_text_that_edits_made_too_long_is_cut(directories: dict[str, str]) -> None:
    case = Case(directories["bert"])
    model, batch = case.model.eval(), case.batch([5])
    expected = model(batch)
    assert batch.tokens_BT is not None
    assert batch.lengths_B is not None
    longer = replace(batch, tokens_BT=functional.pad(batch.tokens_BT, (0, 9), value=7), lengths_B=batch.lengths_B + 9)
    torch.testing.assert_close(model(longer), expected)
    assert model.attention(longer).shape == (1, 47)


def test_a_saved_model_needs_no_directory(directories: dict[str, str], tmp_path: Path) -> None:
    path = str(shutil.copytree(directories["bert"], tmp_path / "encoder"))
    case = Case(path, layer_decay=0.9)
    case.step()
    shares = np.bincount(TARGETS) / len(TARGETS)
    data = Dataset(case.facts, case.split, None, None, case.encoder, [], {"text": "text", "dtypes": {"text": "String"}}, {})
    bundle = bundle_of(case.model, case.settings, data, case.needs, Readout(Ledger("multiclass", shares, shares)), {})
    save_bundle(tmp_path / "model", bundle)
    expected = case.model.eval()(case.batch())
    shutil.rmtree(path)
    raw = Predictor.load(tmp_path / "model").score(TEXTS)
    torch.testing.assert_close(torch.from_numpy(raw), expected, rtol=1e-5, atol=1e-5)


def test_weights_that_are_missing_are_said(directories: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from safetensors.torch import load_file, save_file

    path = shutil.copytree(directories["bert"], tmp_path / "encoder")
    weights = {name: w for name, w in load_file(path / "model.safetensors").items() if "layer.1.output.dense" not in name}
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    with caplog.at_level(logging.WARNING):
        Case(str(path))
    assert "has no weights for encoder.layer.1.output.dense.bias" in caplog.text


MISTAKES = {
    "nothing": ({"path": None}, "add model.path=<directory>"),
    "a name of the hub": ({"path": "bert-base-uncased"}, r"never from the network.*hf download bert-base-uncased --local-dir"),
    "too long": ({"max_length": 41}, "the encoder has 40 positions; give at most 40"),
    "too short": ({"max_length": 2}, "leaves no room beside the 2 tokens"),
    "frozen and decayed": ({"freeze": True, "layer_decay": 0.5}, r"model\.layer_decay: with model\.freeze=true no layer is trained"),
    "frozen and not": ({"freeze": True, "top_layers": 1}, r"model\.top_layers: with model\.freeze=true"),
    "more layers than there are": ({"top_layers": 3}, "3 was asked for, and the encoder has 2"),
    "a bias that is not": ({"head": "cosine", "bias_init": "prior"}, "a cosine head has none"),
}


@pytest.mark.parametrize(("changed", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(changed: dict[str, Any], message: str, directories: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=message):
        Case(**{"path": directories["bert"], **changed})


@pytest.mark.parametrize(("kind", "message"), [("fnet", "does not take attention_mask"), ("t5", "is an encoder with a decoder")])
def test_models_that_are_no_encoders_of_this_form(kind: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        Case(make_directory(tmp_path, kind))


def test_layers_that_share_their_weights_have_no_rates_of_their_own(tmp_path: Path) -> None:
    path = make_directory(tmp_path, "albert", embedding_size=16)
    assert Case(path).model.lr_scales() == {}
    with pytest.raises(ConfigError, match=r"model\.layer_decay: the layers of this albert are not told apart"):
        Case(path, layer_decay=0.9)


def test_directories_that_cannot_be_used(directories: dict[str, str], tmp_path: Path) -> None:
    def spoilt(name: str, **contents: str | None) -> str:
        folder = shutil.copytree(directories["bert"], tmp_path / name)
        for file, content in contents.items():
            target = folder / file.replace("_", ".")
            target.unlink() if content is None else target.write_text(content, encoding="utf-8")
        return str(folder)

    many = wordpiece()
    many["model"]["vocab"] |= {f"more{i}": 66 + i for i in range(200)}
    bare = wordpiece() | {"post_processor": None}
    expected = {
        spoilt("no tokenizer", tokenizer_json=None): "there is no tokenizer.json",
        spoilt("bad tokenizer", tokenizer_json="{}"): "is not a tokenizer.json",
        spoilt("no config", config_json=None): "there is no config.json",
        spoilt("bad config", config_json='{"model_type": "nothing"}'): "cannot read the config.json",
        spoilt("no weights", model_safetensors=None): "the weights in .* cannot be loaded",
        spoilt("other tokenizer", tokenizer_json=json.dumps(many)): "they are not a pair",
        spoilt("no first token", tokenizer_json=json.dumps(bare)): r"model\.pooling: 'cls'",
    }
    for path, message in expected.items():
        with pytest.raises(ConfigError, match=message):
            Case(path)
    assert Case(spoilt("mean of bare", tokenizer_json=json.dumps(bare)), pooling="mean").model.eval()  # an empty text has no token at all


def test_the_command_from_end_to_end(directories: dict[str, str], tmp_path: Path, train_here: Callable[..., float]) -> None:
    rng = np.random.default_rng(0)
    rows = [("pos" if i % 3 else "neg", " ".join(rng.permutation(["good" if i % 3 else "bad", "film", "plot", "the"]))) for i in range(60)]
    pl.DataFrame(rows, schema=["label", "text"], orient="row").write_csv(tmp_path / "texts.csv")
    path = str(shutil.copytree(directories["bert"], tmp_path / "encoder"))
    chosen = [
        "data=file",
        f"data.path={tmp_path / 'texts.csv'}",
        f"data.cache={tmp_path / 'cache'}",
        "model=pretrained",
        f"model.path={path}",
    ]
    chosen += ["model.layer_decay=0.8", "augment=random_swap", "trainer.batch_size=8", "trainer.accumulate=2", "optimizer=adamw"]
    score = train_here(
        tmp_path / "run",
        *chosen,
        "optimizer.lr=0.005",
        "trainer.max_steps=40",
        "scheduler=linear",
        "trainer.device=cpu",
        "trainer.precision=fp32",
    )
    assert score > 0.9
    shutil.rmtree(path)
    predictor = Predictor.load(tmp_path / "run")
    assert predictor.predict(["good the film", "bad plot"]) == ["pos", "neg"]
    explained, empty = predictor.explain(["good the film", ""])
    assert [token for token, _ in explained] == ["good", "t", "##h", "##e", "film"]
    assert sum(weight for _, weight in explained) == pytest.approx(1)
    assert empty == []
