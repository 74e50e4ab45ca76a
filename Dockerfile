# One image, two commands: `wakegate` (the activator) and `wakegate-gateway`.
#
#   docker build -t wakegate:0.1.0 .
#   docker build -t wakegate:0.1.0 --build-arg PYTHON_IMAGE=registry.access.redhat.com/ubi9/python-311 .
#
# Any base with Python 3.11 will do. Both stages use the same, because what is installed refers to its interpreter.
# It runs as any user ID with group 0, on a read-only root, and writes no file.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
USER 0
WORKDIR /src
# A mirror of PyPI, and the CA that it is known by (a file in PYTHON_IMAGE): pip reads both; hashes are checked all the same.
ARG PIP_INDEX_URL
ARG PIP_CERT
# Two environments: one that builds and stays here, one that is shipped and has not even pip.
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/wakegate
# The locked packages change seldom: a layer of their own. Wheels only, so that no compiler is asked for.
COPY constraints.txt constraints-dev.txt ./
RUN /opt/build/bin/python3 -m pip --python /opt/wakegate/bin/python3 install \
        --no-cache-dir --require-hashes --only-binary=:all: -r constraints.txt
RUN sed -n '/^setuptools==/,/[^\\]$/p' constraints-dev.txt > constraints-build.txt && \
    /opt/build/bin/python3 -m pip install --no-cache-dir --require-hashes --only-binary=:all: -r constraints-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY activator activator
COPY gateway gateway
RUN /opt/build/bin/python3 -m pip wheel --no-deps --no-build-isolation --wheel-dir dist . && \
    /opt/build/bin/python3 -m pip --python /opt/wakegate/bin/python3 install --no-cache-dir --no-deps dist/*.whl

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="wakegate" \
      org.opencontainers.image.description="Scale-to-zero for Kafka consumers on Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      io.k8s.display-name="wakegate" \
      io.k8s.description="Scale-to-zero for Kafka consumers on Kubernetes"
COPY --from=build /opt/wakegate /opt/wakegate
COPY --from=build /src/LICENSE /licenses/LICENSE
# A user ID that is in no /etc/passwd has no home of its own, and the Kubernetes client asks for one as it is imported.
ENV PATH=/opt/wakegate/bin:$PATH \
    HOME=/ \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /
# A number, so that runAsNonRoot can be checked; OpenShift puts one of its own in its place.
USER 65532:0
EXPOSE 8080 6443
# Bases such as UBI's bring an entry point of their own.
ENTRYPOINT []
CMD ["wakegate", "run"]
