"""Source texts, spans, diagnostics and their presentation. All other packages build on this one.

`source`       texts, and spans of characters in them
`diagnostic`   one finding, as a value
`collector`    the findings of a run, ordered and without repetitions
`errors`       exceptions that carry findings
`suggestions`  "did you mean": the known name nearest to a misspelt one
`catalogue`    every code, with a short title
`render`       findings as text for a terminal
`export`       findings for programs: JSON, SARIF, annotations of GitHub workflows
"""

from tsdsl.diagnostics.collector import Collector
from tsdsl.diagnostics.diagnostic import Diagnostic, Fix, Label, Severity
from tsdsl.diagnostics.errors import ArchitectureError, DiagnosticError, FileError, SpecError
from tsdsl.diagnostics.source import Source, Span
from tsdsl.diagnostics.suggestions import did_you_mean, nearest

__all__ = [
    "ArchitectureError",
    "Collector",
    "Diagnostic",
    "DiagnosticError",
    "FileError",
    "Fix",
    "Label",
    "Severity",
    "Source",
    "Span",
    "SpecError",
    "did_you_mean",
    "nearest",
]
