# The vocabulary of the project; `make` alone lists it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PROTO  := .tools/proto
BUF    := .tools/buf/node_modules/.bin/buf
AXE    := .tools/axe/node_modules/axe-core/axe.min.js
SCENARIO ?= scenarios/tokyo.yaml
STATE  ?= .keyweave

# More of them than cores: many tests wait. Those that wait longest come first.
SHARED := -n 3 --dist loadfile --no-loadscope-reorder
SUITES := tests/deploy tests/integration tests/protocol tests/unit
# Each of these has a whole network of processes.
CHAOS  := -n 2 --dist loadfile tests/chaos

.DEFAULT_GOAL := help
.PHONY: help run test test-all lint format man fuzz bench bench-entanglement proto proto-check proto-baseline dashboards docs tools clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(VENV)/.installed ## Start the whole network of SCENARIO and watch it
	$(BIN)/keyweave up $(SCENARIO) --state-dir $(STATE)

# On a machine that others use as well, a test of real processes may run out of time beside others: what failed is
# run once more, alone, and named.
AGAIN  := { echo "--- what failed, once more and alone ---"; $(BIN)/pytest -q --last-failed --last-failed-no-failures=none; }

test: $(VENV)/.installed ## All tests but the slow ones
	$(BIN)/pytest -q $(SHARED) -m "not slow" $(SUITES)
	$(BIN)/pytest -q -m "not slow" $(CHAOS)

test-all: $(VENV)/.installed tools ## All tests; none may be skipped
	export KEYWEAVE_NO_SKIP=1; $(BIN)/pytest -q $(SHARED) $(SUITES) || $(AGAIN)
	export KEYWEAVE_NO_SKIP=1; $(BIN)/pytest -q $(CHAOS) || $(AGAIN)

lint: $(VENV)/.installed proto-check ## Style, types, import contracts, protocol
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed ## Format and mend what can be mended mechanically
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

man: $(VENV)/.installed ## Man pages of all commands, in man/
	$(BIN)/keyweave man --write man

FUZZ_SECONDS ?= 3600

fuzz: $(VENV)/.installed ## Parsers of bytes from outside, coverage as the guide, for FUZZ_SECONDS
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,fuzz]'
	$(BIN)/python -m tests.fuzz.guided --seconds $(FUZZ_SECONDS)

bench: $(VENV)/.installed ## Speed, as ratios measured side by side
	$(BIN)/python -m tests.bench

bench-entanglement: $(VENV)/.installed ## Entanglement routing beside published algorithms
	$(BIN)/python -m tests.bench.entanglement

proto: $(PROTO)/.installed ## Generate the code beside the .proto files
	$(PROTO)/bin/python proto/generate.py

proto-check: $(PROTO)/.installed $(BUF) ## Generated code is fresh; the protocol is linted and unbroken
	$(PROTO)/bin/python proto/generate.py --check
	cd proto && ../$(BUF) lint
	cd proto && ../$(BUF) build -o ../.tools/protocol.binpb
	$(BUF) breaking .tools/protocol.binpb --against proto/baseline.binpb

proto-baseline: $(BUF) ## Freeze the protocol of a release, which later ones must not break
	cd proto && ../$(BUF) build -o baseline.binpb

dashboards: $(VENV)/.installed ## Grafana dashboards and Prometheus rules, from the code in dashboards/
	$(BIN)/python -m dashboards
	rm -rf helm/keyweave/files && mkdir -p helm/keyweave/files
	cp -r dashboards/rules helm/keyweave/files/rules
	cp -r dashboards/generated helm/keyweave/files/dashboards

docs: $(VENV)/.installed ## The reference of commands; the README's picture, from a network that really runs; maps; plots of the last bench; events; dashboards
	$(BIN)/python -m docs.events_page
	$(BIN)/python -m keyweave.cli.manual docs/cli.md
	$(BIN)/python docs/picture.py
	$(BIN)/python -m docs.page_pictures
	$(BIN)/python -m docs.pair_pictures
	$(BIN)/keyweave scenario plot scenarios/tokyo.yaml -o docs/images/tokyo-map.svg
	$(BIN)/keyweave scenario plot scenarios/surfnet.yaml -o docs/images/surfnet-map.svg
	test ! -f bench-heal.json || $(BIN)/python docs/plots.py
	test ! -f bench-entanglement.json || $(BIN)/python docs/entanglement_plots.py
	test ! -f bench-entanglement.json || $(BIN)/python docs/fidelity_plots.py
	KEYWEAVE_PICTURES=$(CURDIR)/docs/images/dashboards $(BIN)/pytest -q tests/chaos/test_monitoring.py

tools: .tools/bin/grpcurl .tools/bin/helm .tools/kubernetes-models/.installed .tools/sequence/.installed $(AXE) ## Outside peers that tests talk with

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,postgresql]'
	@touch $@

$(PROTO)/.installed: proto/requirements.txt
	test -x $(PROTO)/bin/python || $(PYTHON) -m venv $(PROTO)
	$(PROTO)/bin/pip install --quiet --disable-pip-version-check -r proto/requirements.txt
	@touch $@

$(BUF):
	npm install --silent --no-audit --no-fund --prefix .tools/buf @bufbuild/buf@$(shell cat proto/buf.version)

# Finds what people with a screen reader could not use. MPL-2.0; a tool of the tests, not part of the wheel.
$(AXE):
	npm install --silent --no-audit --no-fund --prefix .tools/axe axe-core@4.14.1

.tools/bin/grpcurl:
	GOBIN=$(CURDIR)/.tools/bin GOFLAGS=-mod=mod go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4

.tools/bin/helm:
	GOBIN=$(CURDIR)/.tools/bin GOFLAGS=-mod=mod go install helm.sh/helm/v3/cmd/helm@v3.22.0

# Schemas of cert-manager's and the Prometheus operator's objects, which Kubernetes itself does not have.
.tools/kubernetes-models/.installed:
	npm install --silent --no-audit --no-fund --prefix .tools/kubernetes-models \
	  @kubernetes-models/cert-manager@6.0.0 @kubernetes-models/prometheus-operator@6.0.0
	@touch $@

# An environment of its own: it comes with JupyterLab and Dash.
.tools/sequence/.installed: pyproject.toml constraints.txt
	test -x .tools/sequence/bin/python || $(PYTHON) -m venv .tools/sequence
	.tools/sequence/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[sequence]'
	@touch $@

clean: ## Remove what the other targets made
	rm -rf $(VENV) .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
