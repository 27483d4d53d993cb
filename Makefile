# make demo   installs and edits a phantom
# make test   installs and runs the tests of the runtime but the slow ones, in two processes; WORKERS=4 sets the number
# make test-all   the same with the slow ones
# make test-export   the tests of the torch side, in an environment of their own
# make test-openvino   the runtime's tests on OpenVINO, in an environment of their own
# make test-cuda   onnxruntime-gpu with stub CUDA libraries, in an environment of their own
# make stubs   builds the stub CUDA libraries for benchmarks, for the architecture SM=sm89
# make docs   writes docs/cli.md and the tables of measurements
# All need Python 3.10 to 3.13 and make; PYTHON=python3.12 chooses one.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.10 python3; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info[:2] < (3, 10))' 2>/dev/null && echo $$p && break; done)
# uv, where it is installed, makes an environment in seconds; pip also compiles every module that it installs.
ifneq ($(shell command -v uv 2>/dev/null),)
new_venv = uv venv --quiet --seed --allow-existing --python $$(command -v $(PYTHON))
install = uv pip install --quiet --python $(1)
else
new_venv = $(PYTHON) -m venv
install = $(1)/bin/python -m pip install --quiet
endif
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
PARALLEL = -n $(WORKERS) --dist worksteal
# One worker, thus one core: more threads make such small networks no faster, and contend with the tests beside them.
ONE_CORE = -n 1
VENV_EXPORT := .venv-export
VENV_OPENVINO := .venv-openvino
VENV_CUDA := .venv-cuda
EXPORT_TESTS := tests/export $(addprefix tests/engines/test_,cxr_mini_recipe.py cxr_mini_training.py phantom_recipe.py) \
	tests/test_import_diet.py tests/test_telemetry.py tests/runtime/test_devices.py tests/cuda tests/train

.PHONY: demo docs stubs test test-all test-export test-openvino test-cuda lint clean

demo: $(VENV)/.runtime
	mkdir -p demo
	$(BIN)/roentmod-fast sample demo/chest.dcm --seed 3 --overwrite
	$(BIN)/roentmod-fast edit demo/chest.dcm --prompt edema --preview --overwrite
	@echo
	@echo "The edit is demo/chest.edema.dcm; look at demo/chest.edema.preview.png"
	@echo "Your own frontal radiograph: $(BIN)/roentmod-fast edit FILE --prompt edema --preview"

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

test-all: $(VENV)/.dev
	$(BIN)/python -m pytest $(PARALLEL)

stubs: $(VENV)/.dev
	$(BIN)/python -m tests.cuda.fake_cuda stubs $(SM)

docs: $(VENV)/.dev
	$(BIN)/python docs/write_cli.py
	$(BIN)/python benchmarks/tables.py

test-export: $(VENV_EXPORT)/.dev
	$(VENV_EXPORT)/bin/python -m pytest $(ONE_CORE) $(EXPORT_TESTS)

test-openvino: $(VENV_OPENVINO)/.dev
	FIRST_CORE=1 $(VENV_OPENVINO)/bin/python -m pytest $(ONE_CORE) tests/bundle tests/runtime tests/test_editor.py tests/test_parity.py tests/test_telemetry.py tests/test_tune.py tests/cli/test_tune.py

test-cuda: $(VENV_CUDA)/.dev
	@command -v cc >/dev/null || { echo "test-cuda needs a C compiler, cc"; exit 1; }
	$(VENV_CUDA)/bin/python -m pytest tests/cuda

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/.runtime: setup.cfg pyproject.toml
	$(new_venv) $(VENV)
	$(call install,$(VENV)) --editable '.[cpu]'
	touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(call install,$(VENV)) --editable '.[cpu,dev]'
	touch $@

$(VENV_EXPORT)/.dev: setup.cfg pyproject.toml
	$(new_venv) $(VENV_EXPORT)
	$(call install,$(VENV_EXPORT)) --editable '.[export,aot,int8,rtx,dev]'
	touch $@

$(VENV_OPENVINO)/.dev: setup.cfg pyproject.toml
	$(new_venv) $(VENV_OPENVINO)
	$(call install,$(VENV_OPENVINO)) --editable '.[cpu,openvino,dev]'
	touch $@

# Without CUDA's libraries, 2 GB, which the extra gpu brings: the tests have fakes, made for this version.
$(VENV_CUDA)/.dev: setup.cfg pyproject.toml
	$(new_venv) $(VENV_CUDA)
	$(call install,$(VENV_CUDA)) --editable '.[dev]' onnxruntime-gpu==1.31.1
	touch $@

clean:
	rm -rf $(VENV) $(VENV_EXPORT) $(VENV_OPENVINO) $(VENV_CUDA) demo stubs
