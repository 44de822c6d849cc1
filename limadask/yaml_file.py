"""Files in YAML: plain data, and nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from limadask.errors import ConfigError

_NO_YAML = (
    yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, RecursionError
)  # fmt: skip
"""What PyYAML raises: its own, and what its constructors stumble over (``2026-02-30``)."""
_MERGE = "tag:yaml.org,2002:merge"


def read(path: str | Path) -> Any:
    """Read a YAML file.

    Raises
    ------
    ConfigError
        When it cannot be read, or is no valid YAML.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot be read: {error}", node="file", field="path", value=str(path),
            allowed="a file in UTF-8 that can be read",
        ) from error  # fmt: skip
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader that refuses double keys
    except _NO_YAML as error:
        raise ConfigError(
            f"no valid YAML: {error}", node="file", field="path", value=str(path),
            allowed="plain YAML, each name once",
        ) from error  # fmt: skip


class _Loader(yaml.SafeLoader):
    """Loads plain data only, and refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping."""
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str):
                if key in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"{key!r} stands twice", problem_mark=key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)
