from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from migrations_app.files import services
from migrations_app.files.api import FileAuditDetailSerializer
from migrations_app.files.local import archive_of
from migrations_app.files.models import FileAudit
from migrations_app.management.base import DONE, JobFailed, MigrationCommand, Outcome, queued
from sstools.jobs.models import Source

CLEAN, FINDINGS, COULD_NOT = 0, 1, 2
SIGNS = {"error": "✗", "warning": "!", "info": "·"}


class Command(MigrationCommand):
    help = (
        "Say what an import of files would do to an environment; reads it, and writes nothing there. "
        "Exit codes: 0 clean, 1 findings, 2 the audit could not be made."
    )
    wrong_use = COULD_NOT

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", metavar="PATH", help="a folder with a tree, or a ZIP, tar or tar.gz")
        parser.add_argument(
            "--against", required=True, metavar="env:SLUG", help="the environment it would be imported into"
        )
        parser.add_argument(
            "--values",
            metavar="FILE",
            default="",
            help="YAML: what the templates of the tree are rendered with",
        )
        parser.add_argument(
            "--ignore",
            action="append",
            default=[],
            metavar="CODE",
            help="findings of this code do not count; as often as wanted",
        )
        super().add_arguments(parser)

    def run(self, options: dict[str, Any]) -> Outcome:
        target = self.environment(options["against"])
        values = Path(options["values"]) if options["values"] else None
        name, data, given = archive_of(Path(options["path"]), values)
        row = services.request_audit(
            data, name, target, actor=self.actor, values=given, source=Source.COMMAND
        )
        assert row.job is not None
        if not self.wait:
            return queued(row.job, audit=FileAuditDetailSerializer(row).data)
        self.do(row.job)
        row = self._report(row)
        counting = [one for one in row.findings if one["code"] not in options["ignore"]]
        data_out = {"audit": {**FileAuditDetailSerializer(row).data, "findings": counting}}
        if not counting and (left_off := sum(row.finding_counts.values()) - len(row.findings)) > 0:
            # Of what was not kept nobody knows whether it is ignored.
            text = f"{_head(row)}\n{left_off} more findings were not kept: mend some, then audit again."
            return Outcome(FINDINGS, "findings", text, data_out)
        if not counting:
            return Outcome(CLEAN, "clean", f"{_head(row)}\nNothing found.", data_out)
        return Outcome(FINDINGS, "findings", "\n".join([_head(row), *map(_line, counting)]), data_out)

    def _report(self, row: FileAudit) -> FileAudit:
        """What the job left. Raises JobFailed: a report that is not there finds nothing, and is not clean."""
        made = FileAudit.objects.filter(pk=row.pk).select_related("target", "job").first()
        if made is None:
            raise JobFailed("The report was removed before it could be read.", code="no_report")
        if made.error is not None or made.finished_at is None:
            error = made.error or {}
            raise JobFailed(
                error.get("message") or "The audit left no report.",
                code=error.get("code") or "no_report",
                remedy=error.get("remedy", ""),
            )
        return made

    def present(self, outcome: Outcome, *, as_json: bool) -> None:
        if outcome.error is not None:
            outcome.code, outcome.result = COULD_NOT, "could_not"
        elif outcome.result == "queued":
            outcome.code = DONE
        super().present(outcome, as_json=as_json)


def _head(row: FileAudit) -> str:
    counts = ", ".join(f"{number} {name}" for name, number in row.finding_counts.items() if number)
    held = ", ".join(f"{number} {kind}" for kind, number in row.counts.items())
    return f"{row.name} ({held}) against {row.target.name} (Superset {row.version}): {counts or 'clean'}"


def _line(one: dict[str, Any]) -> str:
    return "\n".join(
        [
            f"{SIGNS[one['severity']]} {one['path']}:{one['line']} {one['code']}: {one['text']}",
            f"    A plain import: {one['plain_import']}",
            f"    ss-tools: {one['with_ss_tools']}",
        ]
    )
