"""What an import of a tree of files into one environment would do: nothing is asked, nothing is written.

Facts are those of `superset-api.md` (the sections stand beside each) and of `peers.md` 0 (R1 to R12), seen at 4.1.4 to
6.1.0 where nothing else is said. Pure: the same files and the same target give the same findings.
"""

from __future__ import annotations

from .assets import of_assets
from .files import of_files
from .model import AssetFile, AuditInput, Finding, Severity, counts_of
from .target import of_target

__all__ = ["AssetFile", "AuditInput", "Finding", "Severity", "audit", "counts_of"]


def audit(given: AuditInput) -> tuple[Finding, ...]:
    """What is worth knowing before somebody imports these files, the worst first. Each names file and keys."""
    found = {*of_files(given), *of_assets(given), *of_target(given)}
    order = list(Severity)
    return tuple(
        sorted(
            found, key=lambda one: (order.index(one.severity), one.path, one.code, str(one.keys), one.text)
        )
    )
