"""A commit that was refused because its branch moved on: what both sides changed, and a commit of what people choose.

`mine` is what was to be committed, `theirs` what the branch holds by now, `base` what the difference was looked at
with. What only one side changed is nobody's question. The result goes on top of the newest commit that was read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from environments.canonical.documents import Document
from environments.models import Environment
from environments.store import get_documents, put_documents
from migrations_app.engine.merging import Clash, Merged, Path, Side, merge
from sstools.errors import Invalid, NotFoundError
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, Source
from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import tree
from .models import CommitReading, Repository
from .services import COMMIT, MESSAGE_LENGTH, must_be_readable, reading_of

WHOLE = ""  # the key of a choice for an asset as a whole
_MOST_CHARACTERS = 2_000


@dataclass(frozen=True)
class FieldConflict:
    """One field to choose. `key`: its path as a JSON pointer without the first slash; the values are texts to read, ""
    where a side has none.
    """

    key: str
    label: str
    base: str
    mine: str
    theirs: str


@dataclass(frozen=True)
class AssetConflict:
    """One asset that both sides changed. `mine`, `theirs`: what became of it there: "changed", "new" or "removed".

    `fields`: to choose from; none where one side removed it, then it is chosen as a whole. `from_mine`, `from_theirs`:
    number of fields that only that side changed, and that come from it.
    """

    kind: str
    uuid: str
    title: str
    mine: str
    theirs: str
    fields: tuple[FieldConflict, ...]
    from_mine: int
    from_theirs: int

    @property
    def is_whole(self) -> bool:
        return "removed" in (self.mine, self.theirs)


@dataclass(frozen=True)
class Refused:
    """A commit that was refused. `remote`: the newest commit of its branch that was read, None if that has to be read
    first. `untouched`: number of its assets that nobody else changed.
    """

    job: Job
    repository: Repository
    environment: Environment
    branch: str
    message: str
    remote_sha: str
    base: CommitReading | None
    remote: CommitReading | None
    conflicts: tuple[AssetConflict, ...] = ()
    untouched: int = 0


def find_refused(repository: Repository, uuid: Any, user: Any) -> Refused:
    """By the job that was to commit. Raises NotFoundError: absent, of another repository, not refused for that, and
    forbidden look alike; Invalid("tree_unreadable") where the branch holds what nobody can read.
    """
    job = Job.objects.filter(uuid=UUID(str(uuid)), kind=COMMIT, state="failed").first()
    detail = ((job.error or {}).get("detail") or {}) if job is not None else {}
    environments = Environment.objects.visible_to(user)
    environment = environments.filter(uuid=job.params.get("environment")).first() if job is not None else None
    if (
        job is None
        or environment is None
        or job.params.get("repository") != str(repository.uuid)
        or not detail.get("remote_commit")
        or not policy.can(user, Permission.REPOSITORY_COMMIT, environment)
        or not policy.can(user, Permission.ASSET_VIEW, environment)
    ):
        raise NotFoundError("There is no such refused commit, or you may not settle it.")
    rows = repository.readings.filter(folder=repository.folder)
    branch, base = job.params["branch"], job.params["base"]
    known = reading_of(repository, branch)
    remote = known or rows.filter(sha=detail["remote_commit"]).first()
    must_be_readable(remote)
    found = Refused(
        job,
        repository,
        environment,
        branch,
        job.params["message"],
        remote.sha if remote is not None else detail["remote_commit"],
        rows.filter(sha=base).first() if base else None,
        remote,
    )
    if remote is None:
        return found
    sides = _sides(found)
    conflicts = tuple(_conflict(*side) for side in sides.values())
    return Refused(
        **{
            **found.__dict__,
            "conflicts": tuple(sorted(conflicts, key=lambda one: (one.kind, one.title.casefold(), one.uuid))),
            "untouched": len(job.params["assets"]) - len(conflicts),
        }
    )


Three = tuple[Document | None, Document | None, Document | None]


def _sides(refused: Refused) -> dict[str, Three]:
    """Base, mine and theirs of every asset that both sides changed, each in another way. Raises StoreDamaged."""
    mine: dict[str, str] = refused.job.params["assets"]
    base, theirs = _held(refused.base), _held(refused.remote)
    both = [
        uuid
        for uuid, sha in mine.items()
        if theirs.get(uuid, "")
        not in (base.get(uuid, ""), sha)  # else only one side changed it, or both alike
    ]
    found = get_documents(
        sha for uuid in both for sha in (base.get(uuid), mine[uuid], theirs.get(uuid)) if sha
    )
    return {
        uuid: (found.get(base.get(uuid, "")), found.get(mine[uuid]), found.get(theirs.get(uuid, "")))
        for uuid in both
    }


def _held(reading: CommitReading | None) -> dict[str, str]:
    return dict(reading.assets.values_list("uuid", "document_id")) if reading is not None else {}


def _conflict(base: Document | None, mine: Document | None, theirs: Document | None) -> AssetConflict:
    shown = mine or theirs
    assert shown is not None  # both removed it: alike
    fields: tuple[FieldConflict, ...] = ()
    from_mine = from_theirs = 0
    if mine is not None and theirs is not None:
        merged = merge(base, mine, theirs)
        fields = tuple(map(_field, merged.clashes))
        from_mine, from_theirs = merged.from_mine, merged.from_theirs

    def became(side: Document | None) -> str:
        return "removed" if side is None else "new" if base is None else "changed"

    return AssetConflict(
        shown.kind.value, shown.uuid, shown.title, became(mine), became(theirs), fields, from_mine, from_theirs
    )  # fmt: skip


def _field(clash: Clash) -> FieldConflict:
    texts = (_text(value) for value in (clash.base, clash.mine, clash.theirs))
    return FieldConflict(key_of(clash.path), " › ".join(clash.path), *texts)


def key_of(path: Path) -> str:
    return "/".join(part.replace("~", "~0").replace("/", "~1") for part in path)


def _text(value: Any) -> str:
    if value is None or isinstance(value, str):
        text = value or ""
    else:
        text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]} …"


# --- Settling ---------------------------------------------------------------------------------------------------------


@transaction.atomic
def settle(
    refused: Refused,
    choices: Mapping[str, Mapping[str, str]],
    *,
    actor: Any,
    remote: str,
    message: str = "",
    source: str = Source.PAGE,
    idempotency_key: str | None = None,
) -> Job:
    """Commit what was refused on top of the branch as it was read. `choices`: uuid -> whose word goes ("mine",
    "theirs"), by field key or with the key "" for all of the asset. `remote`: the commit that they were looked at with.

    Raises NotAllowed; Invalid("not_read", "changed_meanwhile", "choice_needed", "empty_selection", "not_mergeable").
    """
    policy.require(actor, Permission.REPOSITORY_COMMIT, refused.environment)
    if refused.remote is None:
        raise Invalid(
            f"{refused.branch} was not read since.", code="not_read", remedy="Read it, then choose."
        )
    if refused.remote.sha != remote:
        raise Invalid(
            f"{refused.branch} moved on once more: it was read at {refused.remote.short} since.",
            code="changed_meanwhile",
            remedy="Nothing was committed. Look at what differs now, then choose.",
        )
    assets: dict[str, str] = dict(refused.job.params["assets"])
    merged: list[Document] = []
    missing: dict[str, list[str]] = {}
    for uuid, (base, mine, theirs) in _sides(refused).items():
        given = choices.get(uuid, {})
        whole = given.get(WHOLE)
        if whole == Side.THEIRS:
            del assets[uuid]
        elif whole == Side.MINE:
            continue
        elif mine is None or theirs is None:
            missing[uuid] = ["Whose goes: mine or theirs?"]
        else:
            found = merge(base, mine, theirs)
            open_fields = [
                clash for clash in found.clashes if given.get(key_of(clash.path)) not in tuple(Side)
            ]
            if open_fields:
                missing[uuid] = [
                    f"Choose mine or theirs: {' › '.join(clash.path)}" for clash in open_fields[:20]
                ]
                continue
            chosen = {clash.path: Side(given[key_of(clash.path)]) for clash in found.clashes}
            document = _canonical(merge(base, mine, theirs, chosen))
            if document.fingerprint == theirs.fingerprint:
                del assets[uuid]
            else:
                assets[uuid] = document.fingerprint
                merged.append(document)
    if missing:
        raise Invalid(
            "Not everything is chosen.", code="choice_needed", remedy="Choose mine or theirs.", errors=missing
        )
    if not assets:
        raise Invalid(
            "Theirs goes everywhere: nothing is left to commit.",
            code="empty_selection",
            remedy="Nothing has to be done. The branch holds what you chose.",
        )
    put_documents(merged)
    message = message.replace("\r\n", "\n").strip()[:MESSAGE_LENGTH] or refused.message
    return jobs.enqueue(
        COMMIT,
        {**refused.job.params, "base": refused.remote.sha, "message": message, "assets": assets},
        actor=actor,
        about=[refused.environment],
        locks=[refused.repository],
        idempotency_key=idempotency_key,
        title=refused.job.title,
        source=source,
    )


def _canonical(merged: Merged) -> Document:
    """As it is read out of a tree: two halves may have lists in another order. Raises Invalid("not_mergeable")."""
    document = merged.document
    written = tree.write_documents([document], names={})
    found = tree.read_documents({**tree.header_files(), **written.files})
    if written.problems or found.problems or document.uuid not in found.documents:
        why = [one.text for one in written.problems] + [one.text for one in found.problems]
        raise Invalid(
            f"{document.title}: what was chosen does not fit together. {' '.join(why)}".strip(),
            code="not_mergeable",
            remedy="Take the whole asset from one side.",
        )
    return found.documents[document.uuid]
