# Cartero. `make` lists the targets; CONTRIBUTING.md says which ones a change needs.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

BIN := $(CURDIR)/bin
IMG ?= cartero:dev
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# Where tests and `cartero dev` find etcd, kube-apiserver and kubectl.
export KUBEBUILDER_ASSETS ?= $(BIN)

# auto: download them, or else build them; download; build.
CONTROL_PLANE_FROM ?= auto

# Which packages to test, and more flags for go test: make test PKG=./internal/store/... GO_TEST_FLAGS='-race -run Claim'
PKG ?= ./...
GO_TEST_FLAGS ?=

##@ Use

.PHONY: help
help: ## List the targets.
	@awk 'BEGIN {FS = ":.*## "; print "Usage: make <target>"} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-zA-Z0-9_-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: build control-plane ## Send the sample campaign, on embedded defaults, and show how it ended.
	@$(BIN)/cartero dev --demo

.PHONY: demo-real
demo-real: build control-plane ## The same on a MariaDB and a Redis of its own, started and stopped here.
	@hack/services/run --real -- $(BIN)/cartero dev --demo

.PHONY: dev
dev: build control-plane ## Stay up: Kubernetes API, operator, worker, facade and inbox in one process, with the samples.
	@$(BIN)/cartero dev --samples

##@ Build

.PHONY: build
build: ## Build bin/cartero: static, reproducible, without cgo.
	@echo "Building bin/cartero $(VERSION) (a minute or two the first time) …"
	@CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN)/cartero ./cmd/cartero

.PHONY: docker-build
docker-build: ## Build the image (IMG=cartero:dev unless told).
	docker build --build-arg VERSION=$(VERSION) --tag $(IMG) .

.PHONY: image-binary
image-binary: ## Build what the image holds, bin/image/cartero, without Docker; fails if the image would exceed 40 MB.
	@echo "Building bin/image/cartero $(VERSION) (some minutes the first time) …"
	@VERSION=$(VERSION) hack/image/build $(BIN)/image/cartero

.PHONY: control-plane
control-plane: ## Put etcd, kube-apiserver and kubectl into bin/: downloaded, or else built (5 to 9 minutes, once).
	@[[ -f $(BIN)/.control-plane ]] || $(MAKE) $(BIN)/setup-envtest
	@go run ./hack/control-plane -bin $(BIN) -setup-envtest $(BIN)/setup-envtest -from $(CONTROL_PLANE_FROM)

.PHONY: released-control-plane
released-control-plane: ## The same in bin/released, compiled as releases are, to be measured (8 to 15 minutes, once).
	@[[ -f $(BIN)/released/.control-plane ]] || $(MAKE) $(BIN)/setup-envtest
	@go run ./hack/control-plane -bin $(BIN)/released -setup-envtest $(BIN)/setup-envtest -from $(CONTROL_PLANE_FROM) -optimized

.PHONY: clean
clean: ## Remove what build and test wrote; tools and control plane stay.
	rm -rf $(BIN)/cartero $(BIN)/image dist coverage.out

.PHONY: clean-all
clean-all: clean ## Remove tools, control plane and the data of `cartero dev` as well.
	rm -rf $(BIN) .cartero

##@ Change

.PHONY: generate
generate: $(BIN)/controller-gen ## Write deep copies, CRD, RBAC role and API reference from the Go types and their markers.
	@echo "Generating deep copies, CRD, RBAC role and API reference …"
	@$(BIN)/controller-gen object:headerFile=hack/boilerplate.go.txt paths=./api/...
	@$(BIN)/controller-gen crd paths=./api/... output:crd:artifacts:config=config/crd/bases
	@$(BIN)/controller-gen rbac:roleName=cartero-operator paths=./controllers/... output:rbac:artifacts:config=config/rbac
	@go run ./hack/api-reference

.PHONY: manifests
manifests: $(BIN)/kustomize generate ## Print what config/default installs.
	@$(BIN)/kustomize build config/default

.PHONY: fmt
fmt: $(BIN)/golangci-lint ## Format the Go code and sort its imports.
	@$(BIN)/golangci-lint fmt

.PHONY: fix
fix: $(BIN)/golangci-lint ## Format, and apply what linters can correct by themselves.
	@$(BIN)/golangci-lint run --fix

##@ Check

GENERATED := api/**/zz_generated.*.go config/crd/bases config/rbac/role.yaml docs/api-reference.md

.PHONY: verify
verify: generate ## Fail if generated files differ from what is committed.
	@changed=$$(git status --porcelain -- $(addprefix ':(glob)',$(GENERATED)) 'config/crd/bases/**'); \
	if [[ -n $$changed ]]; then \
	  git --no-pager diff -- $(addprefix ':(glob)',$(GENERATED)) 'config/crd/bases'; \
	  printf 'Generated files differ from what is committed; commit what `make generate` wrote:\n%s\n' "$$changed"; exit 1; \
	fi
	@echo "Generated files are up to date."

.PHONY: vet
vet: ## Run go vet.
	@echo "Vetting …"
	@go vet ./...

.PHONY: lint
lint: $(BIN)/golangci-lint ## Run the linters that .golangci.yml lists, the Kubernetes API linter among them.
	@echo "Linting (some minutes the first time, seconds after that) …"
	@$(BIN)/golangci-lint run

.PHONY: vulncheck
vulncheck: $(BIN)/govulncheck ## Look for known vulnerabilities that the code reaches.
	@echo "Looking for known vulnerabilities …"
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; status=0; \
	$(BIN)/govulncheck ./... >"$$log" 2>&1 || status=$$?; \
	if grep -q '^govulncheck: fetching vulnerabilities' "$$log"; then \
	  echo "Skipped: the vulnerability data at $${GOVULNDB:-https://vuln.go.dev} can't be reached from here."; exit 0; \
	fi; \
	cat "$$log"; exit $$status

.PHONY: test-fast
test-fast: ## Run the tests that need nothing installed.
	@go test -short $(GO_TEST_FLAGS) $(PKG)

# Two packages at a time: each may have an API server of its own.
.PHONY: test
test: $(BIN)/gotestsum build control-plane ## Run every test, with an API server, MariaDB and Redis; none may be skipped.
	@hack/services/run -- hack/gotest --no-skips -p 2 -count=1 -timeout 20m $(GO_TEST_FLAGS) $(PKG)

.PHONY: test-interop
test-interop: $(BIN)/gotestsum build control-plane ## Of these tests, those against the real Bull, BullMQ, Prisma and nodemailer (needs Node.js).
	@hack/services/run -- hack/gotest --no-skips -p 2 -count=1 -timeout 20m $(GO_TEST_FLAGS) ./test/interop/... ./test/bench/...

# The version to come from: any commit or tag whose campaigns this one is to take over, and give back.
FROM ?= HEAD~1

.PHONY: test-upgrade
test-upgrade: $(BIN)/gotestsum control-plane ## Upgrade from FROM=<commit> in the middle of a campaign, and go back.
	@echo "Building cartero of $(FROM) …"; from=$$(mktemp -d); \
	trap 'git worktree remove --force "$$from/source" 2>/dev/null; rm -rf "$$from"' EXIT; \
	git worktree add --quiet --detach "$$from/source" "$(FROM)"; \
	go build -C "$$from/source" -o "$$from/cartero" ./cmd/cartero; \
	TEST_UPGRADE_FROM="$$from/cartero" hack/services/run -- hack/gotest --no-skips -count=1 -timeout 20m -tags upgrade \
	  -run TestUpgradeInTheMiddle $(GO_TEST_FLAGS) ./test/faults

.PHONY: test-faults
test-faults: $(BIN)/gotestsum build control-plane ## Everything that can break, does: each process cut off at each failpoint, and all other faults (an hour or so).
	@TEST_FAULTS=all hack/services/run -- hack/gotest --no-skips -p 1 -count=1 -timeout 120m $(GO_TEST_FLAGS) ./test/faults/...

# What is below test/ watches processes of their own, in which the detector sees nothing.
.PHONY: race
race: PKG = ./api/... ./cmd/... ./controllers/... ./internal/...
race: $(BIN)/gotestsum ## Run the tests that need nothing installed with the race detector (needs a C compiler).
	@CGO_ENABLED=1 hack/gotest -race -short -timeout 20m $(GO_TEST_FLAGS) $(PKG)

# What is broken and for how long: make test-soak SOAK_FLAGS='-seed 7 -duration 10m'; -help lists the flags.
SOAK_FLAGS ?=

.PHONY: test-soak
test-soak: control-plane ## Break everything at random for some minutes, then judge what is left; see docs/reliability.md.
	@hack/services/run -- go run ./test/faults/soak $(SOAK_FLAGS)

# MUTANTS_FLAGS=-fast for those that take two minutes together and need nothing installed.
MUTANTS_FLAGS ?=

.PHONY: test-mutants
test-mutants: control-plane ## Build deliberate bugs in, one at a time, and fail if the tests don't notice one (some ten minutes).
	@hack/services/run -- go run ./test/faults/mutants $(MUTANTS_FLAGS)

# More flags for a benchmark: make bench-queue BENCH_FLAGS='-rounds 9 -json bench.json'; -help lists them.
BENCH_FLAGS ?=

.PHONY: bench-queue
bench-queue: ## Measure the queue against npm bull on one Redis (needs Node.js; some two minutes); see docs/benchmarks.md.
	@TEST_DATABASE_URL=none hack/services/run -- go run ./test/bench/queue $(BENCH_FLAGS)

.PHONY: bench-facade
bench-facade: build ## Measure the HTTP facade against a FastAPI service (installs Python packages; some four minutes); see docs/benchmarks.md.
	@hack/services/run --real -- go run ./test/bench/facade $(BENCH_FLAGS)

.PHONY: bench-messages
bench-messages: build control-plane ## Measure lists against a bare LOAD DATA of their rows, and rendering (some six minutes); see docs/benchmarks.md.
	@hack/services/run --real -- go run ./test/bench/messages $(BENCH_FLAGS)

.PHONY: bench-fairness
bench-fairness: build ## Measure how long single mails and small campaigns wait for a large one (some three minutes); see docs/benchmarks.md.
	@hack/services/run --real -- go run ./test/bench/fairness $(BENCH_FLAGS)

.PHONY: bench-operator
bench-operator: build released-control-plane ## Measure the operator at scale: 1,000 campaigns at once, 10,000 that have ended (some ten minutes); see docs/benchmarks.md.
	@hack/services/run --real -- go run ./test/bench/operator -assets $(BIN)/released $(BENCH_FLAGS)

.PHONY: bench-delivery
bench-delivery: image-binary ## Measure campaigns against a Node worker and Postfix's smtp-source (needs Node.js; some ten minutes); see docs/performance.md.
	@hack/services/run --real -- go run ./test/bench/delivery -cartero $(BIN)/image/cartero $(BENCH_FLAGS)

##@ Tools

.PHONY: tools
tools: $(addprefix $(BIN)/,controller-gen kustomize golangci-lint govulncheck gotestsum setup-envtest) ## Build the pinned tools into bin/.

# $(call tool,name,package,remark): one tool, from the versions that hack/tools/go.mod pins.
define tool
$$(BIN)/$(1): hack/tools/go.mod hack/tools/go.sum
	@echo "Building $(1)$(3) …"
	@go build -C hack/tools -o $$@ $(2) && touch $$@
endef

$(eval $(call tool,controller-gen,sigs.k8s.io/controller-tools/cmd/controller-gen))
$(eval $(call tool,kustomize,sigs.k8s.io/kustomize/kustomize/v5))
$(eval $(call tool,govulncheck,golang.org/x/vuln/cmd/govulncheck))
$(eval $(call tool,gotestsum,gotest.tools/gotestsum))
$(eval $(call tool,setup-envtest,sigs.k8s.io/controller-runtime/tools/setup-envtest))
$(eval $(call tool,golangci-lint,./cmd/golangci-lint, with the Kubernetes API linter (some minutes the first time)))

$(BIN)/golangci-lint: $(wildcard hack/tools/cmd/golangci-lint/*.go)
