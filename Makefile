# SPDX-License-Identifier: Apache-2.0
# The front of the build: Meson does the work. `make` alone lists the targets.

BUILD ?= build
PREFIX ?= /usr/local
PYTHON ?= /usr/bin/python3

.DEFAULT_GOAL := help
.PHONY: help deps build run test deb deb-test docker docker-test stores soak terraform vm-test bench lint format asan tsan fuzz install clean docs

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{ printf "  make %-11s %s\n", $$1, $$2 }'

deps: ## install what the build needs (Debian packages), if it is missing
	@scripts/deps build

build: deps ## build the optimised program: build/sluice
	@scripts/build $(BUILD) -Dbuildtype=release

run: build ## shorten, redirect and limit on port 5000: in-process limiter, SQLite file
	@mkdir -p run
	$(BUILD)/sluice serve --links sqlite:run/sluice.db

test: build ## every test, on the optimised build; ends with a line that counts them (root or sudo)
	@scripts/deps test
	@$(PYTHON) tests/run.py $(BUILD)

deb: ## Debian packages, with a service: build/deb/*.deb
	@scripts/deps deb
	@scripts/deb build/deb

deb-test: deb ## install them on a bare Debian in a chroot, use, upgrade, remove, purge (root; asks a Debian mirror)
	@scripts/deps deb-test
	@SLUICE_TEST_DEB=$(CURDIR)/build/deb $(PYTHON) -m pytest -q -p no:cacheprovider tests/package

docker: ## the images sluice, sluice:scratch and sluice-redis (needs Docker and a registry)
	@scripts/docker

docker-test: ## build the images on bases made here, bring the plant up in Docker, kill, look (root; asks a Debian mirror)
	@scripts/deps docker
	@SLUICE_BUILD=$(BUILD) $(PYTHON) -m pytest -q -rP -p no:cacheprovider tests/docker

stores: build ## test script and module on other versions of Redis and Valkey (downloads)
	@scripts/deps test
	@scripts/deps stores
	@$(PYTHON) tests/stores.py $(BUILD) build-stores

soak: build ## the plant at full length: tests/topology with windows and outages of minutes (root)
	@scripts/deps test
	@SLUICE_SOAK=1 $(PYTHON) tests/run.py $(BUILD) --plant

vm-test: build deb ## the package, and machines of deploy/terraform, in virtual machines with a real kernel and systemd (root; asks a Debian mirror)
	@scripts/deps vm
	@SLUICE_BUILD=$(BUILD) SLUICE_TEST_DEB=$(CURDIR)/build/deb $(PYTHON) -m pytest -q -rP -p no:cacheprovider tests/vm

bench: build ## measure, side by side with nginx and others; prints ratios
	@scripts/deps bench
	@$(PYTHON) bench/run.py $(BUILD)

terraform: ## deploy/terraform: OpenTofu's checks, then cloud-init in chroots (root; downloads; builds OpenTofu once)
	@scripts/deps terraform
	@$(PYTHON) tests/terraform/run --chroot

lint: build ## static analysis and style
	@scripts/deps lint
	@scripts/lint $(BUILD)

format: ## lay the C code out
	@scripts/deps lint
	@git ls-files '*.c' '*.h' | xargs clang-format -i

asan: deps ## every test under AddressSanitizer and UndefinedBehaviorSanitizer
	@scripts/deps test
	@scripts/build build-asan -Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false
	@$(PYTHON) tests/run.py build-asan

tsan: deps ## every test under ThreadSanitizer
	@scripts/deps test
	@scripts/build build-tsan -Dbuildtype=debugoptimized -Db_sanitize=thread -Db_lundef=false
	@$(PYTHON) tests/run.py build-tsan

fuzz: deps ## fuzz every parser of outside bytes, FUZZ_SECONDS each (default 60)
	@scripts/deps fuzz
	@CC=clang scripts/build build-fuzz -Dfuzz=true -Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false
	@scripts/fuzz build-fuzz $${FUZZ_SECONDS:-60}

docs: build ## write docs/config.md anew from the schema
	@$(BUILD)/src/config/config_reference > docs/config.md

install: build ## install below PREFIX (default /usr/local); DESTDIR is honoured
	@scripts/install $(BUILD) $(PREFIX)

clean: ## remove the build folders
	rm -rf build build-asan build-tsan build-fuzz build-terraform build-stores
