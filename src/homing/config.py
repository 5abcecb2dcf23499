"""Settings: flag over environment over file over default, each with its source."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from homing.errors import InputError

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

__all__ = ["FILE", "LOG_LEVELS", "Settings", "chosen_device", "default_cache_dir", "load", "log_level", "no_telemetry"]

FILE = "homing.toml"
PREFIX = "HOMING_"
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
EngineName = Literal["auto", "llamacpp", "torch"]
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
LogLevel = Literal["debug", "info", "warning", "error"]
LOG_LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, as resolved.

    Attributes:
        values: by name. ``sources``: by name, in words: ``flag``, ``environment``, a file's path, or ``default``.
    """

    values: Mapping[str, Any]
    sources: Mapping[str, str]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def export(self, environ: MutableMapping[str, str] = os.environ) -> None:
        """Write the values into ``HOMING_*``, so that rooms below and child processes see the same."""
        for name, value in self.values.items():
            if value is not None:
                environ[_variable(name)] = str(value)


def default_cache_dir() -> Path:
    """Where models written for an engine are kept unless told otherwise: ``HOMING_CACHE``, else the user's cache directory."""
    import platformdirs

    return Path(os.environ.get("HOMING_CACHE") or platformdirs.user_cache_dir("homing"))


def chosen_device(given: str | None = None) -> str:
    """Where torch runs a model: as given, else ``HOMING_DEVICE``, else ``auto``: an NVIDIA or AMD GPU where there is one.

    Raises:
        InputError: it names no device.
    """
    wanted = given or os.environ.get(_variable("device")) or "auto"
    if not _DEVICE.fullmatch(wanted):
        raise InputError(f"device {wanted!r} is unknown; use auto, cpu, cuda, or one of several such as cuda:1")
    return wanted


def no_telemetry(environ: MutableMapping[str, str] = os.environ) -> None:
    """Switch off the hub client's telemetry; call before it is imported."""
    environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    environ["DO_NOT_TRACK"] = "1"


def _variable(name: str) -> str:
    return "HOMING_CACHE" if name == "cache_dir" else PREFIX + name.upper()


def _schema() -> type[BaseSettings]:
    """The settings' types and defaults; built on demand, so that importing this module stays light."""
    from pydantic import AliasChoices, Field
    from pydantic_settings import BaseSettings, SettingsConfigDict

    class Schema(BaseSettings):
        model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", populate_by_name=True)

        model: str = "smollm2"
        engine: EngineName = "auto"
        dtype: Dtype = "auto"
        device: str = Field(default="auto", pattern=f"^({_DEVICE.pattern})$")
        threads: int | None = Field(default=None, ge=1, le=1024)
        slots: int | None = Field(default=None, ge=1, le=4096)
        cache_dir: Path = Field(default_factory=default_cache_dir, validation_alias=AliasChoices("HOMING_CACHE"))
        identity: Path | None = None
        preset: Literal["smoke", "standard", "full"] = "standard"
        seed: int = Field(default=0, ge=0)
        log_level: LogLevel = "warning"

    return Schema


def _find_file(cwd: Path) -> Path | None:
    import platformdirs

    for directory in (cwd, Path(platformdirs.user_config_dir("homing"))):
        if (directory / FILE).is_file():
            return directory / FILE
    return None


def _read_file(path: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
        raw = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"{path} cannot be read: {e}") from None
    except tomllib.TOMLDecodeError as e:
        raise InputError(f"{path} is not valid TOML: {e}") from None
    for key in raw:
        if key not in known:
            raise InputError(
                f"{path}, line {_line(text, key)}: unknown setting {key!r}; known are {', '.join(sorted(known))}"
            )
    return raw


def _line(text: str, key: str) -> int:
    pattern = re.compile(rf"\s*(\[+\s*)?[\"']?{re.escape(key)}[\"']?\s*[=.\]]")
    return next((i for i, line in enumerate(text.splitlines(), 1) if pattern.match(line)), 1)


def log_level(flag: str | None = None, *, cwd: Path | None = None) -> LogLevel:
    """The level of the log alone, by the same precedence: it must act before any command runs, help and all.

    A wrong name, or a file that cannot be read, is passed over here; :func:`load` refuses it where settings are used.
    """
    value: Any = flag or os.environ.get(_variable("log_level"))
    if value is None:
        file = _find_file(cwd or Path.cwd())
        try:
            value = tomllib.loads(file.read_text("utf-8")).get("log_level") if file else None
        except (OSError, ValueError):
            value = None
    return value if value in LOG_LEVELS else "warning"


def load(flags: Mapping[str, Any] | None = None, *, cwd: Path | None = None) -> Settings:
    """Resolve every setting.

    Args:
        flags: what the command line gave, by setting name; None means not given.
        cwd: where ``homing.toml`` is looked for first (then the user's configuration directory).

    Raises:
        InputError: an unknown key, or a value of the wrong kind; names file and line, variable or flag.
    """
    from pydantic import ValidationError
    from pydantic_settings import EnvSettingsSource

    schema = _schema()
    known = schema.model_fields
    file = _find_file(cwd or Path.cwd())
    from_file = _read_file(file, known) if file else {}
    from_env = {("cache_dir" if k == "HOMING_CACHE" else k): v for k, v in EnvSettingsSource(schema)().items()}
    from_flag = {k: v for k, v in (flags or {}).items() if v is not None}
    merged = {**from_file, **from_env, **from_flag}

    def source(name: str) -> str:
        if name in from_flag:
            return "flag"
        if name in from_env:
            return f"environment ({_variable(name)})"
        return str(file) if name in from_file else "default"

    try:
        # Validation alone: every source has been read above, so the library's own reading must not run again.
        checked = schema.model_validate(merged)
    except ValidationError as e:
        first = e.errors()[0]
        name = str(first["loc"][0])
        name = "cache_dir" if name == "HOMING_CACHE" else name
        where = source(name)
        if file and where == str(file):
            where += f", line {_line(file.read_text('utf-8'), name)}"
        raise InputError(f"setting {name} = {merged.get(name)!r} from {where} is refused: {first['msg']}") from None
    return Settings({n: getattr(checked, n) for n in known}, {n: source(n) for n in known})
