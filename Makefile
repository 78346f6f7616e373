# Short names for the stages of .ci/stage, which .ci/run calls too; `make` lists them. `make faults WORDS="KL Jacobian"`
# tries the faults with one of these words in their names; `make lint PYTHON=python` runs in an environment of your own.
STAGES := $(shell .ci/stage | cut -d ' ' -f 1)

export WORDS

.PHONY: help ci $(STAGES)

help:
	@.ci/stage
	@echo 'ci            all that CI checks, in a clean copy'

$(STAGES):
	@.ci/stage $@ $$WORDS

ci:
	@.ci/run
