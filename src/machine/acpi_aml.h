/*
 * A small builder of AML byte code (ACPI 6.4, ch. 20) and resource descriptors (sec. 6.4): just the
 * terms our DSDTs are made of.  Things with a body are opened by a function that returns a mark and
 * closed with it, innermost first.  Errors (memory) stick and are asked for once: aml_failed.
 */
#ifndef GODWIT_MACHINE_ACPI_AML_H
#define GODWIT_MACHINE_ACPI_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "wire/writer.h"

struct aml {
    struct buf code;
    struct writer w;
};

void aml_init(struct aml *a);
void aml_fini(struct aml *a);
bool aml_failed(const struct aml *a);

/* Names have one segment of up to 4 characters, with a leading '\' or not. */
size_t aml_scope(struct aml *a, const char *name);
size_t aml_device(struct aml *a, const char *name);
size_t aml_method(struct aml *a, const char *name, uint8_t args);
size_t aml_package(struct aml *a, uint8_t elements);
void aml_end(struct aml *a, size_t mark);

/* Name(name, <what follows>) */
void aml_name(struct aml *a, const char *name);
void aml_int(struct aml *a, uint64_t v);
void aml_string(struct aml *a, const char *s);
void aml_eisa_id(struct aml *a, const char *id); /* "PNP0A08" */
void aml_return_arg(struct aml *a, uint8_t arg);

/* Name(_CRS, ResourceTemplate(){...}) */
size_t aml_resources(struct aml *a);
void aml_resources_end(struct aml *a, size_t mark);
void aml_io(struct aml *a, uint16_t port, uint8_t len);
void aml_irq(struct aml *a, uint8_t irq);                      /* edge, high, exclusive: ISA */
void aml_interrupt(struct aml *a, uint32_t gsi);               /* level, high, exclusive */
void aml_memory32(struct aml *a, uint32_t base, uint32_t len); /* fixed, read-write */
/* Windows a bridge passes on. */
void aml_window_bus(struct aml *a, uint16_t first, uint16_t last);
void aml_window_io(struct aml *a, uint16_t first, uint16_t last);
void aml_window_memory32(struct aml *a, uint32_t base, uint32_t len);
void aml_window_memory64(struct aml *a, uint64_t base, uint64_t len); /* prefetchable */

#endif
