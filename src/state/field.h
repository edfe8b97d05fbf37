/*
 * Field tables: how a plain `struct x_state` (no pointers, no descriptors) becomes bytes and back.
 *
 * A table lists every field: name, type, offset, count, and the version of the struct it came in.
 * The encoding describes itself, so that a reader without the table can print it by name and a
 * newer or older reader can match by name:
 *   section := string name, u32 version, u32 instance, u32 nfields, nfields x field
 *   field   := string name, u8 type, u8[3] zero, u32 count, values (little-endian)
 * The values of a FIELD_STRUCT are: u32 version of the sub-table, then count times {u32 nfields,
 * nfields x field}.  Names are 1 to 63 printable ASCII characters; structs nest at most
 * STATE_DEPTH_MAX deep.
 * A reader takes known names with equal type and count <= its own (a scalar: exactly 1), leaves
 * absent ones at their default (zero) when they are newer than the sender's version, refuses a
 * missing older one or one that comes twice, and refuses an unknown one (it would be state silently
 * lost) unless the type has FIELD_OPTIONAL.
 *
 * State structs hold uint8_t, not bool: a stream can put any byte there, and a bool that is neither
 * 0 nor 1 is undefined behaviour.  The counter of a FIELD_VARRAY must not be in the table itself:
 * it is set from the array's count, so that no stream can make it larger than the array.  Variable
 * arrays that share one counter must arrive with equal counts.
 */
#ifndef GODWIT_STATE_FIELD_H
#define GODWIT_STATE_FIELD_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/reader.h"

enum field_type { FIELD_U8 = 1, FIELD_U16, FIELD_U32, FIELD_U64, FIELD_BYTES, FIELD_STRUCT };

#define STATE_NAME_MAX   63
#define STATE_DEPTH_MAX  8
#define STATE_FIELDS_MAX 256 /* in one table */

#define FIELD_OPTIONAL 0x80 /* or'ed to the type on the wire: an older reader may ignore it */

struct state_desc;

struct field {
    const char *name;
    enum field_type type;
    uint32_t offset;
    uint32_t count;        /* array length; 1 for a scalar; bytes for FIELD_BYTES */
    uint32_t size;         /* of one element in memory */
    int32_t len_offset;    /* offset of a uint32_t that holds the used count, or -1: always count */
    uint16_t since;        /* first version that has it */
    uint8_t wire_flags;    /* FIELD_OPTIONAL or 0 */
    const struct state_desc *sub; /* FIELD_STRUCT */
};

struct state_desc {
    const char *name; /* "serial", "virtio-blk", ... */
    uint32_t version;
    uint32_t size; /* sizeof(struct x_state) */
    const struct field *fields;
    uint32_t nfields;
};

#define FIELD_COUNT_(s, f) (sizeof(((s *)0)->f) / sizeof(((s *)0)->f[0]))
#define FIELD(s, t, f)                                                                             \
    {.name = #f, .type = (t), .offset = offsetof(s, f), .count = 1,                                \
     .size = sizeof(((s *)0)->f), .len_offset = -1, .since = 1}
#define FIELD_ARRAY(s, t, f)                                                                       \
    {.name = #f, .type = (t), .offset = offsetof(s, f), .count = FIELD_COUNT_(s, f),               \
     .size = sizeof(((s *)0)->f[0]), .len_offset = -1, .since = 1}
#define FIELD_VARRAY(s, t, f, n)                                                                   \
    {.name = #f, .type = (t), .offset = offsetof(s, f), .count = FIELD_COUNT_(s, f),               \
     .size = sizeof(((s *)0)->f[0]), .len_offset = (int32_t)offsetof(s, n), .since = 1}
#define FIELD_BLOB(s, f)                                                                           \
    {.name = #f, .type = FIELD_BYTES, .offset = offsetof(s, f), .count = sizeof(((s *)0)->f),      \
     .size = 1, .len_offset = -1, .since = 1}
#define FIELD_STRUCTS(s, f, desc)                                                                  \
    {.name = #f, .type = FIELD_STRUCT, .offset = offsetof(s, f), .count = FIELD_COUNT_(s, f),      \
     .size = sizeof(((s *)0)->f[0]), .len_offset = -1, .since = 1, .sub = (desc)}
/* One struct that is not an array; an array of structs, and bytes, with a used count. */
#define FIELD_ONE(s, f, desc)                                                                      \
    {.name = #f, .type = FIELD_STRUCT, .offset = offsetof(s, f), .count = 1,                       \
     .size = sizeof(((s *)0)->f), .len_offset = -1, .since = 1, .sub = (desc)}
#define FIELD_VSTRUCTS(s, f, desc, n)                                                              \
    {.name = #f, .type = FIELD_STRUCT, .offset = offsetof(s, f), .count = FIELD_COUNT_(s, f),      \
     .size = sizeof(((s *)0)->f[0]), .len_offset = (int32_t)offsetof(s, n), .since = 1,            \
     .sub = (desc)}
#define FIELD_VBLOB(s, f, n)                                                                       \
    {.name = #f, .type = FIELD_BYTES, .offset = offsetof(s, f), .count = sizeof(((s *)0)->f),      \
     .size = 1, .len_offset = (int32_t)offsetof(s, n), .since = 1}
#define STATE_DESC(var, label, ver, s, table)                                                      \
    const struct state_desc var = {.name = (label), .version = (ver), .size = sizeof(s),           \
                                   .fields = (table),                                              \
                                   .nfields = sizeof(table) / sizeof((table)[0])}

/* Appends one section. `instance` tells two of a kind apart (vCPU number, slot).  0, -ENOMEM
 * when the buffer would not grow (memory, or its max), or -EINVAL for a table that contradicts
 * itself or a used count above its array; out is as before then. */
int state_encode(const struct state_desc *d, uint32_t instance, const void *state, struct buf *out);

struct state_section {
    char name[STATE_NAME_MAX + 1];
    uint32_t version;
    uint32_t instance;
    uint32_t nfields;
};

/* Reads a section's head; its fields follow in r. -EPROTO: cut short or malformed. */
int state_section_next(struct reader *r, struct state_section *s, struct err *e);
/* Reads the fields of s into *state (zeroed first, and zero again after a failure).  -EPROTO with a
 * text that names section, field and both values. */
int state_decode(const struct state_desc *d, const struct state_section *s, struct reader *r,
                 void *state, struct err *e);
/* Prints the fields of s by name ("  lcr = 0x3"), needing no table; used by stream tools.  With
 * out NULL it skips them, checking their form. */
int state_print(const struct state_section *s, struct reader *r, struct buf *out, struct err *e);

#endif
