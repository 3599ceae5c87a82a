"""What goes wrong with a Superset, as errors that jobs, pages and the API know how to show."""

from sstools.errors import SSToolsError, translates

from .superset.connection import REMEDIES
from .superset.errors import AmbiguousWrite, SupersetError, SupersetUnreachable

MORE_REMEDIES = {
    "not_found": "Read the environment anew: something was removed there.",
    "invalid": "Superset's own words above say what it does not take.",
    "conflict": "Read the environment anew, then try again.",
    "bundle_invalid": "Export it again; what came is damaged or is not an export of Superset.",
    "unsupported_version": "Upgrade that Superset, or choose a way that it supports.",
    "bad_ca_file": "Enter the certificate of the authority in PEM form.",
    "too_large": "Choose fewer assets, or raise the limit of the proxy in front of Superset.",
    "ambiguous_write": "Read the target before anything else: what was sent may have been done there.",
}


@translates(SupersetError)
def _superset_error(error: SupersetError) -> SSToolsError:
    later_may_help = isinstance(error, SupersetUnreachable)
    remedy = REMEDIES.get(error.code) or MORE_REMEDIES.get(error.code, "")
    if isinstance(error, AmbiguousWrite):
        remedy = MORE_REMEDIES["ambiguous_write"]
    return SSToolsError(
        error.message,
        code=error.code,
        remedy=remedy,
        status=503 if later_may_help else 422,
        detail={"superset": error.detail} if error.detail else {},
    )
