# One image for every part; `docker run -p 127.0.0.1:8000:8000 -v multav:/data multav` is the whole service in one container.
#
# TORCH_BUILD and PIP_OPTIONS choose the build of torch: none takes what the package index has for the pinned
# version; "cpu" or "cu130" name a build, found with PIP_OPTIONS="--extra-index-url URL" where torch publishes them.

FROM python:3.11-slim

ARG TORCH_BUILD=""
ARG PIP_OPTIONS=""

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    MULTAV_HOST=0.0.0.0 \
    MULTAV_DATA_DIR=/data

WORKDIR /app

# Dependencies first: they change seldom, and their layer is the large one.
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN pinned="$(sed -n 's/^torch==//p' constraints.txt)" \
    && sed -i '/^torch==/d' constraints.txt \
    && pip install ${PIP_OPTIONS} --constraint constraints.txt "torch==${pinned}${TORCH_BUILD:++${TORCH_BUILD}}"

COPY multav multav
COPY models models
COPY store store
COPY service service
COPY worker worker
COPY alembic alembic
COPY alembic.ini ./
RUN pip install ${PIP_OPTIONS} --constraint constraints.txt --editable .

RUN useradd --system --uid 10001 --no-create-home multav \
    && mkdir /data \
    && chown multav /data
USER multav
VOLUME /data
EXPOSE 8000

ENTRYPOINT ["python", "-m", "service"]
CMD ["all"]
