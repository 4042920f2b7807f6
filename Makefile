# Everything a newcomer runs; `make help` lists it.

.DEFAULT_GOAL := help
.PHONY: help setup build demo test bench gpu-check clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what the build lacks, saying what
	@scripts/setup

build: setup ## build the program: target/release/gustfront
	cargo build --release

demo: build ## synthetic storms in, archive, forecasts, scores and pictures out, under demo/
	@scripts/demo

test: ## formatting, lints, tests, documentation, each with its time
	@scripts/test

bench: build ## measure against the Python tools and write benches/runs/
	@benches/run_archive
	@benches/run_sevir
	@benches/run_grib2
	@benches/run_tensor
	cargo bench

gpu-check: ## every kernel on a GPU, right and beside PyTorch; writes benches/runs/
	@benches/run_gpu

clean: ## remove what was built and what the demo wrote
	cargo clean
	rm -rf demo
