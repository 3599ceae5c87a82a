from argparse import ArgumentParser
from io import BytesIO
from pathlib import Path
from typing import Any

from django.db import transaction

from environments import services as environments
from environments.canonical.documents import Kind
from environments.models import Environment
from migrations_app import naming, services
from migrations_app.api.shapes import MigrationSerializer, PlanSerializer
from migrations_app.comparing.models import UploadedBundle
from migrations_app.comparing.uploads import store_upload
from migrations_app.engine.carrying import SAVED_QUERIES
from migrations_app.files import sources
from migrations_app.files.local import archive_of
from migrations_app.filters import looks_like_uuid
from migrations_app.git import services as repositories
from migrations_app.git.models import CommitReading
from migrations_app.management.base import DONE, PENDING, MigrationCommand, Outcome, queued
from migrations_app.management.texts import plan_text
from migrations_app.models import Migration, Plan
from migrations_app.restoring.services import create_restore, find_assets, find_by_place
from sstools.errors import Invalid
from sstools.jobs.models import Source

NAMED = {"dashboard": Kind.DASHBOARD, "chart": Kind.CHART, "dataset": Kind.DATASET}


class Command(MigrationCommand):
    help = (
        "Plan what it takes to bring assets from one environment to another; writes to neither. "
        "Exit codes: 0 nothing to do, 1 failed, 2 changes pending or blocked."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--from",
            dest="source",
            required=True,
            metavar="PLACE",
            help="where the assets are: env:SLUG, backup:NUMBER, git:REPOSITORY[@REF], or file:PATH (an export or "
            "tree: ZIP, tar.gz, folder)",
        )
        parser.add_argument(
            "--to", dest="target", required=True, metavar="env:SLUG", help="where they shall be"
        )
        parser.add_argument(
            "--all", action="store_true", help="every dashboard, chart and dataset of the source"
        )
        for name in NAMED:
            words = "title, slug or uuid" if name == "dashboard" else "title or uuid"
            parser.add_argument(
                f"--{name}", action="append", default=[], metavar="NAME", help=f"{words}; as often as wanted"
            )
        parser.add_argument(
            "--leave-out",
            action="append",
            default=[],
            metavar="UUID",
            help="not this one, though another needs it",
        )
        parser.add_argument("--without-dependencies", action="store_true", help="only what is named")
        parser.add_argument(
            "--map",
            action="append",
            default=[],
            metavar="SOURCE=TARGET",
            help="database connections by name or uuid; remembered for the two environments",
        )
        parser.add_argument(
            "--accept-suggestions",
            action="store_true",
            help="map what is not mapped to the connection that has all needed tables, if there is exactly one best",
        )
        parser.add_argument(
            "--answer",
            action="append",
            default=[],
            metavar="UUID=ANSWER",
            help="answer a conflict: keep, take, leave_out, adopt, rename or rename:NEW NAME",
        )
        parser.add_argument(
            "--values",
            metavar="FILE",
            default="",
            help="of a file: YAML that its templates are rendered with",
        )
        parser.add_argument(
            "--origin",
            metavar="env:SLUG",
            default="",
            help="of a file: the environment that it was exported from",
        )
        parser.add_argument("--title", default="", help="of the migration")
        parser.add_argument(
            "--prune",
            action="store_true",
            help="also remove what this way brought and the source no longer has; of a backup what came after it",
        )
        parser.add_argument(
            "--beside",
            nargs="?",
            const="",
            default=None,
            metavar="NAME",
            help="of a backup: as a copy beside, dashboards called NAME with {title} for their own name",
        )
        parser.add_argument(
            "--carry",
            action="append",
            default=[],
            metavar="OPTION=VALUE",
            help="what comes along beside the assets: owners=on, rls=carry, recipients=a@example.org …",
        )
        parser.add_argument(
            "--no-verify", action="store_true", help="an apply shall not run the charts' queries"
        )
        parser.add_argument(
            "--no-read",
            action="store_true",
            help="take the names from the last reading of the source, do not read it first",
        )
        super().add_arguments(parser)

    def run(self, options: dict[str, Any]) -> Outcome:
        target = self.environment(options["target"])
        is_file = options["source"].startswith("file:")
        is_backup = options["source"].startswith("backup:")
        is_commit = options["source"].startswith("git:")
        source = None if is_file or is_backup or is_commit else self.environment(options["source"])
        if not is_file and (options["values"] or options["origin"]):
            raise Invalid("--values and --origin are for file:PATH.")
        if not is_backup and options["beside"] is not None:
            raise Invalid("--beside is for backup:NUMBER.")
        mapped = dict(_pair(text, "--map") for text in options["map"])
        answers = {
            uuid: _answer(text) for uuid, text in (_pair(text, "--answer") for text in options["answer"])
        }
        if not self.wait and (answers or options["accept_suggestions"]):
            raise Invalid("--answer and --accept-suggestions need the plan: leave out --no-wait.")
        self._read(source, target, mapped, options)
        with transaction.atomic():
            migration = self._create(source, target, mapped, options)
            job = services.request_plan(migration, actor=self.actor, source=Source.COMMAND)
        if not self.wait:
            return queued(job, migration=MigrationSerializer(migration).data)
        self.do(job)
        plan = self._current(migration)
        if options["accept_suggestions"] and (found := self._suggested(plan)):
            services.save_mapping(migration.terms, target, actor=self.actor, databases=found)
            plan = self._again(migration)
        if answers:
            services.answer_conflicts(migration, answers, actor=self.actor)
            plan = self._again(migration)
        migration.refresh_from_db()
        return outcome_of(migration, plan)

    def _file(self, options: dict[str, Any]) -> UploadedBundle | CommitReading:
        """The file that `file:PATH` names, kept as if it had been uploaded; `file:UUID` is one that was. Of `git:` what
        was read.
        """
        if options["source"].startswith("git:"):
            return repositories.find_reading(options["source"].removeprefix("git:"), self.actor)
        text = options["source"].removeprefix("file:")
        if looks_like_uuid(text):
            return sources.find_file(text, self.actor)
        name, data, values = archive_of(Path(text), Path(options["values"]) if options["values"] else None)
        return store_upload(
            BytesIO(data),
            name,
            actor=self.actor,
            origin=self.environment(options["origin"]) if options["origin"] else None,
            values=values,
            source=Source.COMMAND,
        )

    def _read(
        self, source: Environment | None, target: Environment, mapped: dict[str, str], options: dict[str, Any]
    ) -> None:
        """Names mean what is there now, and "all" means all of it."""
        if options["source"].startswith("git:") and not options["no_read"] and self.wait:
            slug, _, ref = options["source"].removeprefix("git:").partition("@")
            repository = repositories.find_repository(slug, self.actor)
            self.do(repositories.request_reading(repository, ref, actor=self.actor, source=Source.COMMAND))
        wanted = [] if options["no_read"] or source is None else [source]
        if target.inventory_at is None and not all(looks_like_uuid(name) for name in mapped.values()):
            wanted.append(target)
        for environment in wanted:
            if not self.wait and environment.inventory_at is not None:
                continue
            self.do(environments.request_reading(environment, actor=self.actor, source=Source.COMMAND))
            environment.refresh_from_db()

    def _create(
        self, source: Environment | None, target: Environment, mapped: dict[str, str], options: dict[str, Any]
    ) -> Migration:
        names = [(kind, text) for name, kind in NAMED.items() for text in options[name]]
        if options["all"] == bool(names):
            raise Invalid("Say what to bring: --all, or --dashboard, --chart and --dataset by name.")
        carrying = dict(entry.partition("=")[::2] for entry in options["carry"])
        if options["source"].startswith("backup:"):
            backup = find_by_place(options["source"], self.actor)
            return create_restore(
                backup,
                target,
                selection=find_assets(backup, names),
                actor=self.actor,
                beside=options["beside"] is not None,
                copy_title=options["beside"] or "",
                remove_later=options["prune"],
                carrying=carrying,
                databases=mapped,
                title=options["title"],
                left_out=[uuid.lower() for uuid in options["leave_out"]],
                with_dependencies=not options["without_dependencies"],
                verify=not options["no_verify"],
                via=Source.COMMAND,
            )
        if source is None and options["prune"]:
            raise Invalid("Only a migration from an environment can remove what its source no longer has.")
        if source is None and set(carrying) - {SAVED_QUERIES}:
            raise Invalid(
                f"Files hold no owners, roles, rules or reports: of them only {SAVED_QUERIES} can be carried."
            )
        if source is None:
            file = self._file(options)
            return sources.create_migration(
                file,
                target,
                selection=sources.find_assets(file, names),
                actor=self.actor,
                databases=mapped,
                title=options["title"],
                left_out=[uuid.lower() for uuid in options["leave_out"]],
                with_dependencies=not options["without_dependencies"],
                verify=not options["no_verify"],
                carrying=carrying,
            )
        naming.must_be_read(source)
        selection = naming.all_assets(source) if options["all"] else naming.find_assets(source, names)
        if mapped:
            databases = naming.name_databases(source, target, mapped)
            services.save_mapping(source, target, actor=self.actor, databases=databases)
        return services.create_migration(
            source,
            target,
            selection=selection,
            actor=self.actor,
            title=options["title"],
            left_out=[uuid.lower() for uuid in options["leave_out"]],
            with_dependencies=not options["without_dependencies"],
            verify=not options["no_verify"],
            prune=options["prune"],
            carrying=carrying,
        )

    def _again(self, migration: Migration) -> Plan:
        self.do(services.request_plan(migration, actor=self.actor, source=Source.COMMAND))
        return self._current(migration)

    def _current(self, migration: Migration) -> Plan:
        migration.refresh_from_db()
        assert migration.plan is not None  # the job succeeded, and nobody else knows this migration yet
        return migration.plan

    def _suggested(self, plan: Plan) -> dict[str, str]:
        found: dict[str, str] = {}
        for row in plan.databases:
            if row["target"]:
                continue
            fitting = [
                one
                for one in row["suggestions"]
                if one["reached"] and one["tables_found"] == one["tables_needed"]
            ]
            best = [one for one in fitting if one["score"] == fitting[0]["score"]]
            if len(best) == 1:
                found[row["uuid"]] = best[0]["uuid"]
                self.say(f"  {row['name']} → {best[0]['name']} ({best[0]['reason']})")
            else:
                why = "several connections fit alike" if best else "no connection has all its tables"
                self.say(f"  {row['name']}: {why}")
        return found


def outcome_of(migration: Migration, plan: Plan) -> Outcome:
    """What a plan means for a pipeline: pending or blocked is 2, nothing to do is 0."""
    data = {"migration": MigrationSerializer(migration).data, "plan": PlanSerializer(plan).data}
    reason = services.why_not_applicable(migration)
    text = plan_text(migration, plan)
    is_to_write = bool(plan.write_count or plan.kept_count)
    if not is_to_write and not plan.blocked_count:
        return Outcome(
            DONE, "nothing_to_do", f"{text}\nNothing to do: the target holds what it should.", data
        )
    if reason:
        return Outcome(PENDING, "blocked", f"{text}\nBlocked: {reason}", data)
    confirm = f" --confirm {migration.target.slug}" if migration.target.protected else ""
    hint = f"manage.py apply {migration.number} --plan-hash {plan.hash[:12]}{confirm}"
    return Outcome(PENDING, "changes", f"{text}\nTo apply it: {hint}", data)


def _pair(text: str, option: str) -> tuple[str, str]:
    left, sign, right = text.partition("=")
    if not sign or not left.strip() or not right.strip():
        raise Invalid(f"{option} takes NAME=VALUE, not “{text}”.")
    return left.strip(), right.strip()


def _answer(text: str) -> dict[str, str]:
    answer, _, value = text.partition(":")
    return {"answer": answer.strip().replace("-", "_"), "value": value.strip()}
