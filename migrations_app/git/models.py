"""Repositories, and what was read of their commits."""

from __future__ import annotations

import uuid as uuid_module
from typing import Any, Self
from urllib.parse import urlsplit

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone

from environments.models import KIND_CHOICES, UUID_LENGTH, Document, Environment
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.secrets import SecretField

from .address import Remote

PATH_LENGTH = 1000
SUBJECT_LENGTH = 300
OWN_TREE = "ss_tools"  # a commit's shape where its tree is of tree.py


class Forge(models.TextChoices):
    """Whose API it is. Gitea's is also Forgejo's."""

    GITHUB = "github", "GitHub"
    GITLAB = "gitlab", "GitLab"
    GITEA = "gitea", "Gitea or Forgejo"


class RepositoryQuerySet(models.QuerySet["Repository"]):
    def visible_to(self, user: Any) -> Self:
        """All of them for who may see repositories (`repository:view`, on everything), else none."""
        return self if policy.can(user, Permission.REPOSITORY_VIEW) else self.none()


class Repository(models.Model):
    """A git repository that assets are written to and brought from.

    `secret`: a token or password for HTTPS, a private key for SSH. `host_key`: the SSH server's public key, pinned.
    `folder`: where in the repository the tree is, "" for its root. `author_name`, `author_email`: who commits;
    the author of a commit is the person who asked for it. `environment`: in whose terms the files are, where mapping
    and pairing are to be those of a pair of environments. `refs`: branches and tags with their commits at `fetched_at`;
    `error` is what the last try to reach it ended with, if it failed.

    `forge`, `forge_url`: whose API opens pull requests there, and where it is; "": as its address says.
    `forge_secret`: the token for it, "" where `secret` is one. `statuses`: whether plans of its commits are told to it.
    `hook_secret`: what signs its webhooks, "" as long as none are taken; `hooks_seen`: hashes of the last ones.
    """

    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    name = models.CharField(max_length=100)
    slug = models.SlugField(max_length=50, unique=True)
    url = models.CharField(max_length=500)
    username = models.CharField(max_length=150, blank=True)
    secret = SecretField(blank=True)
    host_key = models.TextField(blank=True)
    branch = models.CharField(max_length=200, default="main")
    folder = models.CharField(max_length=200, blank=True)
    author_name = models.CharField(max_length=100, default="ss-tools")
    author_email = models.CharField(max_length=200, default="ss-tools@localhost")
    sign_off = models.BooleanField(default=False)
    environment = models.ForeignKey(
        Environment, null=True, blank=True, on_delete=models.SET_NULL, related_name="repositories"
    )
    refs = models.JSONField(default=dict, blank=True)
    fetched_at = models.DateTimeField(null=True, blank=True)
    can_push = models.BooleanField(null=True)  # as the server told at the last test; None: never tested
    error = models.JSONField(null=True, blank=True)
    forge = models.CharField(max_length=20, choices=Forge.choices, blank=True)
    forge_url = models.CharField(max_length=500, blank=True)
    forge_secret = SecretField(blank=True)
    statuses = models.BooleanField(default=False)
    hook_secret = SecretField(blank=True)
    hooks_seen = models.JSONField(default=list, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    updated_at = models.DateTimeField(auto_now=True)

    objects = RepositoryQuerySet.as_manager()

    class Meta:
        ordering = ["name", "pk"]
        verbose_name_plural = "repositories"

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("git:detail", args=[self.slug])

    @property
    def remote(self) -> Remote:
        return Remote(self.url, self.username, str(self.secret or ""), self.host_key)

    @property
    def is_ssh(self) -> bool:
        return urlsplit(self.url).scheme == "ssh"

    @property
    def branches(self) -> dict[str, str]:
        """Branch -> commit, as last seen; the default one first."""
        found = {
            name.removeprefix("refs/heads/"): sha
            for name, sha in self.refs.items()
            if name.startswith("refs/heads/")
        }
        return dict(sorted(found.items(), key=lambda pair: (pair[0] != self.branch, pair[0])))

    @property
    def tags(self) -> dict[str, str]:
        return {
            name.removeprefix("refs/tags/"): sha
            for name, sha in sorted(self.refs.items())
            if name.startswith("refs/tags/")
        }


class CommitReading(models.Model):
    """What the tree of one commit holds, as canonical documents. It never changes: a commit does not.

    `shape`: "ss_tools", or of environments.superset.trees.SHAPES; "" for a commit without a tree. `notes`: as of a
    reading. `problems`: [{"path", "line", "text"}] of files that cannot be read: then nothing is brought from it.
    """

    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="readings")
    sha = models.CharField(max_length=40)
    folder = models.CharField(max_length=200, blank=True)
    subject = models.CharField(max_length=SUBJECT_LENGTH)
    author = models.CharField(max_length=200)
    committed_at = models.DateTimeField()
    shape = models.CharField(max_length=20, blank=True)
    counts = models.JSONField(default=dict, blank=True)
    notes = models.JSONField(default=list, blank=True)
    problems = models.JSONField(default=list, blank=True)
    read_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-read_at", "-pk"]
        constraints = [
            models.UniqueConstraint(fields=["repository", "sha", "folder"], name="a_commit_is_read_once")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def place(self) -> str:
        return f"git:{self.repository.slug}@{self.sha}"

    @property
    def name(self) -> str:
        return f"{self.repository.slug}@{self.short}"

    @property
    def short(self) -> str:
        return self.sha[:10]

    @property
    def origin(self) -> Environment | None:
        """In whose terms it is, as of a file that somebody uploaded."""
        return self.repository.environment

    @property
    def sha256(self) -> str:
        """For the history, where files have theirs."""
        return self.sha


class CommitAsset(models.Model):
    """One asset of a commit. `comparable`: its comparison fingerprint. `path`: of its file below the folder."""

    reading = models.ForeignKey(CommitReading, on_delete=models.CASCADE, related_name="assets")
    kind = models.CharField(max_length=20, choices=KIND_CHOICES)
    uuid = models.CharField(max_length=UUID_LENGTH)
    document = models.ForeignKey(Document, on_delete=models.PROTECT, related_name="commits")
    comparable = models.CharField(max_length=64)
    path = models.CharField(max_length=PATH_LENGTH, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["reading", "uuid"], name="an_asset_is_once_in_a_commit")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.uuid}"


class PullRequest(models.Model):
    """A pull or merge request that ss-tools opened, or found open. What becomes of it is seen on the forge."""

    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="pull_requests")
    branch = models.CharField(max_length=200)
    into = models.CharField(max_length=200)
    number = models.PositiveIntegerField()
    url = models.CharField(max_length=1000)
    title = models.CharField(max_length=SUBJECT_LENGTH)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.UniqueConstraint(fields=["repository", "number"], name="a_pull_request_is_known_once")
        ]

    def __str__(self) -> str:
        return f"#{self.number} {self.title}"


class Policy(models.TextChoices):
    """What is done with a commit that is new on a branch."""

    PLAN = "plan", "plan only"
    APPLY = "apply", "apply when green"


class Followed(models.QuerySet["Follow"]):
    def visible_to(self, user: Any) -> Self:
        """Of targets that somebody sees, for who sees repositories."""
        if not policy.can(user, Permission.REPOSITORY_VIEW):
            return self.none()
        return self.filter(target__in=Environment.objects.visible_to(user))


class Follow(models.Model):
    """A branch whose commits are brought to an environment. It acts in the name of `owner`.

    `sha`: the commit that was dealt with last; `seen_sha`: what the branch pointed to at `looked_at`. `asked_at`: when
    a webhook last said that there is something new. `outcome`: what came of the last look ("planning", "applying",
    "nothing_new", "held", "busy", "failed"), with `text` for people.
    """

    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="follows")
    branch = models.CharField(max_length=200)
    target = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="follows")
    policy = models.CharField(max_length=10, choices=Policy.choices, default=Policy.PLAN)
    roll_back_when_red = models.BooleanField(default=True)
    is_enabled = models.BooleanField(default=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    sha = models.CharField(max_length=40, blank=True)
    seen_sha = models.CharField(max_length=40, blank=True)
    looked_at = models.DateTimeField(null=True, blank=True)
    asked_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=20, blank=True)
    text = models.CharField(max_length=500, blank=True)
    migration = models.ForeignKey(
        "migrations_app.Migration", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = Followed.as_manager()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["repository", "branch", "target"], name="a_branch_is_followed_once_to_a_target"
            )
        ]

    def __str__(self) -> str:
        return f"{self.repository}@{self.branch} → {self.target}"

    def get_absolute_url(self) -> str:
        return reverse("git:follows", args=[self.repository.slug])

    @property
    def concerns(self) -> list[Environment]:
        return [self.target]


class HoldQuerySet(models.QuerySet["Hold"]):
    def standing(self) -> Self:
        return self.filter(lifted_at=None)

    def visible_to(self, user: Any) -> Self:
        """As of follows."""
        if not policy.can(user, Permission.REPOSITORY_VIEW):
            return self.none()
        return self.filter(target__in=Environment.objects.visible_to(user))


class Hold(models.Model):
    """As long as it is not lifted, nothing of a repository is written to a target. `run`: that was rolled back."""

    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="holds")
    target = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="holds")
    run = models.ForeignKey(
        "migrations_app.Run", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    reason = models.CharField(max_length=500)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    lift_reason = models.CharField(max_length=500, blank=True)

    objects = HoldQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["repository", "target"], condition=models.Q(lifted_at=None), name="one_hold_stands"
            )
        ]

    def __str__(self) -> str:
        return f"{self.repository} → {self.target}"

    def get_absolute_url(self) -> str:
        return reverse("git:follows", args=[self.repository.slug])

    @property
    def concerns(self) -> list[Environment]:
        return [self.target]
