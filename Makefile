# Two commands do everything: `make demo` and `make test`. Each prepares what it needs; the second time is quick.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2

.PHONY: demo test test-all check bench lock messages

demo: ## the main job on real input, unattended
	@$(PYTHON) tools/prepare.py demo
	@$(BIN)/charter demo $(ARGS)

test: prepared check ## all the tests that fit into twenty minutes on two cores
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "not slow" $(ARGS)

test-all: prepared check ## the longer suites too
	@$(PYTHON) tools/prepare.py test-all
	FUZZ_TIMES=4 $(BIN)/pytest -n $(WORKERS) --dist loadgroup --hypothesis-profile thorough --timeout 1800 $(ARGS)

check: prepared ## style, types, floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -n $(WORKERS)
	$(BIN)/lint-imports

bench: ## the benchmarks, side by side with the peers
	@$(PYTHON) tools/prepare.py bench
	@$(BIN)/charter bench $(ARGS)

lock: prepared ## resolve the locks again (needs uv)
	$(PYTHON) tools/lock.py

messages: prepared ## write the Workload API's message classes from its proto file again
	$(BIN)/python -m grpc_tools.protoc -Isrc --python_out=src --pyi_out=src src/charter/server/workloadapi.proto

.PHONY: prepared
prepared:
	@$(PYTHON) tools/prepare.py test
