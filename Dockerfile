# syntax=docker/dockerfile:1
# Two images from one file; versions are those of constraints.txt, as everywhere in this project.
#   docker build --target serving -t wardwatch-serving .                        the worker: no torch, no trainer
#   docker build --target serving --build-arg ENGINE=gpu -t wardwatch-serving:gpu .   with TensorRT beside ONNX Runtime
#   docker build --target trainer -t wardwatch-trainer .
ARG PYTHON=python:3.11.13-slim-bookworm

# What pyproject.toml asks for, as one list for each image.
FROM ${PYTHON} AS requirements
WORKDIR /build
COPY pyproject.toml ./
COPY <<'EOF' list.py
import sys, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
extras = project["optional-dependencies"]
print(*project["dependencies"], *(needed for name in sys.argv[1:] for needed in extras[name]), sep="\n")
EOF
RUN python list.py > cpu.txt && python list.py tensorrt > gpu.txt && python list.py trainer > trainer.txt

# gcc stays behind in this stage: the images hold only what runs.
FROM ${PYTHON} AS serving-packages
ARG ENGINE=cpu
RUN apt-get update && apt-get install -y --no-install-recommends gcc g++ && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1
COPY constraints.txt ./
COPY --from=requirements /build/ ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint constraints.txt --requirement "${ENGINE}.txt"

FROM serving-packages AS trainer-packages
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint constraints.txt --requirement trainer.txt

FROM ${PYTHON} AS runtime
RUN groupadd --gid 10001 wardwatch \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/wardwatch --shell /usr/sbin/nologin wardwatch \
    && install -d -o 10001 -g 10001 /var/lib/wardwatch /var/lib/wardwatch/state /var/lib/wardwatch/registry /var/lib/wardwatch/data
# numba compiles at the first start and keeps the result beside the working files: the code itself is read-only
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/var/lib/wardwatch/state/numba \
    WARDWATCH_STATE=/var/lib/wardwatch/state \
    WARDWATCH_REGISTRY=/var/lib/wardwatch/registry
WORKDIR /app
COPY vitals/ vitals/
COPY models/ models/
USER 10001:10001

FROM runtime AS trainer
COPY --from=trainer-packages /opt/venv /opt/venv
COPY trainer/ trainer/
ENV WARDWATCH_DATA=/var/lib/wardwatch/data
CMD ["python", "-m", "trainer", "watch"]

FROM runtime AS serving
COPY --from=serving-packages /opt/venv /opt/venv
COPY stream/ stream/
ENV WARDWATCH_HTTP_HOST=0.0.0.0 \
    WARDWATCH_HTTP_PORT=8080
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=4s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health/live', timeout=3)"]
CMD ["python", "-m", "stream", "worker"]
