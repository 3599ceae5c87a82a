"""What can be wrong with a repository, each with what to do."""

from __future__ import annotations

from sstools.errors import Conflict, Invalid, NotFoundError, Unavailable


class Unreachable(Unavailable):
    """No connection, or it broke. Trying again may help."""

    code = "repository_unreachable"
    remedy = (
        "Nothing was written there. Check the address, and that ss-tools' machines reach it; then try again."
    )


class SignInRefused(Invalid):
    """The server does not take the credential."""

    code = "repository_sign_in"
    remedy = "Enter a token or key that may read the repository, and write to it where assets are committed."


class NoSuchRepository(Invalid):
    code = "repository_not_found"
    message = "The server has no such repository, or does not show it to this account."
    remedy = "Check the address, and what the account may see."


class HostKeyWrong(Invalid):
    """The server's key is not the one that is pinned, or none is."""

    code = "host_key"


class NoSuchRef(NotFoundError):
    code = "no_such_ref"
    message = "The repository has no such branch, tag or commit."
    remedy = "Name a branch, a tag, or a commit that a branch or tag points to."


class PushRefused(Conflict):
    """The server did not take the commit. Nothing changed there."""

    code = "push_refused"
    remedy = "Nothing was written to the repository. Settle what both sides changed, or commit again."


class ServerBroken(Unavailable):
    """It answered something that is not git's protocol."""

    code = "repository_protocol"
    remedy = (
        "Nothing was written there. Check that the address is that of a git repository, not of its web page."
    )
