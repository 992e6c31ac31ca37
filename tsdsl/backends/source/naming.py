"""Names of classes, parameters and variables of an emitted module."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Collection, Iterable

from tsdsl.ir.naming import MODULE_ATTRIBUTES, module_name

#: Names that the emitted module defines or imports.
GLOBALS = frozenset({"torch", "nn", "F", "Tensor", "self", "_initialise", "_half", "i"})

_TAKEN = GLOBALS | frozenset(dir(builtins)) | frozenset(keyword.kwlist) | {"match", "case", "_"}

#: Spelling of terms of the field in class names.
_SPELLING = {
    "mbconv3d": "MBConv3d",
    "se": "SE",
    "glore": "GloRe",
    "x3d": "X3D",
    "nonlocal": "NonLocal",
    "slowfast": "SlowFast",
    "tsnet": "TSNet",
    "resnet": "ResNet",
    "r2plus1d": "R2Plus1d",
    "1x1x1": "1x1x1",
}


def class_name(name: str, taken: Collection[str]) -> str:
    """``x3d_stem`` -> ``X3DStem``, numbered from 2 if it is taken. It begins with a capital and
    does not end with an underscore, so that it never equals a `variable`."""
    if name[:1].isupper() and name[-1] != "_" and module_name(name) == name:
        return unique(name, {*taken, *_TAKEN})
    words = [word for word in module_name(name).split("_") if word]
    if words and words[0] == "underscore":
        words = words[1:]
    found = "".join(_SPELLING.get(word.lower(), word[0].upper() + word[1:]) for word in words)
    if not found or not found.isidentifier():
        found = f"Block{found}"
    return unique(found, {*taken, *_TAKEN})


def variable(name: str) -> str:
    """A spec's name as a Python variable that shadows nothing. A name that begins with a capital
    ends with an underscore, so that it never equals a `class_name`."""
    plain = re.sub(r"[^\x00-\x7f]", lambda match: f"u{ord(match[0]):x}", name).lstrip("_")
    if not plain or not plain[0].isalpha():
        plain = f"x{plain}"
    return f"{plain}_" if plain in _TAKEN or plain[0].isupper() else plain


def unique(name: str, taken: Collection[str]) -> str:
    """The name, or the name with the first number from 2 on that makes it unique."""
    if name not in taken:
        return name
    number = 2
    stem = f"{name}_" if name[-1].isdigit() else name
    while f"{stem}{number}" in taken:
        number += 1
    return f"{stem}{number}"


def attribute(name: str, modules: Iterable[str]) -> str:
    """A name for an attribute that differs from the submodules of a class."""
    return unique(name, {*modules, *MODULE_ATTRIBUTES})
