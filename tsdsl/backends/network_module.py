"""A frozen network as an `nn.Module`: the class that its emitted source defines."""

from __future__ import annotations

import hashlib
import linecache
import re
import sys
from types import ModuleType

from torch import nn

from tsdsl.backends.emit import emit_module
from tsdsl.ir.network import Network


def build(network: Network) -> nn.Module:
    """An `nn.Module` that holds no reference to tsdsl.

    The emitted source is run as a module of its own, whose name is made from the network's name and
    a digest of the source. The module is registered in `sys.modules` and `linecache`, so that
    copying, pickling within the process, tracebacks and `inspect.getsource` work. Parameters are
    created on torch's current default device and dtype.
    """
    emitted = emit_module(network)
    module = _module(network.name, emitted.text)
    made = getattr(module, emitted.class_name)()
    assert isinstance(made, nn.Module)
    return made


def _module(name: str, text: str) -> ModuleType:
    """Run source as an imported module. The same source gives the same module."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    plain = re.sub(r"\W", "_", name, flags=re.ASCII).lower()
    full = f"tsdsl_network_{plain}_{digest}"
    known = sys.modules.get(full)
    if known is not None:
        return known
    file = f"<{full}>"
    module = ModuleType(full, f"Emitted from {name}.")
    module.__file__ = file
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    sys.modules[full] = module
    try:
        exec(compile(text, file, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[full]
        raise
    return module
