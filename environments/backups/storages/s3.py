"""A bucket of an S3-compatible service as a storage, by django-storages, which brings address, keys and signing.

Objects are small and many. So they are put and got by the client of boto3 that django-storages makes, one request for
each: its files ask for the head of an object twice before they read it.
"""

import base64
import hashlib
from collections.abc import Iterator
from typing import Any

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)
from storages.backends.s3 import S3Storage
from urllib3.exceptions import HTTPError

from .base import StoredObject
from .calls import AT_ONCE
from .errors import ObjectMissing, StorageError, StorageFull, StorageRefused, StorageUnreachable

ABSENT = {"NoSuchKey", "404", "NotFound"}
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html; the last three of MinIO and Ceph
FULL = {"QuotaExceeded", "InsufficientCapacity", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "507"}
REFUSED = {
    "AccessDenied",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidBucketName",
    "InvalidToken",
    "NoSuchBucket",
    "PermanentRedirect",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "400",
    "401",
    "403",
}
CONNECT_SECONDS = 10


class BucketStorage:
    """`seconds`: how long a call may take. Without keys those of the machine are used, as boto3 finds them.

    `addressing`: "path" (endpoint/bucket), "virtual" (bucket.endpoint) or "auto".
    """

    def __init__(
        self,
        name: str,
        *,
        bucket: str,
        prefix: str = "",
        endpoint: str = "",
        region: str = "",
        access_key: str = "",
        secret_key: str = "",
        addressing: str = "auto",
        ca_bundle: str = "",
        seconds: float = 60,
    ) -> None:
        self.name, self.bucket = name, bucket
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.words = f"bucket {bucket}" + (f" at {endpoint}" if endpoint else "")
        config = Config(
            connect_timeout=min(CONNECT_SECONDS, seconds),
            read_timeout=max(1.0, seconds / 3),  # so that a second try is within the limit of the call
            retries={"mode": "standard", "max_attempts": 3},
            max_pool_connections=AT_ONCE,
            signature_version="s3v4",
            s3={"addressing_style": addressing},
            # Sums in trailers are younger than many a service that speaks S3; what is sent has an MD5 and a seal.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        self._storage = S3Storage(
            bucket_name=bucket,
            access_key=access_key or None,
            secret_key=secret_key or None,
            endpoint_url=endpoint or None,
            region_name=region or None,
            client_config=config,
            verify=ca_bundle or None,
        )
        # Made here and not in each thread: a client may be shared, and making one takes a tenth of a second.
        self._client: Any = self._storage.connection.meta.client

    def put(self, key: str, data: bytes) -> None:
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        self._ask("put_object", key, Body=data, ContentMD5=md5, ContentType="application/octet-stream")

    def get(self, key: str) -> bytes:
        answer = self._ask("get_object", key)
        try:
            data: bytes = answer["Body"].read()
        except IncompleteReadError as exc:
            raise StorageUnreachable(f"The {self.words} broke off in the middle of an object.") from exc
        except (BotoCoreError, HTTPError, OSError) as exc:
            raise self._error(exc, key) from None
        return data

    def delete(self, key: str) -> None:
        self._ask("delete_object", key)

    def size(self, key: str) -> int | None:
        try:
            return int(self._ask("head_object", key)["ContentLength"])
        except ObjectMissing:
            return None

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        pages = self._client.get_paginator("list_objects_v2")
        try:
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix + prefix):
                for row in page.get("Contents", ()):
                    key = row["Key"].removeprefix(self.prefix)
                    yield StoredObject(key, int(row["Size"]), row["LastModified"])
        except (BotoCoreError, ClientError, HTTPError, OSError) as exc:
            raise self._error(exc) from None

    def _ask(self, operation: str, key: str, **values: Any) -> Any:
        try:
            return getattr(self._client, operation)(Bucket=self.bucket, Key=self.prefix + key, **values)
        except (BotoCoreError, ClientError, HTTPError, OSError) as exc:
            raise self._error(exc, key) from None

    def _error(self, exc: Exception, key: str = "") -> StorageError:
        if isinstance(exc, NoCredentialsError | PartialCredentialsError):
            return StorageRefused(
                f"There are no keys for the {self.words}.",
                remedy="Set SSTOOLS_BACKUP_S3_ACCESS_KEY and SSTOOLS_BACKUP_S3_SECRET_KEY.",
            )
        if not isinstance(exc, ClientError):  # its words may hold an address, and never a key
            return StorageUnreachable(f"The {self.words} cannot be reached: {type(exc).__name__}.")
        error = exc.response.get("Error", {})
        code = str(error.get("Code", ""))
        status = int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if key and code in ABSENT:
            return ObjectMissing(f"The object {key} is not in the {self.words} any more.")
        if code in FULL or status == 507:
            return StorageFull(f"The {self.words} takes nothing more: {code}.")
        if code in REFUSED or status in (401, 403):
            return StorageRefused(f"The {self.words} refuses ss-tools: {code}.")
        if status >= 500 or code in ("SlowDown", "RequestTimeout", "InternalError"):
            return StorageUnreachable(f"The {self.words} is in trouble: {code or status}.")
        return StorageError(f"The {self.words} answered {code or status}.")
