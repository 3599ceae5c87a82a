"""Reading a commit: its tree as canonical documents, kept in the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from django.db import transaction

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.documents import Document, Note
from environments.store import put_documents
from environments.superset.errors import SupersetRefused
from environments.superset.trees import FileProblem
from environments.superset.trees import read_tree as read_any_tree
from environments.words import clean, cleaned
from migrations_app.files.reading import documents_of
from sstools.errors import Invalid

from . import tree as own
from .files import Files, read_files
from .models import OWN_TREE, SUBJECT_LENGTH, CommitAsset, CommitReading, Repository
from .remotes import Head

_MOST = 200  # notes and problems that are kept of one commit


@dataclass(frozen=True)
class TreeOfCommit:
    """What a commit's folder holds. `shape`: "" where it holds no tree."""

    shape: str
    documents: Mapping[str, Document]
    paths: Mapping[str, str]
    notes: Sequence[Note]
    problems: Sequence[FileProblem]
    files: Files


def tree_of(head: Head, folder: str) -> TreeOfCommit:
    """Raises RepositoryTooLarge; Invalid("tree_unreadable") for what nobody can make sense of."""
    files = read_files(head.store, head.commit, folder)
    try:
        if own.is_own(files.content):
            found = own.read_documents(files.content)
            problems = [*files.problems, *found.problems]
            return TreeOfCommit(OWN_TREE, found.documents, found.paths, found.notes, problems, files)
        yaml = {
            path: content
            for path, content in files.content.items()
            if path.lower().endswith((".yaml", ".yml"))
        }
        if not any("/" in path for path in yaml):
            return TreeOfCommit("", {}, {}, (), files.problems, files)
        tree = read_any_tree(yaml)
        reading = documents_of(tree)
    except (SupersetRefused, Invalid) as refused:
        raise Invalid(
            f"The files of {head.sha[:10]} cannot be read: {refused.message}",
            code="tree_unreadable",
            remedy="Mend them in the repository, or enter the folder in which the tree is.",
        ) from None
    paths = {asset.uuid: asset.path for asset in tree.assets}
    return TreeOfCommit(tree.shape, reading.documents, paths, reading.notes, files.problems, files)


def keep(repository: Repository, head: Head, tree: TreeOfCommit) -> CommitReading:
    """What was read, in the store. A commit that was read before, from the same folder, is that."""
    commit = head.commit
    put_documents(tree.documents.values())
    with transaction.atomic():
        row, is_new = CommitReading.objects.get_or_create(
            repository=repository,
            sha=head.sha,
            folder=repository.folder,
            defaults={
                "subject": clean(
                    commit.message.decode("utf-8", "replace").strip().split("\n")[0], SUBJECT_LENGTH
                ),
                "author": clean(commit.author.decode("utf-8", "replace"), 200),
                "committed_at": _moment(commit.commit_time),
                "shape": tree.shape,
                "counts": dict(Counter(one.kind.value for one in tree.documents.values())),
                "notes": cleaned([asdict(note) for note in tree.notes[:_MOST]]),
                "problems": cleaned([asdict(problem) for problem in tree.problems[:_MOST]]),
            },
        )
        if is_new:
            CommitAsset.objects.bulk_create(
                (
                    CommitAsset(
                        reading=row,
                        kind=one.kind.value,
                        uuid=uuid,
                        document_id=one.fingerprint,
                        comparable=comparison_fingerprint(one),
                        path=tree.paths.get(uuid, "")[:1000],
                    )
                    for uuid, one in tree.documents.items()
                ),
                batch_size=1000,
            )
    return row


def _moment(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)  # a hostile or broken clock
