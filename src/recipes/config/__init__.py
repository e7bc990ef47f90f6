"""From the composed config to checked, plain values, and from those to components. Nothing of OmegaConf leaves this room."""

from recipes.config.build import build, build_plain, check, resolve
from recipes.config.check import check_settings, check_value, fail, settings_of
from recipes.config.duration import Duration

__all__ = ["Duration", "build", "build_plain", "check", "check_settings", "check_value", "fail", "resolve", "settings_of"]
