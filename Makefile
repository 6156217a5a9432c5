# What a fresh Debian machine with Go needs, it installs here.
#
#   make run           build and run the broker on embedded defaults
#   make test          every test, with the race detector; installs what they use
#   make check         formatting, vet, staticcheck, tidiness, generated files, known vulnerabilities
#   make bench         speeds, each beside its peer
#   make docs          the table of settings in the README
#   make screenshots   the pictures in the README

SHELL = /bin/sh
GO = go
BIN = bin/postern
SUDO = $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: all run build test check bench docs screenshots generate fuzz tools-test tools-bench clean

all: build

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN) ./cmd/postern

run: build
	./$(BIN) serve

# Every test, nothing skipped: a foreign client or server that is missing is a
# failure, not a reason.
test: tools-test
	POSTERN_TEST_REQUIRE_ALL=1 $(GO) test -race -timeout 20m ./...
	$(GO) test -run DoesNotAllocate ./authn ./authz

# The foreign clients and servers of the tests. Packages that are there already
# are not touched.
TEST_PACKAGES = gcc libc6-dev git mosquitto-clients postgresql slapd nginx-light openssl strongswan-pki libstrongswan-standard-plugins pebble curl nodejs npm ca-certificates chromium
tools-test: PACKAGES = $(TEST_PACKAGES)
tools-bench: PACKAGES = mosquitto

# Installs $(PACKAGES) that are not there. Services that Debian would start are
# held back: the tests run their own on free ports.
define install
	@missing=; for p in $(PACKAGES); do \
	  case $$p in nodejs) command -v node >/dev/null && continue;; npm) command -v npm >/dev/null && continue;; esac; \
	  dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q '^install ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  echo "installing$$missing"; \
	  $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
endef

tools-bench:
	$(install)

tools-test:
	$(install)
	@$(MAKE) --no-print-directory test/node_modules

test/node_modules: test/package.json test/package-lock.json
	npm ci --prefix test --no-audit --no-fund --silent
	@touch $@

check:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "not formatted:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff
	$(GO) generate ./... && git diff --exit-code -- '*.gen.go'
	$(GO) test ./cmd/postern -run 'TestImportsPointDown|TestEnvironmentIsReadInOnePlace|TestEveryPackageHasADoc|TestReadmeSettings'
	@$(GO) tool govulncheck ./... || { \
	  code=$$?; [ $$code = 3 ] && exit 3; \
	  echo "govulncheck could not run (exit $$code): its database is not reachable from here"; }

# Speeds, each beside its peer, as ratios. Needs mosquitto, which it installs.
bench: tools-bench
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 30m ./bench/...
	$(GO) test -run '^$$' -bench 'Decision|Allow' -benchmem ./authn ./authz

# The table of settings in the README.
docs:
	$(GO) test ./cmd/postern -run TestReadmeSettings -update

# The pictures of the README, with two minutes of traffic in the charts.
screenshots: tools-test
	POSTERN_FILM=$(CURDIR)/docs/film.png POSTERN_FILM_STEPS=24 $(GO) test -count=1 -run TestFilm ./test

generate:
	$(GO) generate ./...

# Each fuzz target for a while; make test runs their seeds.
FUZZTIME = 30s
fuzz:
	@for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	    echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
	  done; done

clean:
	rm -rf bin test/node_modules
