# The front door for people; everything real is in CMakePresets.json and CMakeLists.txt.
# `make` alone says what there is. Builds land in build/<preset>; `run`, `test` and `package` share `release`.

SHELL := /bin/sh
.DEFAULT_GOAL := help
PRESET ?= release
BUILD := build/$(PRESET)
CMAKE_BUILD := cmake --build $(BUILD)
FUZZ_SECONDS ?= 60

export CCACHE_NOHASHDIR = 1
export CCACHE_BASEDIR ?= $(CURDIR)

.PHONY: help build run test bench bench-proxy bench-logs bench-supervisor bench-netns package format lint asan tsan test-asan test-tsan \
  test-sanitized fuzz clean

help: ## Show this list
	@echo "Pillion: the Kubernetes Pod without Kubernetes."
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build the programs (build/release/bin)
	@packaging/bootstrap.sh build
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@$(CMAKE_BUILD) --target programs

run: ## Build, then start the demo: two services with their helpers (Ctrl-C stops them)
	@packaging/bootstrap.sh build run
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@$(CMAKE_BUILD) --target programs
	@examples/order-processor/demo --bin $(BUILD)/bin

test: ## Build and run every test (ARGS='-L unit' selects by label, ARGS='-R name' by name)
	@packaging/bootstrap.sh build run test
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@$(CMAKE_BUILD)
	@/usr/bin/python3 tests/support/run_tests.py $(BUILD) $(ARGS)

bench: bench-proxy bench-logs bench-supervisor bench-netns ## Measure beside the peers that apt has, and print ratios

bench-proxy: ## Measure the proxy beside haproxy, nginx and nghttpx
	@packaging/bootstrap.sh build bench
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@$(CMAKE_BUILD) --target pillion-proxy
	@tests/bench/proxy/run.py --bin $(BUILD)/bin $(ARGS)

bench-logs: ## Measure how fast log lines become JSON, and the log adapter beside rsyslog
	@packaging/bootstrap.sh build bench
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@$(CMAKE_BUILD) --target bench_logs_encode pillion-logs
	@$(BUILD)/tests/bench_logs_encode
	@tests/bench/logs/run.py --bin $(BUILD)/bin $(ARGS)

bench-supervisor: ## Measure the supervisor beside supervisord, s6 and runit
	@packaging/bootstrap.sh build bench
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@$(CMAKE_BUILD) --target programs
	@tests/bench/supervisor/run.py --bin $(BUILD)/bin $(ARGS)

bench-netns: ## Measure building and taking down networks, and a call from the app through each mode
	@packaging/bootstrap.sh build bench
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@$(CMAKE_BUILD) --target pillion pillion-keeper pillion-netns pillion-proxy pillion-broker
	@tests/bench/netns/run.py --bin $(BUILD)/bin $(ARGS)

package: ## Build the .deb and .rpm (build/release/packages)
	@packaging/bootstrap.sh build package
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@$(CMAKE_BUILD) --target programs
	@packaging/build-packages.sh $(BUILD)

format: ## Rewrite the C++ sources as .clang-format says
	@packaging/bootstrap.sh test
	@git ls-files '*.cc' '*.h' | xargs clang-format-14 -i

lint: ## Check borders, style and formatting only
	@packaging/bootstrap.sh build test
	@PYTHONPATH=tests /usr/bin/python3 -m pytest -q -rs -p no:cacheprovider tests/lint

asan: ## Run every test under AddressSanitizer and UBSan
	@$(MAKE) --no-print-directory test PRESET=asan

tsan: ## Run every test under ThreadSanitizer
	@$(MAKE) --no-print-directory test PRESET=tsan

test-asan: ## Run the proxy's tests under AddressSanitizer and UBSan (others: ARGS="-R logs_")
	@$(MAKE) --no-print-directory test-sanitized PRESET=asan

test-tsan: ## Run the proxy's tests under ThreadSanitizer (others: ARGS="-R logs_")
	@$(MAKE) --no-print-directory test-sanitized PRESET=tsan

test-sanitized:
	@packaging/bootstrap.sh build test
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@$(CMAKE_BUILD) --target programs unit_proxy
	@/usr/bin/python3 tests/support/run_tests.py $(BUILD) $(or $(ARGS),-R '^proxy: |: proxy_')

fuzz: ## Run each fuzz target for FUZZ_SECONDS (60)
	@packaging/bootstrap.sh build fuzz
	@$(MAKE) --no-print-directory build/fuzz/build.ninja PRESET=fuzz
	@cmake --build build/fuzz
	@tests/fuzz/run build/fuzz $(FUZZ_SECONDS)

clean: ## Remove build/
	@rm -rf build

# Ninja re-runs CMake by itself when a CMakeLists.txt changes; this is for the first time only.
build/%/build.ninja:
	@cmake --preset $*
