"""Configuration files, read strictly: JSON, or YAML without anything that YAML could surprise with.

Refused with one clear sentence: a file too large or nested too deeply, other text than UTF-8, a repeated key, NaN, and
in YAML tags and aliases.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Never

from .errors import ConfigError, UsageError
from .money import parse_decimal
from .settings import shown

FILE_BYTES_MAX = 100_000
"""Larger than any configuration written by hand; a file beyond it is a mistake or an attack."""

YAML_BYTES_MAX = 30_000
"""YAML takes a hundred times longer to read, so its bound is lower."""


def parsed(path: str) -> dict[str, object]:
    """The groups and keys of the file at ``path``: YAML when it is called .yaml or .yml, else JSON.

    Numbers come as ``int`` or ``Decimal`` with the digits that were written. Raises ``ConfigError``.
    """
    if path.endswith((".yaml", ".yml")):
        content = _parsed_yaml(path, _text(path, YAML_BYTES_MAX))
    else:
        content = _parsed_json(path, _text(path, FILE_BYTES_MAX))
    if not isinstance(content, dict):
        raise ConfigError(f"{path} does not hold a group of settings", cure="It must start with { in JSON")
    return content


def _text(path: str, bytes_max: int) -> str:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{path} is not a file")
        if status.st_size > bytes_max:
            raise ConfigError(f"{path} has {status.st_size:,} bytes, more than the {bytes_max:,} of any configuration")
        with open(path, encoding="utf-8-sig") as file:
            return file.read(bytes_max + 1)
    except FileNotFoundError:
        raise ConfigError(f"There is no configuration file {path}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


def _parsed_json(path: str, text: str) -> object:
    def pairs(found: Sequence[tuple[str, object]]) -> dict[str, object]:
        _refuse_repeats(path, [key for key, _ in found])
        return dict(found)

    def constant(name: str) -> Never:
        raise ConfigError(f"{path}: {name} is not a number", cure="Leave the key out for the default")

    try:
        return json.loads(text, parse_float=Decimal, parse_constant=constant, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        where = f"{path}: line {error.lineno}, column {error.colno}"
        raise ConfigError(f"{where}: {error.msg}", cure="Mend the JSON") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply") from None
    except ValueError as error:  # an integer with more digits than Python reads
        raise ConfigError(f"{path}: {error}") from None


def _parsed_yaml(path: str, text: str) -> object:
    import yaml

    class Loader(yaml.SafeLoader):
        """The safe loader without aliases (a few lines of them make gigabytes), repeated keys and floats."""

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            if self.check_event(yaml.AliasEvent):
                raise ConfigError(f"{path} uses an alias, which is not accepted", cure="Write the value out")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            for key in keys:
                if not isinstance(key, str):
                    raise ConfigError(f"{path}: line {node.start_mark.line + 1}: the key {shown(key)} is not text")
            _refuse_repeats(path, keys)
            return super().construct_mapping(node, deep=deep)

        def exact(self, node: yaml.ScalarNode) -> Decimal:
            return parse_decimal(str(self.construct_scalar(node)))

    Loader.add_constructor("tag:yaml.org,2002:float", Loader.exact)
    try:
        return yaml.load(text, Loader=Loader)  # noqa: S506 (a safe loader, made stricter)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"{path}: line {line}: {said}", cure="Mend the YAML") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())[:200]}", cure="Mend the YAML") from None
    except UsageError as error:
        raise error if isinstance(error, ConfigError) else ConfigError(f"{path}: {error.message}") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


def _refuse_repeats(path: str, keys: Sequence[str]) -> None:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise ConfigError(f"{path}: {shown(key)} is given twice", cure="Keep one of them")
        seen.add(key)


def filled(value: object, environ: Mapping[str, str], where: str, used: list[str]) -> object:
    """``value`` with every ``${NAME}`` in its text replaced from the environment; ``$${`` stays a plain ``${``."""
    if isinstance(value, list):
        return [filled(part, environ, where, used) for part in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    result, rest = "", value
    while "${" in rest:
        before, _, after = rest.partition("${")
        if before.endswith("$"):
            result, rest = f"{result}{before[:-1]}${{", after
            continue
        name, closed, rest = after.partition("}")
        if not closed or not name.isidentifier():
            raise ConfigError(f"{where}: ${{ begins no variable name", cure="Write ${NAME}, or $${ for a plain ${")
        if name not in environ:
            raise ConfigError(f"{where}: the environment variable {name} is not set", cure=f"Set it: export {name}=...")
        used.append(name)
        result += before + environ[name]
    return result + rest
