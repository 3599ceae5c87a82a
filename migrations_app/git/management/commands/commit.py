from argparse import ArgumentParser
from typing import Any

from environments import services as environments
from environments.models import Environment
from migrations_app import naming
from migrations_app.git import services
from migrations_app.git.changes import Change, changes_between, different
from migrations_app.git.models import CommitReading, Repository
from migrations_app.management.base import DONE, PENDING, MigrationCommand, Outcome, queued
from migrations_app.management.commands.plan import NAMED
from sstools.errors import Invalid
from sstools.jobs.models import Source

SIGNS = {"new": "+", "changed": "~", "removed": "-", "not_read": "?"}


class Command(MigrationCommand):
    help = (
        "Commit assets of an environment to a git repository and push them. "
        "Exit codes: 0 done or nothing differs, 1 failed, 2 with --check: something differs."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", dest="source", required=True, metavar="env:SLUG", help="whose assets")
        parser.add_argument(
            "--to",
            dest="target",
            required=True,
            metavar="git:REPOSITORY[@BRANCH]",
            help="where they are committed",
        )
        parser.add_argument("--all", action="store_true", help="all that differs, also what is to go")
        for name in NAMED:
            words = "title, slug or uuid" if name == "dashboard" else "title or uuid"
            parser.add_argument(
                f"--{name}", action="append", default=[], metavar="NAME", help=f"{words}; as often as wanted"
            )
        parser.add_argument(
            "--remove",
            action="append",
            default=[],
            metavar="UUID",
            help="take this one out of git, as the environment no longer has it",
        )
        parser.add_argument(
            "--message", "-m", default="", help="of the commit; default: what changes, in a line"
        )
        parser.add_argument(
            "--at",
            default="",
            metavar="REF",
            help="where a branch that is not there yet begins; default: its branch",
        )
        parser.add_argument(
            "--pull-request",
            action="store_true",
            help="open a pull or merge request of the branch into the repository's",
        )
        parser.add_argument("--check", action="store_true", help="only say what differs; commit nothing")
        parser.add_argument("--without-dependencies", action="store_true", help="only what is named")
        parser.add_argument(
            "--no-read",
            action="store_true",
            help="take both sides as they were last read, do not read them first",
        )
        super().add_arguments(parser)

    def run(self, options: dict[str, Any]) -> Outcome:
        environment = self.environment(options["source"])
        slug, _, branch = options["target"].removeprefix("git:").partition("@")
        repository = services.find_repository(slug, self.actor)
        branch = branch or repository.branch
        base = self._read(environment, repository, branch, options)
        changes = changes_between(environment, base)
        if options["check"]:
            return self._told(changes, base)
        chosen = self._chosen(environment, changes, options)
        if not chosen:
            return Outcome(DONE, "nothing_to_do", "Nothing differs: git has it all.", _data(base, []))
        message = options["message"] or services.suggested_message(
            [change for change in changes if change.uuid in set(chosen)], environment
        )
        job = services.request_commit(
            repository,
            environment,
            uuids=chosen,
            message=message,
            branch=branch,
            base=base,
            with_dependencies=not options["without_dependencies"],
            pull_request=options["pull_request"],
            actor=self.actor,
            source=Source.COMMAND,
        )
        if not self.wait:
            return queued(job)
        self.do(job)
        job.refresh_from_db()
        done = dict(job.result or {})
        if done.get("unchanged"):
            return Outcome(DONE, "nothing_to_do", "Nothing differs: git has it all.", {"commit": done})
        text = f"Committed {done['commit'][:10]} to {done['branch']}: {done['files']} files."
        if pull := done.get("pull_request"):
            text += f"\nPull request: {pull['url']}"
        if problem := done.get("pull_request_error"):
            text += f"\nNo pull request was opened: {problem['message']} {problem['remedy']}"
        return Outcome(DONE, "committed", text, {"commit": done})

    def _read(
        self, environment: Environment, repository: Repository, branch: str, options: dict[str, Any]
    ) -> CommitReading | None:
        """Both sides as they are now; what the branch, or what it shall begin at, holds."""
        if not options["no_read"]:
            if self.wait:
                self.do(environments.request_reading(environment, actor=self.actor, source=Source.COMMAND))
                self.do(services.request_check(repository, actor=self.actor, source=Source.COMMAND))
            environment.refresh_from_db()
            repository.refresh_from_db()
        ref = branch if branch in repository.branches else options["at"] or repository.branch
        if not repository.refs and repository.fetched_at is not None:
            return None
        if not options["no_read"] and self.wait and services.reading_of(repository, ref) is None:
            self.do(services.request_reading(repository, ref, actor=self.actor, source=Source.COMMAND))
            repository.refresh_from_db()
        return services.find_reading(f"{repository.slug}@{ref}", self.actor)

    def _chosen(self, environment: Environment, changes: list[Change], options: dict[str, Any]) -> list[str]:
        names = [(kind, text) for name, kind in NAMED.items() for text in options[name]]
        if options["all"] == bool(names or options["remove"]):
            raise Invalid("Say what to commit: --all, or --dashboard, --chart, --dataset and --remove.")
        if options["all"]:
            return [change.uuid for change in different(changes)]
        return [*naming.find_assets(environment, names), *options["remove"]]

    def _told(self, changes: list[Change], base: CommitReading | None) -> Outcome:
        found = different(changes)
        if not found:
            return Outcome(DONE, "nothing_to_do", "Nothing differs: git has it all.", _data(base, []))
        lines = [
            f"  {SIGNS[change.state]} {change.kind:<9} {change.title}  [{change.uuid}]" for change in found
        ]
        return Outcome(PENDING, "changes", "\n".join([f"{len(found)} differ:", *lines]), _data(base, found))


def _data(base: CommitReading | None, changes: list[Change]) -> dict[str, Any]:
    shown = [
        {name: getattr(one, name) for name in ("kind", "uuid", "title", "state", "path")} for one in changes
    ]
    return {"base": base.sha if base is not None else "", "changes": shown}
