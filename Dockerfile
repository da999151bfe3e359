# One image for every service of Alioth. It runs on any x86-64 server with AVX2; docker-compose.gpu.yml builds it for
# NVIDIA cards from other bases. No BuildKit features, so that every engine builds it.
ARG BUILD_BASE=python:3.11-slim-bookworm
ARG RUN_BASE=python:3.11-slim-bookworm

# ---------------------------------------------------------------- compile and install
FROM ${BUILD_BASE} AS build
ENV DEBIAN_FRONTEND=noninteractive PYTHONDONTWRITEBYTECODE=1 UV_LINK_MODE=copy
RUN apt-get update \
 && apt-get install -y --no-install-recommends build-essential cmake ninja-build \
 && if ! python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'; then \
      apt-get install -y --no-install-recommends python3 python3-venv python3-pip; fi \
 && rm -rf /var/lib/apt/lists/*

# The slowest step first, so that it stays in the cache of the engine.
ARG LLAMA_VERSION=0.3.36
ARG LLAMA_CMAKE_ARGS="-DLLAVA_BUILD=OFF -DGGML_NATIVE=OFF -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON"
RUN python3 -m venv /opt/alioth \
 && CMAKE_ARGS="${LLAMA_CMAKE_ARGS}" /opt/alioth/bin/python -m pip wheel --no-deps --no-cache-dir \
      --wheel-dir /opt/llama "llama-cpp-python==${LLAMA_VERSION}"

ARG GPU=none
ARG TORCH_INDEX=
WORKDIR /opt/alioth/src
COPY pyproject.toml constraints.txt ./
COPY scripts/__init__.py scripts/setup.py scripts/machine.py scripts/llama_wheel.py scripts/
RUN GPU="${GPU}" TORCH_INDEX="${TORCH_INDEX}" UV_NO_CACHE=1 \
      python3 -m scripts.setup --venv /opt/alioth --wheel /opt/llama/*.whl --dependencies-only

COPY . .
RUN /opt/alioth/bin/uv pip install --no-cache --no-deps --python /opt/alioth/bin/python --editable . \
 && python3 -m compileall -q core models storage auth ingest chat evals app

# ---------------------------------------------------------------- run
FROM ${RUN_BASE}
# LIBREOFFICE=yes makes the image read DOC, PPT, WPS, ODT and ODP; 320 MB more.
ARG LIBREOFFICE=no
RUN apt-get update \
 && if ! command -v python3 >/dev/null; then \
      DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3; fi \
 && if [ "${LIBREOFFICE}" = yes ]; then \
      DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends libreoffice-writer libreoffice-impress; \
    fi \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends libgomp1 libglib2.0-0 \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 alioth \
 && useradd --uid 10001 --gid alioth --home-dir /var/lib/alioth --no-create-home --shell /usr/sbin/nologin alioth \
 && install -d -o alioth -g alioth -m 0700 /var/lib/alioth /var/lib/alioth-secrets
COPY --from=build /opt/alioth /opt/alioth
COPY scripts/container_alioth.sh /usr/local/bin/alioth
ENV ALIOTH_HOME=/var/lib/alioth \
    PATH=/usr/local/bin:/opt/alioth/bin:/usr/bin:/bin \
    PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LANG=C.UTF-8 \
    HF_HUB_OFFLINE=1 ANONYMIZED_TELEMETRY=False
USER alioth
WORKDIR /
EXPOSE 8501
ENTRYPOINT ["alioth"]
CMD ["serve", "--host", "0.0.0.0"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=6 CMD ["alioth-healthy", "8501", "/readyz"]
COPY scripts/container_healthy.py /usr/local/bin/alioth-healthy
