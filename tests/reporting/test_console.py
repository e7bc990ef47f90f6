"""The terminal and train.log: what they show, and that they show the same."""

from __future__ import annotations

import io
import logging
import re
import warnings

import pytest

from recipes.errors import ConfigError
from recipes.reporting import Console


def printed(width: int = 80) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(stream=stream, width=width), stream


def test_messages_go_to_both_as_they_are(tmp_path):
    console, stream = printed(40)
    console.open(tmp_path / "sub" / "train.log")
    message = "path [red]x[/red] :smile: " + "a" * 60 + "\n  second line"
    console.say(message)
    console.say("only in the log", screen=False)
    console.close()
    assert stream.getvalue() == message + "\n"
    log = (tmp_path / "sub" / "train.log").read_text()
    assert re.fullmatch(r"\d\d:\d\d:\d\d " + re.escape(message) + r"\n\d\d:\d\d:\d\d only in the log\n", log)


def test_a_resumed_run_appends(tmp_path):
    for text in ("first", "second"):
        console, _ = printed()
        console.open(tmp_path / "train.log")
        console.say(text)
        console.close()
    assert [line[9:] for line in (tmp_path / "train.log").read_text().splitlines()] == ["first", "second"]


def test_library_records_and_warnings_are_shown_while_it_is_open(tmp_path):
    console, stream = printed()
    console.open(tmp_path / "train.log")
    logger = logging.getLogger("recipes.data.some_room")
    logger.setLevel(logging.DEBUG)
    handlers = list(logging.getLogger("recipes").handlers)
    with console, warnings.catch_warnings():
        warnings.simplefilter("always")
        logger.info("read %d rows", 12)
        logger.warning("an odd thing")
        logger.debug("not shown")
        warnings.warn("old option", UserWarning, stacklevel=1)
        try:
            raise ZeroDivisionError("inside a library")
        except ZeroDivisionError:
            logger.exception("it broke")
    logger.warning("after the end")
    log = (tmp_path / "train.log").read_text()
    for text in (stream.getvalue(), log):
        assert "read 12 rows" in text
        assert "warning: an odd thing" in text
        assert "UserWarning: old option" in text
        assert "error: it broke" in text
        assert "ZeroDivisionError: inside a library" in text
        assert "not shown" not in text
        assert "after the end" not in text
    assert logging.getLogger("recipes").handlers == handlers


def test_a_bug_leaves_its_traceback_in_the_log_and_a_mistake_its_message(tmp_path):
    console, stream = printed()
    console.open(tmp_path / "train.log")
    try:
        raise KeyError("no such thing")
    except KeyError as error:
        console.failure(error)
    console.failure(ConfigError("loss.gama: unknown; did you mean 'loss.gamma'?"))
    console.close()
    for text in (stream.getvalue(), (tmp_path / "train.log").read_text()):
        assert "Traceback" in text
        assert "test_a_bug_leaves_its_traceback" in text
        assert "KeyError: 'no such thing'" in text
        assert text.endswith("Error: loss.gama: unknown; did you mean 'loss.gamma'?\n")


def test_failures_go_to_stderr(capsys):
    Console().failure(ConfigError("wrong"))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "Error: wrong\n")


class FullDisk(io.StringIO):
    def flush(self) -> None:
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        self.flush()


def test_a_full_disk_ends_the_log_and_not_the_run(tmp_path, monkeypatch):
    console, stream = printed()
    console.open(tmp_path / "train.log")
    monkeypatch.setattr(console, "_file", FullDisk())
    console.say("one")
    console.say("two")
    assert stream.getvalue().splitlines() == ["one", "warning: train.log is no longer written: No space left on device", "two"]


@pytest.mark.parametrize("no_color", [False, True])
def test_colours_only_where_a_terminal_wants_them(monkeypatch, no_color):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    console, stream = printed()
    console.force_terminal()
    from rich.text import Text

    console.say(Text("x", style="red"))
    assert ("\x1b[31m" in stream.getvalue()) is not no_color
