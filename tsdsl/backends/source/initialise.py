"""Initialisation of parameters as torch statements: the only place that interprets `Init`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tsdsl.backends.source.expression import alias
from tsdsl.ir.network import Network
from tsdsl.ir.op import Init, ModuleCall

#: He initialisation (arXiv 1502.01852): normal, fan out, gain of ReLU. Linear layers: normal with
#: standard deviation 0.01. Both as in the SlowFast code base, slowfast/utils/weight_init_helper.py.
STATEMENTS: Mapping[Init, str] = {
    "he": 'nn.init.kaiming_normal_({}, mode="fan_out", nonlinearity="relu")',
    "linear": "nn.init.normal_({}, std=0.01)",
    "zeros": "nn.init.zeros_({})",
    "ones": "nn.init.ones_({})",
}
#: Initialisations that hold for all modules of a class. Others are written where a module is made.
_OF_A_KIND = frozenset({"he", "linear"})

_SAID: Mapping[Init, str] = {
    "he": "He initialisation (arXiv 1502.01852)",
    "linear": "linear layers normal, std 0.01",
}

#: Module class -> (parameter -> initialisation), for classes whose modules all start alike.
Rules = Mapping[str, Mapping[str, Init]]


def rules(network: Network) -> Rules:
    """The initialisations that one function does for the whole network."""
    found: dict[str, dict[str, Init]] = {}
    uneven: set[str] = set()
    for _, call in network.ops():
        module = call.module
        if not isinstance(module, ModuleCall):
            continue
        known = found.setdefault(module.target, {})
        for parameter, init in module.init.items():
            if known.setdefault(parameter, init) != init:
                uneven.add(module.target)
    return {
        target: inits
        for target, inits in found.items()
        if target not in uneven and not _OF_A_KIND.isdisjoint(inits.values())
    }


def own_statements(module: ModuleCall, access: str, common: Rules) -> Iterator[str]:
    """Statements for one module that no rule covers."""
    if module.target not in common:
        for parameter, init in module.init.items():
            yield STATEMENTS[init].format(f"{access}.{parameter}")


def function(common: Rules) -> Iterator[str]:
    """The source of ``_initialise``."""
    if not common:
        return
    yield "def _initialise(network: nn.Module) -> None:"
    used = {init for inits in common.values() for init in inits.values()}
    said = "; ".join(text for init, text in _SAID.items() if init in used)
    yield f'    """{said[0].upper()}{said[1:]}; biases zero."""'
    yield "    for module in network.modules():"
    word = "if"
    for target, inits in sorted(common.items()):
        yield f"        {word} isinstance(module, {alias(target)}):"
        word = "elif"
        for parameter, init in inits.items():
            statement = STATEMENTS[init].format(f"module.{parameter}")
            if parameter == "bias":
                yield "            if module.bias is not None:"
                yield f"                {statement}"
            else:
                yield f"            {statement}"
