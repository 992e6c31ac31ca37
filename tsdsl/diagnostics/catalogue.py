"""Every code that a diagnostic can have, with a short title.

The sources use a code if and only if it is listed here (``tests/diagnostics/test_catalogue.py``).
The hundreds are the kind of finding:

E01 syntax, E02 names, E03 types and arguments, E04 shapes, E05 space, decisions and constraints,
E06 sections (search, train, evaluate), E07 architecture files, E08 files and limits, W09 warnings.
"""

from __future__ import annotations

SYNTAX = {
    "E0101": "unknown characters",
    "E0102": "text that is not closed",
    "E0103": "not a number",
    "E0104": "an unknown escape",
    "E0105": "a brace that is not closed",
    "E0106": "a word or sign that does not fit",
    "E0107": "another version of the language",
    "E0108": "nested too deep",
}

NAMES = {
    "E0201": "an unknown name",
    "E0202": "declared twice",
    "E0203": "a function that is not called",
    "E0204": "no such member",
    "E0205": "no such block of a stage",
    "E0206": "a space that extends itself",
    "E0207": "a block that calls itself",
    "E0208": "nothing to amend",
    "E0209": "no such stream, stem or stage",
    "E0211": "a file that cannot be imported",
    "E0212": "imports in a circle",
    "E0213": "an import from outside of the root",
    "E0214": "a new name where one of the base is meant",
    "E0215": "an operation of a package that cannot be used",
}

TYPES = {
    "E0301": "a value that is no operation",
    "E0302": "a tensor where a value is expected, or the other way round",
    "E0303": "a value of another type",
    "E0304": "too many or too few arguments",
    "E0305": "arguments in the wrong order, or twice",
    "E0306": "an unknown argument",
    "E0307": "a missing argument",
    "E0308": "the wrong number of tensors",
    "E0309": "an argument out of range",
    "E0310": "an unknown type",
    "E0311": "a block without a tensor",
    "E0312": "a time outside of a budget",
}

SHAPES = {
    "E0401": "shapes that do not fit",
    "E0402": "a head that gives no class scores",
    "E0404": "an axis that a tensor does not have",
    "E0405": "a division without a result",
    "E0406": "a number that is too large",
}

SPACE = {
    "E0501": "a decision where none can be made",
    "E0502": "an option that is given twice",
    "E0503": "an invalid range",
    "E0504": "an option that depends on a decision",
    "E0505": "a requirement that no architecture satisfies",
    "E0506": "a default that is none of the options",
    "E0507": "an invalid weight",
    "E0508": "a --set without effect, or with an invalid value",
    "E0509": "a stride for a block that takes none",
    "E0510": "a stride without a block that always runs",
    "E0511": "a space that is too large",
    "E0512": "a value that depends on too many decisions",
    "E0513": "no space, or several",
    "E0514": "a space without input or head",
    "E0515": "a stream without its input, or with its stem in the wrong place",
    "E0516": "streams that wait for each other",
    "E0517": "a repeat whose count is not a whole number",
    "E0518": "a move that goes nowhere",
    "E0591": "a cost outside of the given window",
    "E0592": "decisions too coupled for an exact answer",
    "E0593": "no architecture to bound",
    "E0594": "too few distinct networks",
}

SECTIONS = {
    "E0601": "an invalid setting",
    "E0602": "an unknown setting",
    "E0603": "no decision to learn under a path",
    "E0604": "a missing setting",
    "E0605": "a setting out of range",
    "E0606": "a budget in the wrong unit",
}

ARCHITECTURES = {
    "E0701": "not JSON",
    "E0702": "not of the form of an architecture file",
    "E0703": "another format",
    "E0704": "a key that is given twice",
    "E0705": "a number that is not finite",
    "E0706": "nested too deep",
    "E0711": "an unknown decision",
    "E0712": "a missing decision",
    "E0713": "an option out of range",
    "E0714": "a decision given under two names",
    "E0715": "a requirement that is not met",
    "E0717": "no architecture given",
    "E0721": "a distribution file that does not fit",
    "E0722": "a cost table that lacks an operation",
    "E0723": "a cost that is not known",
    "E0724": "a cost table that cannot be read as one",
    "E0725": "a cost table that was measured in another way",
    "E0726": "a device that cannot be used",
    "E0727": "an operation that cannot be measured",
    "E0728": "a network that cannot be timed",
}

FILES = {
    "E0801": "no such file",
    "E0802": "a directory where a file is expected",
    "E0803": "a file that cannot be read",
    "E0804": "a file that is too large",
    "E0805": "a file that is not text",
    "E0806": "a file that is not UTF-8",
    "E0807": "a file that cannot be written",
    "E0808": "a file that exists already",
    "E0811": "a list of videos that does not fit",
    "E0812": "videos that cannot be used",
    "E0813": "a limit that is no number",
}

TRAINING = {
    "E0821": "a recipe that does not fit",
    "E0822": "a training that cannot go on",
    "E0823": "a run that cannot be resumed",
    "E0824": "an evaluation that does not fit",
    "E0825": "an evaluation that cannot go on",
    "E0826": "a file that holds no scores",
    "E0827": "a process of a run that has ended",
    "E0828": "processes of a run that differ",
    "E0829": "an environment that processes cannot use",
    "E0831": "weights that do not fit the network",
    "E0832": "a file that holds no weights",
    "E0834": "weights of a supernet with other segments",
    "E0841": "a search that cannot go on",
    "E0842": "a space that cannot be searched",
    "E0843": "jobs that do not fit",
    "E0844": "an evolution that does not fit",
    "E0847": "budgets that no search meets one after the other",
    "E0848": "a missed budget",
}

WARNINGS = {
    "W0901": "an option that no architecture uses",
    "W0902": "a decision that changes nothing",
    "W0903": "a range whose end is not reached",
    "W0904": "a decision with one option",
    "W0905": "a decision that no phase learns",
    "W0906": "decisions too coupled for a complete check",
    "W0908": "an addition that nothing uses",
    "W0909": "a value that the result of its block does not depend on",
    "W0910": "a budget whose cost may be misspelt",
    "W0970": "an architecture of another space",
}

#: Warnings about runs; no spec alone causes them.
RUN_WARNINGS = {
    "W0971": "a checkpoint that cannot be read",
    "W0972": "a run that goes on in another way",
    "W0973": "fewer classes than the network tells apart",
    "W0974": "a budget that a phase cannot reach",
    "W0975": "decisions that should be joint and are not",
    "W0976": "a phase that does not learn what it should",
    "W0977": "a choice that later budgets make less probable",
    "W0978": "a phase that may leave later budgets out of reach",
    "W0982": "a list that may be misread",
    "W0983": "one of several video streams",
    "W0984": "videos that are listed more than once",
    "W0985": "a log whose end is not text",
    "W0986": "a run that ends within its warm-up",
}

#: Code -> short title.
CATALOGUE: dict[str, str] = {
    **SYNTAX,
    **NAMES,
    **TYPES,
    **SHAPES,
    **SPACE,
    **SECTIONS,
    **ARCHITECTURES,
    **FILES,
    **TRAINING,
    **WARNINGS,
    **RUN_WARNINGS,
}
