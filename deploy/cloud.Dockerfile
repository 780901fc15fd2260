# The cloud: gRPC server, durable store, embedded ONNX engine. No torch, no GPU.
#   docker build -f deploy/cloud.Dockerfile -t saccade-cloud .
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/saccade \
 && /opt/saccade/bin/pip install --no-cache-dir --disable-pip-version-check '.[cloud,postgres]'

FROM python:3.11-slim-bookworm
# openssl: make.sh makes the certificates of the compose file with it.
RUN apt-get update \
 && apt-get install -y --no-install-recommends openssl \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin saccade \
 && install -d -o saccade -g saccade -m 0700 /var/lib/saccade /keys
COPY --from=build /opt/saccade /opt/saccade
COPY deploy/certs/make.sh /opt/saccade/certs/make.sh
ENV PATH=/opt/saccade/bin:$PATH STATE_DIRECTORY=/var/lib/saccade PYTHONUNBUFFERED=1
USER saccade
VOLUME /var/lib/saccade
EXPOSE 7860 7861
HEALTHCHECK --interval=10s --timeout=6s --start-period=20s \
  CMD ["saccade", "cloud", "health"]
ENTRYPOINT ["saccade"]
CMD ["cloud", "serve", "--help"]
