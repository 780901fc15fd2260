# The edge: video, detector, vision encoder in ONNX Runtime, spool, uplink. No torch.
#   docker build -f deploy/edge.Dockerfile -t saccade-edge .
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/saccade \
 && /opt/saccade/bin/pip install --no-cache-dir --disable-pip-version-check '.[edge]' \
 && ln -s "$(/opt/saccade/bin/python -c 'import saccade_crossing as c; print(c.__path__[0])')/clip.mp4" \
    /opt/saccade/clip.mp4

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin saccade \
 && install -d -o saccade -g saccade -m 0700 /var/lib/saccade
COPY --from=build /opt/saccade /opt/saccade
ENV PATH=/opt/saccade/bin:$PATH STATE_DIRECTORY=/var/lib/saccade PYTHONUNBUFFERED=1
USER saccade
VOLUME /var/lib/saccade
ENTRYPOINT ["saccade"]
CMD ["edge", "run", "--help"]
