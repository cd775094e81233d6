# `docker build -t deqsci .` for the CPU, `docker build --target cuda -t deqsci:cuda .` for NVIDIA's GPUs.
# docs/howto/docker.md says how to run them.

FROM python:3.12-slim AS wheel
# The version; a copy of the files has no tags to tell it.
ARG VERSION=0.1.0
COPY . /source
RUN SETUPTOOLS_SCM_PRETEND_VERSION=${VERSION} \
    pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:3.12-slim AS base
COPY --from=wheel /wheels /wheels
COPY constraints.txt /wheels/
# Any user may be given by `--user`; matplotlib needs a folder to write to.
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    PYTHONUNBUFFERED=1 MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /data
ENTRYPOINT ["deqsci"]
CMD ["--help"]

# PyTorch as it comes for Linux, with CUDA's libraries; the driver is the host's.
FROM base AS cuda
RUN pip install -c /wheels/constraints.txt torch && \
    pip install "$(echo /wheels/*.whl)[video,report,cluster,tiff]"

# TORCH_OPTIONS can name the index of PyTorch's CPU builds, which make the image some GB smaller.
FROM base AS cpu
ARG TORCH_OPTIONS=""
RUN pip install ${TORCH_OPTIONS} -c /wheels/constraints.txt torch && \
    pip install "$(echo /wheels/*.whl)[video,report,cluster,tiff]"
