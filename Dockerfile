# Keyweave's processes: docker run IMAGE controller|agent|emulator --config /etc/keyweave/...
#
# Runs as user 10001, with a read-only root (docker run --read-only), needs no shell and no capability. A process
# writes its state directory and nothing else; the controller may want /tmp (SQLite). Root file system, by stage:
#   wheels: every package as a wheel, of the versions in constraints.txt; compilers never run
#   installed: /opt/keyweave, an environment of these wheels
#   the image: Python of the base, /opt/keyweave, an unprivileged user
#
# Python 3.11 is what the tests run on; Debian 13 has OpenSSL 3.5, so that applications get post-quantum TLS.
# Tags move: for a build that can be repeated give the digest that you have checked,
#   docker build --build-arg PYTHON=docker.io/library/python:3.11-slim-trixie@sha256:... .
ARG PYTHON=docker.io/library/python:3.11-slim-trixie

FROM ${PYTHON} AS wheels
WORKDIR /source
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY controller ./controller
COPY agents ./agents
COPY common ./common
COPY proto ./proto
# The build's own tools are held to the same versions.
ENV PIP_CONSTRAINT=/source/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN ["pip", "wheel", "--no-deps", "--wheel-dir", "/wheels", "."]
RUN ["pip", "wheel", "--only-binary", ":all:", "--find-links", "/wheels", "--wheel-dir", "/wheels", "keyweave[mqtt,snmp,postgresql]"]

FROM ${PYTHON} AS installed
COPY --from=wheels /wheels /wheels
RUN ["python", "-m", "venv", "--without-pip", "/opt/keyweave"]
RUN ["pip", "--python", "/opt/keyweave/bin/python", "install", "--no-cache-dir", "--no-index", "--find-links", "/wheels", "keyweave[mqtt,snmp,postgresql]"]

FROM ${PYTHON}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Keyweave" \
      org.opencontainers.image.description="SDN controller for quantum links: controller, agent and emulator" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN ["useradd", "--uid", "10001", "--user-group", "--no-create-home", "--home-dir", "/var/lib/keyweave", "--shell", "/usr/sbin/nologin", "keyweave"]
RUN ["install", "--directory", "--mode", "0700", "--owner", "10001", "--group", "10001", "/var/lib/keyweave", "/var/lib/keyweave/agent"]
# Nothing is installed in a container that runs.
RUN ["pip", "uninstall", "--yes", "pip", "setuptools", "wheel"]
COPY --from=installed /opt/keyweave /opt/keyweave
ENV PATH=/opt/keyweave/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/keyweave
# Controller, metrics, emulator, health, key plane, ETSI GS QKD 014.
EXPOSE 21001 21002 21003 21004 21010 21011
STOPSIGNAL SIGTERM
# Of a process with `health_listen: 127.0.0.1:21004`. Kubernetes has probes of its own and ignores this.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["/opt/keyweave/bin/keyweave", "health", "--alive", "127.0.0.1:21004"]
ENTRYPOINT ["/opt/keyweave/bin/keyweave"]
CMD ["--help"]
