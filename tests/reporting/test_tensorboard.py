"""Event files read back with TensorBoard's own reader."""

from __future__ import annotations

import numpy as np
import pytest

from recipes.errors import CheckpointError
from recipes.reporting import Figures, TensorBoard

from .conftest import NAMES, Played


def read(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"tensors": 0, "images": 0, "scalars": 0})
    events.Reload()
    return events


def steps(events, tag):
    return [event.step for event in events.Scalars(tag)]


def test_scalars_of_training_and_evaluation(played, tmp_path):
    played.tell(TensorBoard(figures=False))
    events = read(tmp_path)
    for tag in ("train/loss", "optimizer/lr", "speed/rows_per_second"):
        assert steps(events, tag) == list(range(5, 51, 5))
    assert steps(events, "optimizer/grad_norm") == list(range(10, 51, 5))  # the first point had none
    assert [event.value for event in events.Scalars("train/loss")] == pytest.approx([1 / step for step in range(5, 51, 5)])
    metrics = played.evaluations["val"].metrics
    for name, value in metrics.items():
        assert steps(events, f"val/{name}") == [10, 20, 30, 40, 50]
        assert events.Scalars(f"val/{name}")[0].value == pytest.approx(value)
    assert events.Scalars("final_test/f1_macro")[0].value == pytest.approx(played.evaluations["test"].metrics["f1_macro"])


def test_undefined_scores_are_left_out(tmp_path):
    played = Played(tmp_path)
    played.evaluations["val"].metrics["kappa"] = float("nan")
    played.tell(TensorBoard(figures=False), until=10)
    assert "val/kappa" not in read(tmp_path).Tags()["scalars"]


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("weighted", [False, True])
def test_pr_curves_at_each_evaluation(tmp_path, task, weighted):
    from tensorboard.util import tensor_util

    played = Played(tmp_path, task, weighted)
    played.tell(TensorBoard(figures=False))
    events = read(tmp_path)
    per_class = played.evaluations["val"].per_class
    drawn = [name for name in (NAMES[task][1:] if task == "binary" else NAMES[task]) if per_class[name]["support"]]
    assert [tag for tag in events.Tags()["tensors"] if tag.startswith("pr_val/")] == [f"pr_val/{name}" for name in drawn]
    for name in drawn:
        curve = events.Tensors(f"pr_val/{name}")
        assert [event.step for event in curve] == [10, 20, 30, 40, 50]
        true_positives, *_, recall = tensor_util.make_ndarray(curve[0].tensor_proto)
        assert true_positives[0] == pytest.approx(per_class[name]["support"], rel=1e-4)
        assert recall[0] == pytest.approx(1, rel=1e-4)


def test_settings_are_obeyed(tmp_path):
    Played(tmp_path / "few").tell(TensorBoard(figures=False, max_classes=1))
    assert [tag for tag in read(tmp_path / "few").Tags()["tensors"] if tag.startswith("pr_val/")] == ["pr_val/common [sort]"]
    Played(tmp_path / "none").tell(Figures(), TensorBoard(figures=False, curves=False))
    assert read(tmp_path / "none").Tags()["tensors"] == ["config/text_summary"]
    assert read(tmp_path / "none").Tags()["images"] == []


def test_pictures_config_and_hparams(played, tmp_path):
    played.tell(Figures(), TensorBoard())
    events = read(tmp_path)
    assert events.Tags()["images"] == [
        f"final/{name}" for name in ("class_distribution", "test_confusion", "test_pr_curves", "test_roc_curves")
    ]
    image = events.Images("final/test_confusion")[0]
    assert image.encoded_image_string == (tmp_path / "figures" / "test_confusion.png").read_bytes()
    assert image.width > 300
    text = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "model=textcnn loss=focal" in text
    assert "gamma: 2.0" in text

    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    plugin = events.PluginTagToContent("hparams")
    started = HParamsPluginData.FromString(plugin["_hparams_/session_start_info"]).session_start_info.hparams
    assert started["model"].string_value == "TextCNN"
    assert started["loss.gamma"].number_value == 2.0
    assert started["trainer.compile"].string_value == "false"
    experiment = HParamsPluginData.FromString(plugin["_hparams_/experiment"]).experiment
    shown = {metric.name.tag for metric in experiment.metric_infos}
    assert {"final_val/f1_macro", "final_test/pr_auc"} <= shown <= set(events.Tags()["scalars"])


def test_a_resumed_run_hides_what_was_logged_beyond_its_checkpoint(played, tmp_path):
    played.tell(TensorBoard(figures=False), until=35, end=False)
    played.tell(TensorBoard(figures=False), resumed=20)
    events = read(tmp_path)
    assert steps(events, "train/loss") == list(range(5, 51, 5))
    assert steps(events, "val/f1_macro") == [10, 20, 30, 40, 50]


def test_nothing_is_written_before_there_is_something_to_write(played, tmp_path):
    board = TensorBoard()
    board.start(played.info)
    board.close()
    assert not (tmp_path / "tensorboard").exists()


def test_a_killed_run_keeps_every_log_point(played, tmp_path):
    board = TensorBoard()
    board.start(played.info)
    from recipes.training.events import StepLog

    board.log(StepLog(5, 0.5, 50, 0.25, 1e-3, 1.0, 10.0, 1.0))
    assert read(tmp_path).Scalars("train/loss")[0].value == 0.25  # the file was not closed
    board.close()


def test_a_full_disk_is_an_error_that_names_the_folder(played, tmp_path, monkeypatch):
    board = TensorBoard()
    board.start(played.info)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", full)
    with pytest.raises(CheckpointError, match="tensorboard: No space left on device"):
        board.evaluated(played.evaluations["val"])
    board.close()


def test_scores_that_are_no_numbers_have_no_curve(played, tmp_path):
    import dataclasses

    board = TensorBoard()
    board.start(played.info)
    board.evaluated(dataclasses.replace(played.evaluations["val"], logits=np.full((80, 3), np.nan, dtype=np.float32)))
    board.close()
    assert not [tag for tag in read(tmp_path).Tags()["tensors"] if tag.startswith("pr_val/")]
