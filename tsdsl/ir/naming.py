"""Names of submodules and keys of state dicts, from paths of the graph.

A user chooses the names in a path; some of them have a meaning in Python or in `torch.nn.Module`
and are escaped. Escaping depends on the one name alone and maps no two names to the same, so that
keys are equal in every architecture, in the supernet and in emitted source.
"""

from __future__ import annotations

import keyword
import re
from functools import cache

from tsdsl.ir.graph import Path

#: Public attributes of `torch.nn.Module` and of its containers, which a submodule must not hide.
#: A test compares the list with torch.
MODULE_ATTRIBUTES = frozenset(
    """
    T_destination add_module append apply bfloat16 buffers call_super_init children clear
    compile cpu cuda double dump_patches eval extend extra_repr float forward get_buffer
    get_extra_state get_parameter get_submodule half insert ipu items keys load_state_dict
    modules mtia named_buffers named_children named_modules named_parameters parameters pop
    register_backward_hook register_buffer register_forward_hook register_forward_pre_hook
    register_full_backward_hook register_full_backward_pre_hook
    register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
    register_parameter register_state_dict_post_hook register_state_dict_pre_hook
    requires_grad_ set_extra_state set_submodule share_memory state_dict to to_empty train
    training type update values xpu zero_grad
    """.split()  # noqa: SIM905
)

_ESCAPED = re.compile(r"_(?=u[0-9a-f]+_)")
_FOREIGN = re.compile(r"[^\x00-\x7f]")


@cache
def module_name(name: str) -> str:
    """Escape a name of a spec so that a submodule can have it.

    Keywords and attributes of modules get a trailing underscore (``type_``). A name with a leading
    underscore, which Python would mangle, gets the prefix ``underscore``. A character that is not
    ASCII, which Python would normalise, becomes its code point (``_ufc_``).
    """
    name = _ESCAPED.sub("_u5f_", name)
    name = _FOREIGN.sub(lambda match: f"_u{ord(match[0]):x}_", name)
    if re.match(r"(underscore)*_", name):
        name = f"underscore{name}"
    bare = name.rstrip("_")
    if f"{bare}_" in MODULE_ATTRIBUTES:
        return f"{name}__"
    return f"{name}_" if bare in MODULE_ATTRIBUTES or keyword.iskeyword(bare) else name


def module_path(path: Path) -> Path:
    """The names of the nested submodules that lead to a node."""
    return tuple(map(module_name, path))


def state_key(path: Path, parameter: str) -> str:
    """The key of a parameter in the state dict."""
    return ".".join((*module_path(path), parameter))
