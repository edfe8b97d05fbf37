#include "state/field.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "wire/writer.h"

#define STAGE          "state"
#define BYTES_PER_LINE 32

/* A field as it came: what its head says about the values that follow. */
struct head {
    char name[STATE_NAME_MAX + 1];
    uint8_t type;
    bool optional;
    uint32_t count;
};

static const struct {
    const char *name;
    uint32_t size; /* of a value on the wire; 0: of variable size */
} types[] = {
    [FIELD_U8] = {"u8",     1},
      [FIELD_U16] = {"u16",    2},
      [FIELD_U32] = {"u32",    4},
    [FIELD_U64] = {"u64",    8},
      [FIELD_BYTES] = {"bytes",  1},
      [FIELD_STRUCT] = {"struct", 0},
};
_Static_assert(sizeof(types) / sizeof(types[0]) == FIELD_STRUCT + 1, "every type has a row");

static bool name_ok(const char *name)
{
    size_t len = 0;

    for (; name[len]; len++)
        if (name[len] <= ' ' || name[len] > '~')
            return false;
    return len >= 1 && len <= STATE_NAME_MAX;
}

/* Our own tables */

static uint32_t *used_count(const struct field *f, void *state)
{
    return (uint32_t *)(void *)((uint8_t *)state + f->len_offset);
}

static bool field_ok(const struct state_desc *d, const struct field *f)
{
    if (!name_ok(f->name) || f->type < FIELD_U8 || f->type > FIELD_STRUCT || f->count == 0)
        return false;
    if (f->wire_flags & ~FIELD_OPTIONAL || f->since == 0 || f->since > d->version)
        return false;
    if (f->type == FIELD_STRUCT ? !f->sub || f->sub->size != f->size
                                : f->size != types[f->type].size)
        return false;
    if (f->len_offset >= 0 && (uint64_t)f->len_offset + sizeof(uint32_t) > d->size)
        return false;
    return f->offset + (uint64_t)f->count * f->size <= d->size;
}

/* A counter inside the table could be sent larger than its array. */
static bool counters_ok(const struct state_desc *d)
{
    for (uint32_t i = 0; i < d->nfields; i++) {
        int32_t at = d->fields[i].len_offset;

        for (uint32_t j = 0; at >= 0 && j < d->nfields; j++) {
            const struct field *f = &d->fields[j];

            if ((uint32_t)at < f->offset + f->count * f->size &&
                (uint32_t)at + sizeof(uint32_t) > f->offset)
                return false;
        }
    }
    return true;
}

static bool desc_ok(const struct state_desc *d)
{
    if (!name_ok(d->name) || d->version == 0 || d->nfields > STATE_FIELDS_MAX)
        return false;
    for (uint32_t i = 0; i < d->nfields; i++)
        if (!field_ok(d, &d->fields[i]))
            return false;
    return counters_ok(d);
}

/* Encoding */

static int encode_fields(const struct state_desc *d, const uint8_t *state, struct writer *w,
                         int depth);

static void encode_value(struct writer *w, enum field_type type, const uint8_t *p)
{
    uint16_t v16;
    uint32_t v32;
    uint64_t v64;

    switch (type) {
    case FIELD_U16:
        memcpy(&v16, p, sizeof(v16));
        writer_u16(w, v16);
        break;
    case FIELD_U32:
        memcpy(&v32, p, sizeof(v32));
        writer_u32(w, v32);
        break;
    case FIELD_U64:
        memcpy(&v64, p, sizeof(v64));
        writer_u64(w, v64);
        break;
    default:
        break; /* bytes and structs have their own ways */
    }
}

static int encode_field(const struct field *f, const uint8_t *state, struct writer *w, int depth)
{
    const uint8_t *p = state + f->offset;
    uint32_t count = f->count;
    int ret = 0;

    if (f->len_offset >= 0)
        memcpy(&count, state + f->len_offset, sizeof(count));
    if (count > f->count)
        return -EINVAL;
    writer_string(w, f->name);
    writer_u8(w, (uint8_t)(f->type | f->wire_flags));
    writer_bytes(w, (const uint8_t[3]){0}, 3);
    writer_u32(w, count);
    if (f->type == FIELD_BYTES || f->type == FIELD_U8) {
        writer_bytes(w, p, count);
        return 0;
    }
    if (f->type == FIELD_STRUCT)
        writer_u32(w, f->sub->version);
    for (uint32_t i = 0; i < count && !ret; i++, p += f->size) {
        if (f->type == FIELD_STRUCT)
            ret = encode_fields(f->sub, p, w, depth + 1);
        else
            encode_value(w, f->type, p);
    }
    return ret;
}

static int encode_fields(const struct state_desc *d, const uint8_t *state, struct writer *w,
                         int depth)
{
    int ret = 0;

    if (depth > STATE_DEPTH_MAX || !desc_ok(d))
        return -EINVAL;
    writer_u32(w, d->nfields);
    for (uint32_t i = 0; i < d->nfields && !ret; i++)
        ret = encode_field(&d->fields[i], state, w, depth);
    return ret;
}

int state_encode(const struct state_desc *d, uint32_t instance, const void *state, struct buf *out)
{
    size_t start = out->len;
    struct writer w;
    int ret;

    writer_init(&w, out);
    writer_string(&w, d->name);
    writer_u32(&w, d->version);
    writer_u32(&w, instance);
    ret = encode_fields(d, state, &w, 0);
    if (!ret && w.failed)
        ret = -ENOMEM;
    if (ret)
        out->len = start;
    return ret;
}

/* Reading what came */

static int cut_short(const struct state_section *s, const char *field, struct err *e)
{
    return err_set(e, -EPROTO, STAGE, "section %s[%u]: cut short in field '%s'", s->name,
                   s->instance, field);
}

static int next_head(const struct state_section *s, struct reader *r, struct head *h, struct err *e)
{
    const uint8_t *zero;
    uint8_t type;

    reader_string(r, h->name, sizeof(h->name));
    type = reader_u8(r);
    zero = reader_view(r, 3);
    h->count = reader_u32(r);
    if (r->failed || !name_ok(h->name))
        return err_set(e, -EPROTO, STAGE,
                       "section %s[%u]: the head of a field is cut short or has no valid name",
                       s->name, s->instance);
    h->optional = type & FIELD_OPTIONAL;
    h->type = type & (uint8_t)~FIELD_OPTIONAL;
    if (h->type < FIELD_U8 || h->type > FIELD_STRUCT || zero[0] || zero[1] || zero[2])
        return err_set(e, -EPROTO, STAGE, "section %s[%u]: field '%s' has unknown type 0x%x",
                       s->name, s->instance, h->name, type);
    if ((uint64_t)h->count * types[h->type].size > reader_left(r))
        return cut_short(s, h->name, e);
    return 0;
}

int state_section_next(struct reader *r, struct state_section *s, struct err *e)
{
    reader_string(r, s->name, sizeof(s->name));
    s->version = reader_u32(r);
    s->instance = reader_u32(r);
    s->nfields = reader_u32(r);
    if (r->failed || !name_ok(s->name) || s->version == 0)
        return err_set(e, -EPROTO, STAGE,
                       "the head of a section is cut short, or has no valid name or version");
    return 0;
}

static uint64_t read_value(struct reader *r, uint8_t type)
{
    switch (type) {
    case FIELD_U16:
        return reader_u16(r);
    case FIELD_U32:
        return reader_u32(r);
    case FIELD_U64:
        return reader_u64(r);
    default:
        return reader_u8(r);
    }
}

/* Printing and skipping: one walk, which prints when it has somewhere to */

static int walk_fields(const struct state_section *s, struct reader *r, uint32_t nfields, int depth,
                       struct buf *out, struct err *e);

static int indent(struct buf *out, int depth)
{
    return buf_printf(out, "%*s", 2 + 2 * depth, "");
}

static int print_bytes(struct reader *r, const struct head *h, int depth, struct buf *out)
{
    const uint8_t *p = reader_view(r, h->count);
    int ret = 0;

    if (out)
        ret = buf_printf(out, "%u bytes", h->count);
    for (uint32_t i = 0; out && i < h->count && !ret; i++) {
        if (i % BYTES_PER_LINE == 0) {
            ret = buf_printf(out, "\n");
            if (!ret)
                ret = indent(out, depth + 1);
        }
        if (!ret)
            ret = buf_printf(out, "%02x", p[i]);
    }
    return ret;
}

static int print_numbers(struct reader *r, const struct head *h, struct buf *out)
{
    int ret = 0;

    if (!out) {
        reader_view(r, (size_t)h->count * types[h->type].size);
        return 0;
    }
    for (uint32_t i = 0; i < h->count && !ret; i++)
        ret = buf_printf(out, "%s0x%" PRIx64, i ? " " : "", read_value(r, h->type));
    return ret;
}

static int walk_structs(const struct state_section *s, struct reader *r, const struct head *h,
                        int depth, struct buf *out, struct err *e)
{
    uint32_t version = reader_u32(r);
    int ret = 0;

    if (out)
        ret = buf_printf(out, "%u of version %u", h->count, version);
    for (uint32_t i = 0; i < h->count && !ret; i++) {
        uint32_t nfields = reader_u32(r);

        if (r->failed)
            return cut_short(s, h->name, e);
        if (out)
            ret = buf_printf(out, "\n") ?: indent(out, depth) ?: buf_printf(out, "[%u]", i);
        if (!ret)
            ret = walk_fields(s, r, nfields, depth + 1, out, e);
    }
    return ret;
}

static int walk_values(const struct state_section *s, struct reader *r, const struct head *h,
                       int depth, struct buf *out, struct err *e)
{
    if (h->type == FIELD_STRUCT)
        return walk_structs(s, r, h, depth, out, e);
    return h->type == FIELD_BYTES ? print_bytes(r, h, depth, out) : print_numbers(r, h, out);
}

/* Each field starts its own line and leaves it open: a nested walk continues below it. */
static int walk_fields(const struct state_section *s, struct reader *r, uint32_t nfields, int depth,
                       struct buf *out, struct err *e)
{
    struct head h;
    int ret = 0;

    if (depth > STATE_DEPTH_MAX)
        return err_set(e, -EPROTO, STAGE, "section %s[%u]: structs nest deeper than %d", s->name,
                       s->instance, STATE_DEPTH_MAX);
    for (uint32_t i = 0; i < nfields && !ret; i++) {
        ret = next_head(s, r, &h, e);
        if (!ret && out && (i || depth))
            ret = buf_printf(out, "\n");
        if (!ret && out)
            ret = indent(out, depth) ?: buf_printf(out, "%s = ", h.name);
        if (!ret)
            ret = walk_values(s, r, &h, depth, out, e);
    }
    return ret;
}

int state_print(const struct state_section *s, struct reader *r, struct buf *out, struct err *e)
{
    int ret = walk_fields(s, r, s->nfields, 0, out, e);

    if (!ret && out && s->nfields)
        ret = buf_printf(out, "\n");
    if (ret && ret != -EPROTO)
        err_set_errno(e, ret, STAGE, "section %s[%u]: cannot print", s->name, s->instance);
    return ret;
}

/* Decoding into a struct */

/* One struct being decoded: `got` has count + 1 of each table field that came, 0 of the others. */
struct decoding {
    const struct state_section *section;
    const struct state_desc *desc;
    uint8_t *state;
    uint64_t got[STATE_FIELDS_MAX];
};

static int decode_fields(const struct state_section *s, const struct state_desc *d,
                         uint32_t version, uint32_t nfields, struct reader *r, uint8_t *state,
                         int depth, struct err *e);

static void store(uint8_t *p, uint8_t type, uint64_t v)
{
    uint16_t v16 = (uint16_t)v;
    uint32_t v32 = (uint32_t)v;

    switch (type) {
    case FIELD_U16:
        memcpy(p, &v16, sizeof(v16));
        break;
    case FIELD_U32:
        memcpy(p, &v32, sizeof(v32));
        break;
    case FIELD_U64:
        memcpy(p, &v, sizeof(v));
        break;
    default:
        *p = (uint8_t)v;
        break;
    }
}

static int decode_structs(const struct state_section *s, const struct field *f, uint32_t count,
                          struct reader *r, uint8_t *p, int depth, struct err *e)
{
    uint32_t version = reader_u32(r);
    int ret = 0;

    for (uint32_t i = 0; i < count && !ret; i++, p += f->size) {
        uint32_t nfields = reader_u32(r);

        if (r->failed)
            return cut_short(s, f->name, e);
        ret = decode_fields(s, f->sub, version, nfields, r, p, depth + 1, e);
    }
    return ret;
}

static int decode_values(const struct state_section *s, const struct field *f, uint32_t count,
                         struct reader *r, uint8_t *p, int depth, struct err *e)
{
    if (f->type == FIELD_STRUCT)
        return decode_structs(s, f, count, r, p, depth, e);
    if (f->type == FIELD_BYTES || f->type == FIELD_U8) {
        reader_bytes(r, p, count);
    } else {
        for (uint32_t i = 0; i < count; i++, p += f->size)
            store(p, f->type, read_value(r, f->type));
    }
    return r->failed ? cut_short(s, f->name, e) : 0;
}

/* Fields come in table order from an equal version: look there first. */
static const struct field *find_field(const struct state_desc *d, const char *name, uint32_t hint)
{
    for (uint32_t i = 0; i < d->nfields; i++) {
        const struct field *f = &d->fields[(hint + i) % d->nfields];

        if (!strcmp(f->name, name))
            return f;
    }
    return NULL;
}

static int check_head(const struct decoding *dec, const struct field *f, const struct head *h,
                      struct err *e)
{
    const struct state_section *s = dec->section;

    if (dec->got[f - dec->desc->fields])
        return err_set(e, -EPROTO, STAGE, "section %s[%u]: field '%s' comes twice", s->name,
                       s->instance, h->name);
    if (h->type != f->type)
        return err_set(e, -EPROTO, STAGE,
                       "section %s[%u]: field '%s' comes as %s, this version has it as %s", s->name,
                       s->instance, h->name, types[h->type].name, types[f->type].name);
    if (h->count > f->count || (h->count == 0 && f->len_offset < 0))
        return err_set(e, -EPROTO, STAGE,
                       "section %s[%u]: field '%s' comes with %u values, this version takes %s%u",
                       s->name, s->instance, h->name, h->count, f->count > 1 ? "at most " : "",
                       f->count);
    return 0;
}

static int decode_one(struct decoding *dec, uint32_t hint, struct reader *r, int depth,
                      struct err *e)
{
    const struct state_section *s = dec->section;
    const struct field *f;
    struct head h;
    int ret = next_head(s, r, &h, e);

    if (ret)
        return ret;
    f = dec->desc->nfields ? find_field(dec->desc, h.name, hint) : NULL;
    if (!f && h.optional)
        return walk_values(s, r, &h, depth, NULL, e);
    if (!f)
        return err_set(e, -EPROTO, STAGE,
                       "section %s[%u]: field '%s' is unknown here (this version is %s %u) and "
                       "would be lost: the destination must be at least as new as the source",
                       s->name, s->instance, h.name, dec->desc->name, dec->desc->version);
    ret = check_head(dec, f, &h, e);
    if (ret)
        return ret;
    dec->got[f - dec->desc->fields] = (uint64_t)h.count + 1;
    if (f->len_offset >= 0)
        memcpy(used_count(f, dec->state), &h.count, sizeof(h.count));
    return decode_values(s, f, h.count, r, dec->state + f->offset, depth, e);
}

/* Nothing the sender's version has may be missing, and arrays that share a counter must agree. */
static int check_complete(const struct decoding *dec, uint32_t version, struct err *e)
{
    const struct state_section *s = dec->section;

    for (uint32_t i = 0; i < dec->desc->nfields; i++) {
        const struct field *f = &dec->desc->fields[i];
        uint32_t used;

        if (!dec->got[i] && f->since <= version)
            return err_set(e, -EPROTO, STAGE,
                           "section %s[%u]: field '%s' is missing, version %u must have it "
                           "(it came in %u)",
                           s->name, s->instance, f->name, version, f->since);
        if (f->len_offset < 0)
            continue;
        memcpy(&used, used_count(f, dec->state), sizeof(used));
        if (dec->got[i] ? used != dec->got[i] - 1 : used > f->count)
            return err_set(e, -EPROTO, STAGE,
                           "section %s[%u]: field '%s' has another count than the arrays it goes "
                           "with",
                           s->name, s->instance, f->name);
    }
    return 0;
}

static int decode_fields(const struct state_section *s, const struct state_desc *d,
                         uint32_t version, uint32_t nfields, struct reader *r, uint8_t *state,
                         int depth, struct err *e)
{
    struct decoding dec = {.section = s, .desc = d, .state = state};
    int ret = 0;

    if (depth > STATE_DEPTH_MAX || !desc_ok(d))
        return err_set(e, -EINVAL, STAGE, "the table of %s contradicts itself", d->name);
    if (version == 0) /* would make every field newer than the sender, so none required */
        return err_set(e, -EPROTO, STAGE, "section %s[%u]: %s has version 0", s->name, s->instance,
                       d->name);
    for (uint32_t i = 0; i < nfields && !ret; i++)
        ret = decode_one(&dec, i, r, depth, e);
    return ret ? ret : check_complete(&dec, version, e);
}

int state_decode(const struct state_desc *d, const struct state_section *s, struct reader *r,
                 void *state, struct err *e)
{
    int ret;

    memset(state, 0, d->size);
    if (strcmp(s->name, d->name))
        return err_set(e, -EPROTO, STAGE, "section %s[%u] came where %s was due", s->name,
                       s->instance, d->name);
    ret = decode_fields(s, d, s->version, s->nfields, r, state, 0, e);
    if (ret)
        memset(state, 0, d->size);
    return ret;
}
