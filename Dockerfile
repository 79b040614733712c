# Runs `make submission` and `make test`; docs/container.md says how.
FROM python:3.11-slim-bookworm

# Debian keeps no older versions to pin.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home carvana \
    && install --directory --owner carvana /carvana
USER carvana
WORKDIR /carvana
# `dvc exp run` commits.
RUN git config --global user.name carvana && git config --global user.email carvana@localhost

# Before the code, so that a change in it installs nothing again.
COPY --chown=carvana Makefile requirements.txt pyproject.toml README.md LICENSE ./
# PyPI's torch brings CUDA's libraries, gigabytes of them; this index has it for the CPU alone.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN mkdir src && PIP_EXTRA_INDEX_URL=$TORCH_INDEX PIP_NO_CACHE_DIR=1 make install

COPY --chown=carvana . .
ENV PATH=/carvana/.venv/bin:$PATH
CMD ["make", "submission"]
