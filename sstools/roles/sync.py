"""Taking over from a directory who is in which group, at each sign-in."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from sstools.audit import services as audit

from . import policy
from .guard import has_administrator, take_turn
from .models import Account, Group, Membership, Source

logger = logging.getLogger(__name__)
MOST_GROUPS = 2_000  # of one person; a token that names more is cut there, and that is logged


@dataclass(frozen=True)
class Synced:
    """What a sign-in changed, by names of groups. `kept`: the directory took it away, and nobody else could give roles.

    `unknown`: named by the directory, not by ss-tools, and not created.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    created: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def apply_groups(user: Any, group_names: Iterable[str], source: str = Source.ADFS) -> Synced:
    """Make `user` a member of exactly those groups of `source` that `group_names` names; groups of others stay.

    Upper and lower case are the same. A name that ss-tools does not know becomes a group if it fits a pattern of
    SSTOOLS_DIRECTORY_GROUPS (a new group has no roles yet), else it is ignored. If the directory takes away what makes
    the last administrator one, that membership stays until there is another: see `kept`. The number of queries grows
    with groups that are new, and with nothing else. Raises ValueError for "local": nobody but people decides there.
    """
    if source == Source.LOCAL:
        raise ValueError("local groups have no directory")
    named = {name.strip().casefold(): name.strip()[:255] for name in group_names if name.strip()}
    if len(named) > MOST_GROUPS:
        logger.warning("%s is in %s groups: the first %s count", user, len(named), MOST_GROUPS)
        named = dict(list(named.items())[:MOST_GROUPS])
    with transaction.atomic():
        take_turn()
        was_there = has_administrator()
        known = {group.name.casefold(): group for group in Group.objects.filter(source=source)}
        created = [
            Group(name=name, source=source)
            for key, name in named.items()
            if key not in known and _is_wanted(key)
        ]
        for group in created:
            group.save()
            known[group.name.casefold()] = group
        wanted = {known[key].pk: known[key] for key in named if key in known}
        present = {
            row.group_id: row
            for row in Membership.objects.filter(user=user, group__source=source).select_related("group")
        }
        added = [group for pk, group in wanted.items() if pk not in present]
        gone = [row for pk, row in present.items() if pk not in wanted]
        Membership.objects.bulk_create(Membership(user=user, group=group) for group in added)
        Membership.objects.filter(pk__in=[row.pk for row in gone]).delete()
        kept: list[Membership] = []
        if gone and was_there and not has_administrator():
            kept = _put_back(gone)
        now = timezone.now()
        Group.objects.filter(pk__in=wanted).update(seen_at=now)
        Account.objects.update_or_create(user=user, defaults={"source": source, "synced_at": now})
        kept_ids = {row.group_id for row in kept}
        synced = Synced(
            added=tuple(sorted(group.name for group in added)),
            removed=tuple(sorted(row.group.name for row in gone if row.group_id not in kept_ids)),
            kept=tuple(sorted(row.group.name for row in kept)),
            created=tuple(sorted(group.name for group in created)),
            unknown=tuple(sorted(name for key, name in named.items() if key not in known)),
        )
        if synced.kept:
            logger.error(
                "%s is no longer in %s, and stays an administrator: there is no other",
                user,
                ", ".join(synced.kept),
            )
        if synced.added or synced.removed or synced.kept or synced.created:
            data = {
                "source": str(source),
                "added": list(synced.added),
                "removed": list(synced.removed),
                "kept": list(synced.kept),
                "created": list(synced.created),
            }
            audit.record("user:groups", user, actor=user, data=data, source="sign-in")
    policy.forget(user)
    return synced


def _is_wanted(key: str) -> bool:
    return any(fnmatchcase(key, pattern.casefold()) for pattern in settings.DIRECTORY_GROUPS)


def _put_back(gone: list[Membership]) -> list[Membership]:
    """The first of these memberships that makes somebody an administrator, a member again."""
    for row in gone:
        again = Membership.objects.create(
            user_id=row.user_id, group_id=row.group_id, created_at=row.created_at
        )
        if has_administrator():
            return [row]
        again.delete()
    return []
