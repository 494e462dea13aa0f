# syntax=docker/dockerfile:1

# Wheels are made in one stage and installed in another, so that no build tool reaches the image.
FROM python:3.13-slim AS wheels
WORKDIR /wheels
COPY requirements.txt constraints.txt ./
RUN pip wheel --no-cache-dir --wheel-dir /wheels -r requirements.txt

FROM python:3.13-slim
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links=/wheels -r /wheels/requirements.txt
WORKDIR /srv
# Code and settings only: the image is for a real upstream, so it has no embedded model.
COPY app.py gunicorn.conf.py config.toml ./
COPY config config
COPY formats formats
COPY batching batching
COPY upstream upstream
COPY instrumentation instrumentation
COPY api api
COPY serving serving
COPY wiring wiring
COPY embedded/__init__.py embedded/supervisor.py embedded/weights.py embedded/
# A number, so that Kubernetes can check that it is not root.
USER 65532:65532
EXPOSE 3000
# slim has no curl, so Python asks. It asks /health/live, not /health/ready: a restart does not repair an upstream.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; given = [os.environ.get(name, '') for name in ('AUTOBATCH_PORT', 'PORT')]; port = next(filter(str.isdigit, given), '3000'); u.urlopen(f'http://127.0.0.1:{port}/health/live', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "app.py"]
