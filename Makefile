# Cartero. `make` lists the targets; CONTRIBUTING.md says which ones a change needs.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

BIN := $(CURDIR)/bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# The API server, etcd and kubectl of envtest and `cartero dev`.
export KUBEBUILDER_ASSETS ?= $(BIN)

##@ General

.PHONY: help
help: ## List the targets.
	@awk 'BEGIN {FS = ":.*## "; print "Usage: make <target>"} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-zA-Z0-9_-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

##@ Build

.PHONY: build
build: ## Build bin/cartero: static, reproducible, without cgo.
	@echo "Building bin/cartero $(VERSION) …"
	@CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN)/cartero ./cmd/cartero

.PHONY: generate
generate: $(BIN)/controller-gen ## Write deep copies, CRD and RBAC from the Go types and markers.
	@echo "Generating deep copies, CRD and RBAC …"
	@$(BIN)/controller-gen object:headerFile=hack/boilerplate.go.txt paths=./api/...
	@$(BIN)/controller-gen crd paths=./api/... output:crd:artifacts:config=config/crd/bases
	@if [ -d controllers ]; then \
	  $(BIN)/controller-gen rbac:roleName=cartero-operator paths=./controllers/... output:rbac:artifacts:config=config/rbac; fi

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
