"""Hydra's and OmegaConf's errors in our words: where, what was given, what is allowed, the nearest fix. Imports no torch."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recipes.errors import did_you_mean, nearest


def explain(error: Exception, argv: list[str], configs: Path) -> str:
    """One screen for an error raised while the config was composed; `argv` is what was typed, `configs` the folder of the groups."""
    text = str(error).strip()
    if type(error).__name__ == "OverrideParseException":
        return _unreadable(str(getattr(error, "override", "")), text)
    if match := re.search(r"Ambiguous value for argument '(.+)'", text):
        return _several(match[1])
    if "Config group override must be a string" in text:
        return _not_an_option(argv, configs)
    if match := re.search(r"Could not override '([^']+)'", text):
        return _unknown_key(match[1], argv, configs)
    if match := re.search(r"Could not find '([^']+)'", text):
        group, _, option = match[1].rpartition("/")
        options = sorted(p.stem for p in (configs / group).glob("*.yaml"))
        if (configs / group).is_dir():
            return f"{group}={option}: there is no such option; {_close_or_all(option, options)}"
    if match := re.search(r"^(\S+) appears more than once in the final defaults list", text):
        return f"{match[1]}: the group is chosen twice; write `{match[1]}=<option>` once, without `+`"
    if "full_key: hydra." in text and "dir" in text:  # the directory of the run could not be made
        return no_run_dir(text.splitlines()[0])
    return re.split(r"\n\s*(?:To append to your config|Set the environment variable|Config search path)", text)[0].strip()


def no_run_dir(why: str) -> str:
    """Hydra makes the directory of a run, or of a sweep, before anything of ours runs."""
    fix = "choose another: hydra.run.dir=<directory> (of a sweep: hydra.sweep.dir)"
    return f"hydra.run.dir: the run directory cannot be written: {why}\n  {fix}"


def quoted(key: str, value: str) -> str:
    """`key=value` as Hydra reads it, whatever characters the value has."""
    escaped = value.replace("\\'", "\\\\'").replace("'", "\\'")
    return f"{key}='{escaped}'"


def _unreadable(override: str, text: str) -> str:
    key, equals, value = override.partition("=")
    if not equals:
        return f"'{override}' is not an override; write key=value, such as trainer.max_epochs=3 or model=textcnn"
    if not re.fullmatch(r"[+~\w][\w./@:+]*", key):
        return f"'{override}': '{key}' is not the name of a setting; write key=value, such as trainer.max_epochs=3"
    good = quoted(key, value.strip("'\"") or "...")
    shown = f'"{good}"' if not re.search(r'[$`"\\!]', good) else shlex.quote(good)
    return (
        f"{override}: Hydra cannot read the value ({text.splitlines()[0]})\n"
        f"  a value with characters such as ; , ( ) {{ }} = # & or letters beyond ASCII stands in quotes, for the shell and for Hydra:\n"
        f"    {shown}"
    )


def _several(override: str) -> str:
    key, _, value = override.partition("=")
    return (
        f"{override}: several values are a sweep, which needs -m\n"
        f"  one run for each:  python train.py -m {override}\n"
        f"  one list:          '{key}=[{value}]'\n"
        f"  one text:          \"{key}='{value}'\""
    )


def _not_an_option(argv: list[str], configs: Path) -> str:
    for argument in argv:
        group, _, option = argument.lstrip("+").partition("=")
        if (configs / group).is_dir() and re.fullmatch(r"null|true|false|[-+.\d]+|\{.*\}", option, re.IGNORECASE):
            options = sorted(p.stem for p in (configs / group).glob("*.yaml"))
            hint = "; leave it out, it is none by default" if group in ("experiment", "debug") and option == "null" else ""
            return f"{argument}: '{group}' takes the name of an option{hint}; allowed: {', '.join(options)}"
    return "a group takes the name of an option, as in model=textcnn"


def _unknown_key(key: str, argv: list[str], configs: Path) -> str:
    known = _known(argv, configs)
    if key in known:
        return f"{key}: `~` on this command line takes its group away; leave out the one or the other"
    head, _, tail = key.rpartition(".")
    siblings = sorted(k.rpartition(".")[2] for k in known if k.rpartition(".")[0] == head and not k.endswith("_target_"))
    close = nearest(tail, siblings)
    if close is None and head not in known and (other := nearest(key, known)):
        return f"{key}: there is no such setting; did you mean '{other}'?"
    if close:
        return f"{key}: there is no such setting; did you mean '{head + '.' if head else ''}{close}'?"
    having = _options_with(head, tail, configs) if head in known else []
    elsewhere = f" (it is one of {', '.join(f'{head}={option}' for option in having)})" if having else ""
    where = f"settings of '{head}' here" if head in known else "settings"
    listed = siblings if head in known else [k for k in known if "." not in k]
    return f"{key}: there is no such setting{elsewhere}; {where}: {', '.join(listed) or 'none'}"


def _options_with(group: str, key: str, configs: Path) -> list[str]:
    """The options of a group whose file has a setting of this name."""
    pattern = re.compile(rf"^{re.escape(key)}:", re.MULTILINE)
    return [p.stem for p in sorted((configs / group).glob("*.yaml")) if pattern.search(p.read_text(encoding="utf-8"))]


def _close_or_all(name: str, options: list[str]) -> str:
    if not options:
        return "the group has no options"
    close = nearest(name, options)
    return f"did you mean '{close}'? ({', '.join(options)})" if close else did_you_mean(name, options)


def _known(argv: list[str], configs: Path) -> list[str]:
    """Every key of the config that the group choices of `argv` compose, or of the default one where they do not."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    choices = [a for a in argv if re.fullmatch(r"[\w/]+=\w+", a) and (configs / a.partition("=")[0]).is_dir()]
    for overrides in (choices, []):
        GlobalHydra.instance().clear()
        try:
            with initialize_config_dir(str(configs), version_base="1.3"):
                config = OmegaConf.to_container(compose("train", overrides=overrides), resolve=False)
        except (HydraException, OmegaConfBaseException, ValueError):
            continue
        return list(_flat(config))
    return []


def _flat(config: Any, prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
