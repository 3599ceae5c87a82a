"""The work of the jobs: reaching a repository, reading a commit, making one."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from environments.canonical.documents import Document
from environments.models import Asset, Environment
from environments.store import get_documents
from sstools.audit import services as audit
from sstools.errors import Conflict, Invalid, SSToolsError
from sstools.jobs.runner import JobContext
from sstools.roles.policy import name_of
from sstools.texts import counted

from . import remotes, tree
from .errors import NoSuchRef, PushRefused
from .files import Files, Person, make_commit
from .models import OWN_TREE, CommitReading, Repository
from .reading import TreeOfCommit, keep, tree_of
from .services import must_be_readable


def run_check(ctx: JobContext, repository: Repository) -> dict[str, Any]:
    """Notes branches and tags down, and whether the account may push. Raises what is wrong, which is noted as well."""
    ctx.step(f"Asking {repository.name} for its branches")
    refs = refs_of(repository)
    can_push, why = True, ""
    ctx.step("Asking whether it may be pushed to")
    try:
        remotes.check_push(repository.remote)
    except SSToolsError as error:
        can_push, why = False, error.message
    Repository.objects.filter(pk=repository.pk).update(can_push=can_push)
    if not can_push:
        ctx.log("warning", f"It cannot be pushed to: {why}")
    branches = [name for name in refs if name.startswith("refs/heads/")]
    if branches and f"refs/heads/{repository.branch}" not in refs:
        ctx.log("warning", f"It has no branch {repository.branch}.")
    return {"branches": len(branches), "tags": len(refs) - len(branches), "can_push": can_push}


def run_reading(ctx: JobContext, repository: Repository, ref: str) -> dict[str, Any]:
    """Reads the commit that a ref names now. A commit that was read before is not read again."""
    ctx.step(f"Asking {repository.name} for its branches")
    refs = refs_of(repository)
    sha = remotes.resolve(refs, ref)
    ctx.step(f"Reading {sha[:10]}")
    known = read_commit(repository, sha)
    must_be_readable(known)
    ctx.log("info", f"{known.sha[:10]} “{known.subject}”: {counted(sum(known.counts.values()), 'asset')}")
    return {"place": known.place, "commit": known.sha, "assets": sum(known.counts.values())}


def run_commit(
    ctx: JobContext,
    repository: Repository,
    environment: Environment,
    *,
    branch: str,
    base: str,
    message: str,
    assets: Mapping[str, str],
    author: Person | None = None,
) -> dict[str, Any]:
    """Writes chosen assets, uuid -> fingerprint ("" to remove), on top of `base` and pushes that to `branch`.

    Safe to run again: a commit that an attempt before has pushed is recognised by what the branch then holds. Raises
    PushRefused where the branch points elsewhere by now, or the server says no.
    """
    ctx.step(f"Asking {repository.name} for its branches")
    refs = refs_of(repository)
    now = refs.get(f"refs/heads/{branch}", "")
    head, before = None, TreeOfCommit("", {}, {}, (), (), Files())
    if start := now or base:
        ctx.step(f"Reading {start[:10]}")
        if start not in refs.values():
            raise NoSuchRef(
                f"No branch points to {base[:10]} any more.", remedy="Look at the difference anew."
            )
        head, before = _read(repository, start)
        must_be_readable(_unsaved(before))
        if before.shape not in (OWN_TREE, ""):
            raise Invalid(
                f"The folder {repository.folder or '/'} holds files of another kind, which other tools read.",
                code="folder_taken",
                remedy="Enter another folder for the repository; ss-tools keeps its own form of files there.",
            )
    if now != base and now:
        if head is not None and _holds(before, assets):
            return {"unchanged": True, "commit": now, "branch": branch}
        if head is not None:
            keep(repository, head, before)  # whoever settles it needs to know what is there
        raise _moved(repository, branch, now)
    ctx.step("Writing files")
    documents = _documents(assets)
    changes = _files(environment, before, documents, [uuid for uuid, sha in assets.items() if not sha])
    author = author or _person(ctx.job.actor, repository)
    committer = Person(repository.author_name, repository.author_email)
    text = f"{message}\n\nSigned-off-by: {author.line().decode()}" if repository.sign_off else message
    made = make_commit(
        head.store if head else None, head.commit if head else None, repository.folder, changes,
        message=text, author=author, committer=committer,
    )  # fmt: skip
    if made is None and now:
        return {"unchanged": True, "commit": now, "branch": branch}
    ctx.still_mine()
    if made is None:
        assert head is not None
        made = head.commit, [head.commit]
    commit, objects = made
    ctx.step(f"Pushing {counted(len(changes), 'file')} to {branch}")
    try:
        remotes.push(repository.remote, branch, commit, objects, instead_of=now)
    except PushRefused as refused:
        if refused.detail.get("remote_commit"):
            raise _moved(repository, branch, str(refused.detail["remote_commit"])) from None
        raise
    sha = commit.id.decode()
    refs[f"refs/heads/{branch}"] = sha
    Repository.objects.filter(pk=repository.pk).update(refs=refs, fetched_at=timezone.now(), error=None)
    data = {"repository": repository.slug, "branch": branch, "commit": sha, "assets": len(assets)}
    audit.record("repository:commit", environment, actor=ctx.job.actor, data=data, source=ctx.job.source)
    ctx.step("Reading what was pushed")
    keep(repository, *_read(repository, sha))
    place = f"git:{repository.slug}@{sha}"
    return {"commit": sha, "branch": branch, "files": len(changes), "place": place}


def refs_of(repository: Repository) -> dict[str, str]:
    """Branches and tags now; noted down, or what went wrong is."""
    try:
        refs = remotes.list_refs(repository.remote)
    except SSToolsError as error:
        Repository.objects.filter(pk=repository.pk).update(error=error.as_dict())
        raise
    Repository.objects.filter(pk=repository.pk).update(refs=refs, fetched_at=timezone.now(), error=None)
    return refs


def read_commit(repository: Repository, sha: str) -> CommitReading:
    """What a commit holds, whatever is wrong with it; read before is read."""
    known = repository.readings.filter(sha=sha, folder=repository.folder).first()
    return known or keep(repository, *_read(repository, sha))


def _read(repository: Repository, sha: str) -> tuple[remotes.Head, TreeOfCommit]:
    head = remotes.fetch(repository.remote, sha)
    return head, tree_of(head, repository.folder)


def _unsaved(found: TreeOfCommit) -> CommitReading:
    problems = [{"path": one.path, "line": one.line, "text": one.text} for one in found.problems]
    return CommitReading(problems=problems)


def _holds(found: TreeOfCommit, assets: Mapping[str, str]) -> bool:
    """Whether a tree has all of these as they were to be committed."""
    return all(
        (one.fingerprint if (one := found.documents.get(uuid)) is not None else "") == sha
        for uuid, sha in assets.items()
    )


def _documents(assets: Mapping[str, str]) -> list[Document]:
    found = get_documents(sha for sha in assets.values() if sha)
    return [found[sha] for sha in assets.values() if sha]


def _files(
    environment: Environment, before: TreeOfCommit, documents: list[Document], removed: list[str]
) -> dict[str, bytes | None]:
    """The files that a commit changes, by path below the folder; None: it goes.

    Raises Invalid("not_writable") for an asset that no file can hold.
    """
    titles = Asset.objects.filter(environment=environment).exclude(title="").values_list("uuid", "title")
    names = {
        **tree.names_of(before.documents.values()),
        **dict(titles.iterator()),
        **tree.names_of(documents),
    }
    written = tree.write_documents(documents, names=names, paths=before.paths)
    if written.problems:
        raise Invalid(
            written.problems[0].text, code="not_writable", remedy="Mend it in Superset, or leave it out."
        )
    changes: dict[str, bytes | None] = {}
    for path, content in tree.header_files().items():
        if path not in before.files.content:
            changes[path] = content
    for uuid in removed:
        if uuid in before.paths:
            changes |= dict.fromkeys(_files_at(before.paths[uuid], before))
    for one in documents:
        if one.uuid in before.paths:  # also SQL that it no longer has
            changes |= dict.fromkeys(_files_at(before.paths[one.uuid], before))
    return {**changes, **written.files}


def _files_at(path: str, before: TreeOfCommit) -> list[str]:
    beside = posixpath.splitext(path)[0] + ".sql"
    return [one for one in (path, beside) if one in before.files.content]


def _person(user: Any, repository: Repository) -> Person:
    """Who asked for it, as the account says; else the repository's own author."""
    if user is None or not getattr(user, "email", ""):
        return Person(name_of(user) if user is not None else repository.author_name, repository.author_email)
    return Person(user.get_full_name() or name_of(user), user.email)


def _moved(repository: Repository, branch: str, sha: str) -> Conflict:
    """The refusal, with the commit that is in the way."""
    said = ""
    try:
        commit = remotes.fetch(repository.remote, sha).commit
        subject = commit.message.decode("utf-8", "replace").strip().split("\n")[0][:100]
        said = f": “{subject}” by {commit.author.decode('utf-8', 'replace').partition(' <')[0][:80]}"
    except SSToolsError:
        pass  # that it moved is what counts
    refused = remotes.moved(branch, sha)
    return PushRefused(
        f"{refused.message.rstrip('.')}{said}.", detail={"remote_commit": sha, "branch": branch}
    )
