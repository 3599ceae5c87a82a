"""The rail. Pages are named by their URL's name: what is not installed (yet) is left out."""

from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from sstools.roles import policy
from sstools.roles.permissions import Permission


@dataclass(frozen=True)
class Entry:
    label: str
    icon: str
    key: str  # after "g"; a letter of the key's place, see app.js
    names: tuple[str, ...]  # tried in this order
    text: str = ""  # for the tiles of the overview
    permission: Permission | None = (
        None  # needed anywhere: a page that is refused to somebody is not offered to them
    )
    covers: tuple[str, ...] = ()  # namespaces of pages that are reached from here, and stand elsewhere

    @property
    def url(self) -> str:
        return first_url(*self.names)


@dataclass(frozen=True)
class Group:
    label: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Link:
    label: str
    icon: str
    url: str
    text: str
    is_current: bool
    key: str

    @property
    def code(self) -> str:
        """The key's `KeyboardEvent.code`."""
        return f"Key{self.key.upper()}"


GROUPS = (
    Group("", (Entry("Overview", "overview", "o", ("web:home",)),)),
    Group(
        "Estate",
        (
            Entry(
                "Inventory",
                "inventory",
                "i",
                ("environments:assets", "environments:asset_list"),
                "Every asset that was read",
                covers=("assets",),
            ),
            Entry(
                "Environments",
                "environments",
                "e",
                ("environments:list",),
                "The Supersets, and whether they answer",
            ),
        ),
    ),
    Group(
        "Change",
        (
            Entry("Compare", "compare", "c", ("comparing:list",), "Two places side by side"),
            Entry("Migrations", "migrations", "m", ("migrations_app:list",), "Plans, runs, and the way back"),
            Entry(
                "Routes",
                "arrow-right",
                "r",
                ("release:routes",),
                "Saved ways, and who must approve",
                Permission.MIGRATION_VIEW,
            ),
            Entry(
                "Fan-out",
                "migrations",
                "f",
                ("fanout:list",),
                "One dashboard, many copies",
                Permission.MIGRATION_VIEW,
            ),
            Entry(
                "Replace",
                "search",
                "s",
                ("replacing:replace",),
                "Texts of an estate, found and changed",
                Permission.MIGRATION_VIEW,
            ),
            Entry(
                "Drift",
                "pencil",
                "d",
                ("drift:list",),
                "What was edited on targets by hand",
                Permission.MIGRATION_VIEW,
            ),
            Entry(
                "Backups",
                "backups",
                "b",
                ("backups:list",),
                "Copies to go back to",
                covers=("rehearsals",),
            ),
            Entry(
                "Git",
                "git",
                "t",
                ("git:list",),
                "Repositories, both directions",
                Permission.REPOSITORY_VIEW,
            ),
        ),
    ),
    Group(
        "Activity",
        (
            Entry("Jobs", "jobs", "j", ("jobs:list",), "What runs in the background"),
            Entry("Schedules", "clock", "h", ("schedules:list",), "What runs by itself, and when"),
            Entry("Audit", "audit", "a", ("audit:list",), "Who did what, and when", Permission.AUDIT_VIEW),
        ),
    ),
    Group(
        "More",
        (
            Entry(
                "Plugins",
                "plugins",
                "p",
                ("plugins:list",),
                "What is installed and enabled",
                Permission.PLUGIN_VIEW,
            ),
            Entry(
                "Webhooks",
                "link",
                "w",
                ("notices:webhooks",),
                "Chats and programs that are told",
                Permission.WEBHOOK_EDIT,
            ),
            Entry("Access", "access", "u", ("roles:list", "access:list"), "Roles, groups and tokens"),
        ),
    ),
)
SEARCH = ("web:search",)


def first_url(*names: str) -> str:
    """The address of the first of these URL names that exists, or ""."""
    for name in names:
        try:
            return reverse(name)
        except NoReverseMatch:
            continue
    return ""


def rail(request: HttpRequest) -> list[tuple[str, list[Link]]]:
    """(group, links) of the pages there are. Current is the link that covers the page, else that with the longest
    matching address.
    """
    found = [
        (
            group.label,
            [(entry, url) for entry in group.entries if _is_for(entry, request) and (url := entry.url)],
        )
        for group in GROUPS
    ]
    matching = [url for _, pairs in found for _, url in pairs if _covers(url, request.path)]
    namespace = request.resolver_match.namespace if request.resolver_match else ""
    covering = [url for _, pairs in found for entry, url in pairs if namespace and namespace in entry.covers]
    current = covering[0] if covering else max(matching, key=len, default=None)

    def link(entry: Entry, url: str) -> Link:
        return Link(entry.label, entry.icon, url, entry.text, url == current, entry.key)

    return [(label, [link(entry, url) for entry, url in pairs]) for label, pairs in found if pairs]


def _is_for(entry: Entry, request: HttpRequest) -> bool:
    return entry.permission is None or policy.can_anywhere(request.user, entry.permission)


def _covers(url: str, path: str) -> bool:
    return path == url if url == "/" else path.startswith(url)
