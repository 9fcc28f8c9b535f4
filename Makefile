# SPDX-License-Identifier: Apache-2.0
# Every target sets itself up first; a second set-up takes a second.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PY := .venv/bin/python
SETUP = @$(PYTHON) -m infra.bootstrap
SANITIZED := build/sanitize
ARGS ?=
# Tests of the stack wait more than they compute: the others run beside them. They begin in the order in which
# tests/conftest.py puts them, the longest group first.
SIDE_BY_SIDE := -n 2 --dist loadgroup --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all check check-helm check-cluster kind-test format sanitize reference \
  promtool chart locks sbom release docs tree clean

help:  ## this list
	@sed -n 's/^\([a-z%-]*\):.*  ## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

setup:  ## Python environment, Kafka and Flink jars, C++ kernels
	$(SETUP)

demo:  ## the whole loop on this machine; ARGS="--once --data open-bandit" and the like are passed on
	$(SETUP) "Springtide demo        needs 6 GiB memory, 5 GiB disk"
	@.venv/bin/springtide demo $(ARGS)

test:  ## all tests but the long ones, on the real Kafka, Flink and S3
	$(SETUP)
	@$(PY) -m pytest -q -m "not long" $(SIDE_BY_SIDE) $(ARGS)

test-all:  ## all tests
	$(SETUP)
	@$(PY) -m pytest -q $(SIDE_BY_SIDE) $(ARGS)

check:  ## ruff, mypy, the bills of materials, and the audit of all dependencies
	$(SETUP)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(PY) -m infra.supply.sbom
	@$(PY) -m infra.supply.audit

check-helm:  ## the chart by real Helm 3 and 4, built once with Go into the user's cache
	$(SETUP)
	@$(PY) -m pytest -q tests/helm/check_helm.py --timeout=1800 $(ARGS)

check-cluster:  ## the chart by a real Kubernetes API server, built once with Go into the user's cache; nothing runs there
	$(SETUP)
	@$(PY) -m pytest -q tests/helm/check_cluster.py --timeout=3600 $(ARGS)

kind-test:  ## the chart's first example in a cluster of containers; last run: never
	@tests/helm/kind_test.sh

format:  ## lay the code out as `check` wants it
	$(SETUP)
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

sanitize: sanitize-address,undefined sanitize-thread  ## the kernels' tests under address, undefined-behaviour and thread sanitizers

sanitize-%:
	$(SETUP)
	@mkdir -p $(SANITIZED)/$*/kernels .springtide/logs
	@export PATH="$(abspath .venv/bin):$$PATH" && log=.springtide/logs/sanitize.log && \
	  { cmake -S . -B $(SANITIZED)/$* -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DSPRINGTIDE_SANITIZE=$* \
	      -DPython_EXECUTABLE=$(abspath $(PY)) && cmake --build $(SANITIZED)/$*; } >$$log 2>&1 || { tail -n 20 $$log; exit 1; }
	@cp kernels/*.py $(SANITIZED)/$*/_core*.so $(SANITIZED)/$*/kernels/
	@# Only what Python writes is captured: a sanitizer's last words would be lost with the process that they end.
	@# The threads of numpy's library are not built for a sanitizer to see how they wait for each other: one.
	@# Without `site` (-S) the installed module is out of sight; the sanitizer's library must be loaded before Python.
	@LD_PRELOAD="$$(g++ -print-file-name=lib$(if $(filter thread,$*),tsan,asan).so) $$(g++ -print-file-name=libstdc++.so)" \
	  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	  TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 \
	  OPENBLAS_NUM_THREADS=1 PYTHONPATH=$(SANITIZED)/$*:.:.venv/lib/python3.11/site-packages $(PY) -P -S -m pytest -q --noconftest \
	  --import-mode=append -p no:cacheprovider -o pythonpath= --capture=sys -m "not long" tests/kernels $(ARGS)

bench-%:  ## run benchmarks/NAME.py, as in `make bench-freshness`; ARGS are passed on
	$(SETUP)
	@$(PY) -m benchmarks.$(subst -,_,$*) $(ARGS)

reference:  ## rewrite the alerts, the Grafana dashboard, docs/metrics.md and docs/reference from code
	$(SETUP)
	@$(PY) -m dashboard.monitoring.generated
	@$(PY) -m springtide.reference

promtool:  ## fetch Prometheus' promtool into .springtide, for the tests of the alerts
	@$(PYTHON) -m infra.local.promtool

chart:  ## rewrite what of the chart is made from code: schema and defaults of its values, alerts, dashboard
	$(SETUP)
	@$(PY) -m springtide.chart_schema

locks:  ## rewrite the images' lock files from requirements.lock and the extras
	$(SETUP)
	@$(PY) -m infra.docker.role_locks

sbom:  ## a CycloneDX bill of materials for each image, in build/sbom
	$(SETUP)
	@$(PY) -m infra.supply.sbom

release:  ## wheel, chart package and bills of materials, in dist
	$(SETUP)
	@$(PY) -m infra.supply.release

docs:  ## the documents as a site, in build/site
	$(SETUP)
	@$(PY) -m mkdocs build -q --strict

tree:  ## rewrite the tree of the README from the files' first lines
	@$(PYTHON) docs/tree.py

clean:  ## remove what was built, fetched and logged
	rm -rf .venv .springtide build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
