"""Rules for names, label keys and label values (RFC 1123 and the Kubernetes additions): problems as text, none is good."""

from __future__ import annotations

import re

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character"
)
_NAME_PART_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)
_MOST_OF_LABEL = 63
_MOST_OF_SUBDOMAIN = 253


def subdomain_problems(name: str) -> list[str]:
    """Judge the name of most objects."""
    if len(name) > _MOST_OF_SUBDOMAIN:
        return [f"must be no more than {_MOST_OF_SUBDOMAIN} bytes"]
    if not _SUBDOMAIN.fullmatch(name):
        return [_SUBDOMAIN_RULE]
    return []


def label_problems(name: str) -> list[str]:
    """Judge the name of a namespace, a service or a container."""
    if len(name) > _MOST_OF_LABEL:
        return [f"must be no more than {_MOST_OF_LABEL} bytes"]
    if not _LABEL.fullmatch(name):
        return [_LABEL_RULE]
    return []


def label_key_problems(key: str) -> list[str]:
    """Judge the key of a label, an annotation or a taint."""
    prefix, slash, name = key.rpartition("/")
    if slash and (not prefix or "/" in prefix or subdomain_problems(prefix)):
        return ["prefix part must be a lowercase RFC 1123 subdomain"]
    if not name:
        return ["name part must be non-empty"]
    if len(name) > _MOST_OF_LABEL:
        return [f"name part must be no more than {_MOST_OF_LABEL} bytes"]
    if not _QUALIFIED.fullmatch(name):
        return [_NAME_PART_RULE]
    return []


def label_value_problems(value: str) -> list[str]:
    """Judge the value of a label or a taint."""
    if len(value) > _MOST_OF_LABEL:
        return [f"must be no more than {_MOST_OF_LABEL} bytes"]
    if value and not _QUALIFIED.fullmatch(value):
        return [_VALUE_RULE]
    return []
