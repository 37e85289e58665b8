# `make` lists the targets. The two that matter: `make demo` and `make test`.

SHELL := /bin/bash
SOAK ?= 1h
KILLS ?= 200
PREFIX ?= /usr/local
FUZZTIME ?= 4s
BENCH ?= .
# Tools that scripts/setup.sh had to fetch come first.
export PATH := $(CURDIR)/.tools/go/bin:$(CURDIR)/.tools/bin:$(PATH)
RELEASE := $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS := -s -w -X torrentfs/internal/version.release=$(RELEASE)

.DEFAULT_GOAL := help
.PHONY: help demo build test fuzz soak bench figures lint fmt install uninstall clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## see it work: tracker, seeder, mount and reader on this machine alone
	@scripts/setup.sh demo
	@$(MAKE) --no-print-directory build
	@bin/torrentfs demo

build: ## build bin/torrentfs
	@scripts/setup.sh build
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/torrentfs ./cmd/torrentfs

test: ## run everything: format, vet, staticcheck, tests with -race, fuzz targets, real mounts
	@scripts/setup.sh test
	@FUZZTIME=$(FUZZTIME) scripts/test.sh

fuzz: ## run every fuzz target; FUZZTIME=1m for longer
	@scripts/setup.sh build
	@FUZZTIME=$(FUZZTIME) scripts/test.sh fuzz

soak: ## kill the program 200 times, then use one mount for an hour; SOAK=10m, KILLS=20 for less
	@scripts/setup.sh test
	TORRENTFS_SOAK=$(SOAK) TORRENTFS_KILLS=$(KILLS) go test -count=1 -timeout 4h -v \
		-run '^(TestSoak|TestKilledAtRandomMoments|TestKilledWhileChecking)$$' ./integration/disk
	TORRENTFS_IDLE_TORRENTS=1000 go test -count=1 -v -run '^TestIdle' ./library

bench: ## run the benchmarks; BENCH=regexp picks some
	@scripts/setup.sh build
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

figures: build ## print what a mount, the ways of bytes and seeding cost, side by side
	@scripts/setup.sh test
	TORRENTFS_BENCH=1 TORRENTFS_BINARY=$(CURDIR)/bin/torrentfs go test -count=1 -timeout 1h -v -run Figures ./fs ./integration/interop

lint: ## check format, vet, staticcheck and other systems' builds
	@scripts/setup.sh lint
	@scripts/test.sh lint

fmt: ## format the source
	@scripts/setup.sh lint
	find . -name .tools -prune -o -name '*.go' -print0 | xargs -0 gofumpt -w

install: build ## install the program and its completions below PREFIX
	install -D -m 0755 bin/torrentfs $(DESTDIR)$(PREFIX)/bin/torrentfs
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	bin/torrentfs completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/torrentfs
	bin/torrentfs completion zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_torrentfs
	bin/torrentfs completion fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/torrentfs.fish

uninstall: ## remove what install put there
	rm -f $(DESTDIR)$(PREFIX)/bin/torrentfs \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/torrentfs \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_torrentfs \
		$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/torrentfs.fish

clean: ## remove what was built and fetched
	rm -rf bin .tools
