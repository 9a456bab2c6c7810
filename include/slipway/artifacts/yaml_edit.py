"""Change single values of a YAML text and leave every other character as it is.

Parsing and writing a whole document again would reformat it: numbers lose digits, long lines break elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import yaml


def set_value(text: str, path: Sequence[str], value: str) -> str:
    """Set one key of a nested mapping.

    Args:
        text: a YAML document that is a mapping.
        path: keys from the top; all but the last have to exist and hold mappings.
        value: the new value as YAML on one line.

    Returns:
        The text with the value replaced, or with the key added as the first one of its mapping.

    Raises:
        KeyError: the path does not lead to a mapping.
    """
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for key in path[:-1]:
        node = _find(node, key)
    if not isinstance(node, yaml.MappingNode):
        raise KeyError(".".join(path))
    try:
        old = _find(node, path[-1])
    except KeyError:
        return _insert(text, node, f"{path[-1]}: {value}")
    return text[: old.start_mark.index] + value + text[old.end_mark.index :]


def _find(node: yaml.Node | None, key: str) -> yaml.Node:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    for name, value in pairs:
        if name.value == key and not value.start_mark.index < name.start_mark.index:  # an alias stands elsewhere
            return value  # type: ignore[no-any-return]
    raise KeyError(key)


def _insert(text: str, node: yaml.MappingNode, line: str) -> str:
    start: int = node.start_mark.index
    if node.flow_style:
        return f"{text[: start + 1]}{line}{', ' if node.value else ''}{text[start + 1 :]}"
    first = node.value[0][0].start_mark
    line_end = "\r\n" if "\r\n" in text else "\n"
    return f"{text[: first.index]}{line}{line_end}{' ' * first.column}{text[first.index :]}"
