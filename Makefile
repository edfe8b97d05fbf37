# The front door. Everything real is in meson.build; each target first sees to what is missing.
BUILD  ?= build
PREFIX ?= /usr/local
NEEDS  := scripts/needs

all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

$(BUILD)/build.ninja:
	$(NEEDS) build
	meson setup $(BUILD) --prefix=$(PREFIX) $(MESONFLAGS)

demo:
	$(NEEDS) demo
	@$(MAKE) --no-print-directory all
	scripts/demo

test:
	$(NEEDS) test
	@$(MAKE) --no-print-directory all
	scripts/test

lab:
	$(NEEDS) lab
	@$(MAKE) --no-print-directory all
	lab/run

# make fuzz TIME=3600: seconds, shared out among all fuzzers.
TIME ?= 600
fuzz:
	$(NEEDS) fuzz
	scripts/fuzz --time $(TIME)

bench:
	$(NEEDS) bench
	@$(MAKE) --no-print-directory all
	bench/run

# A prefix that is asked for now counts, whatever the build was set up with.
install: all
	$(if $(filter-out file,$(origin PREFIX)),meson configure $(BUILD) --prefix=$(PREFIX) && ninja -C $(BUILD))
	meson install -C $(BUILD) --no-rebuild $(if $(DESTDIR),--destdir $(abspath $(DESTDIR)))

clean:
	rm -rf $(BUILD)

.PHONY: all demo test lab fuzz bench install clean
