# Two images from one wheel, each with what it needs and no more:
#   docker build --target sliceward --tag sliceward:0.1.0 .         watcher, coordinator, command line
#   docker build --target agent --tag sliceward-agent:0.1.0 .       agent
# All that is installed is pinned by hash in requirements/. CI builds no image: tests/daemons/manifests/test_images.py makes the
# same layouts of the same wheel and locks and runs the daemons there.
ARG PYTHON=python:3.12-slim

FROM ${PYTHON} AS wheel
WORKDIR /src
COPY requirements/dev.txt requirements/dev.txt
# What builds the wheel, alone, with the hashes of its lock.
RUN awk '/^setuptools==/ {on = 1} on {print} on && !/\\$/ {exit}' requirements/dev.txt > build.txt \
 && pip install --no-cache-dir --require-hashes --requirement build.txt
COPY . .
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

FROM ${PYTHON} AS sliceward-packages
COPY requirements/ requirements/
RUN python -m venv --without-pip /opt/sliceward \
 && pip --python /opt/sliceward/bin/python install --no-cache-dir --require-hashes \
      --requirement requirements/watcher.txt --requirement requirements/coordinator.txt
COPY --from=wheel /wheels /wheels
RUN pip --python /opt/sliceward/bin/python install --no-cache-dir --no-deps --no-index /wheels/*.whl

FROM ${PYTHON} AS agent-packages
COPY requirements/ requirements/
RUN python -m venv --without-pip /opt/sliceward \
 && pip --python /opt/sliceward/bin/python install --no-cache-dir --require-hashes --requirement requirements/agent.txt
COPY --from=wheel /wheels /wheels
RUN pip --python /opt/sliceward/bin/python install --no-cache-dir --no-deps --no-index /wheels/*.whl

FROM ${PYTHON} AS agent
COPY --from=agent-packages /opt/sliceward /opt/sliceward
ENV PYTHONDONTWRITEBYTECODE=1
# The DaemonSet makes it root, with the capabilities that it names; the image alone is nobody.
USER 65532:65532
ENTRYPOINT ["/opt/sliceward/bin/sliceward"]

FROM ${PYTHON} AS sliceward
COPY --from=sliceward-packages /opt/sliceward /opt/sliceward
ENV PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["/opt/sliceward/bin/sliceward"]
