# One image for web servers, workers and commands. docs/operations.md tells how to run it; compose.yaml does it.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/ss-tools/venv
COPY requirements.txt /opt/ss-tools/requirements.txt
# The lock has the hash of every file, and binaries for every platform of the image: nothing is built here.
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/ss-tools/venv/bin/pip install --quiet --require-hashes --only-binary :all: -r /opt/ss-tools/requirements.txt

FROM ${PYTHON_IMAGE}
# A number, so that Kubernetes' runAsNonRoot can see that it is not root.
RUN useradd --uid 10001 --user-group --home-dir /var/lib/ss-tools --no-create-home --shell /usr/sbin/nologin ss-tools
COPY --from=packages /opt/ss-tools/venv /opt/ss-tools/venv
# Folder by folder: what lies about in a checkout (data, keys, secrets) never reaches a layer.
COPY manage.py LICENSE /opt/ss-tools/app/
COPY sstools /opt/ss-tools/app/sstools
COPY environments /opt/ss-tools/app/environments
COPY migrations_app /opt/ss-tools/app/migrations_app
COPY templates /opt/ss-tools/app/templates
COPY static /opt/ss-tools/app/static
WORKDIR /opt/ss-tools/app
ENV PATH=/opt/ss-tools/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SSTOOLS_BIND=0.0.0.0:8140 \
    SSTOOLS_DATA_DIR=/var/lib/ss-tools \
    SSTOOLS_STATIC_DIR=/opt/ss-tools/static
# Without keys of its own it would make some and leave them in a layer; these are for this line alone and thrown away.
RUN python -m compileall -q /opt/ss-tools/app \
    && SSTOOLS_DATA_DIR=/tmp/build python manage.py collectstatic --noinput --verbosity 0 \
    && rm -r /tmp/build \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/ss-tools
USER 10001:10001
VOLUME /var/lib/ss-tools
EXPOSE 8140
# http.client and not urllib: it does not ask the container's proxy for 127.0.0.1.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8140, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
# Alone, without PostgreSQL: web and workers in one container, SQLite and keys in the volume.
CMD ["python", "manage.py", "up"]
