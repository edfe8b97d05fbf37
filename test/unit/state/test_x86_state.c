/* Every byte of x86 state survives encoding, and every field has its name in the stream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "state/x86_state.h"
#include "wire/reader.h"

static int decode(const struct state_desc *d, const struct buf *b, void *out, struct err *e)
{
    struct state_section s;
    struct reader r;
    int rc;

    reader_init(&r, b->data, b->len);
    rc = state_section_next(&r, &s, e);
    if (rc < 0)
        return rc;
    assert_string_equal(s.name, d->name);
    return state_decode(d, &s, &r, out, e);
}

/* Bytes of [0, size) that the table covers, set to 1 in seen. */
static void cover(const struct state_desc *d, size_t at, uint8_t *seen)
{
    for (uint32_t i = 0; i < d->nfields; i++) {
        const struct field *f = &d->fields[i];

        for (uint32_t n = 0; n < f->count; n++) {
            size_t where = at + f->offset + (size_t)n * f->size;

            if (f->type == FIELD_STRUCT)
                cover(f->sub, where, seen);
            else
                memset(seen + where, 1, f->size);
        }
        if (f->len_offset >= 0)
            memset(seen + at + f->len_offset, 1, sizeof(uint32_t));
    }
}

/* Counters of variable arrays must say "all". */
static void fill_counters(const struct state_desc *d, uint8_t *state)
{
    for (uint32_t i = 0; i < d->nfields; i++)
        if (d->fields[i].len_offset >= 0)
            memcpy(state + d->fields[i].len_offset, &d->fields[i].count, sizeof(uint32_t));
}

/* A field that is in the struct and not in the table would come back zero: so every byte is given a
 * value, and every byte the compiler did not put there as padding must come back. */
static void round_trip(const struct state_desc *d, size_t padding)
{
    uint8_t *in = malloc(d->size), *out = malloc(d->size), *seen = calloc(1, d->size);
    struct err e = ERR_INIT;
    size_t uncovered = 0;
    struct buf b;

    assert_true(in && out && seen);
    for (size_t i = 0; i < d->size; i++)
        in[i] = (uint8_t)(i * 7 + 1) ? (uint8_t)(i * 7 + 1) : 1;
    fill_counters(d, in);
    buf_init(&b, 1 << 20);
    assert_int_equal(state_encode(d, 3, in, &b), 0);
    if (decode(d, &b, out, &e) < 0)
        fail_msg("%s: %s", d->name, e.text);
    cover(d, 0, seen);
    for (size_t i = 0; i < d->size; i++) {
        if (seen[i] && in[i] != out[i])
            fail_msg("%s: byte %zu is 0x%x, was 0x%x", d->name, i, out[i], in[i]);
        uncovered += !seen[i];
    }
    assert_int_equal(uncovered, padding);
    buf_fini(&b);
    free(in);
    free(out);
    free(seen);
}

/* The second number is what the ABI pads, at the places named: it is off when a struct got a field
 * and its table did not. */
static void every_field_comes_back(void **state)
{
    round_trip(&x86_cpuid_desc, 0);
    round_trip(&x86_msr_list_desc, 0);
    round_trip(&x86_clock_state_desc, 1);
    round_trip(&x86_vm_state_desc, 4 + 4); /* ioapic, pit */
    /* segments, descriptor tables, events; nxcrs, mp_state, tsc_offset_valid, tsc_khz */
    round_trip(&x86_vcpu_state_desc, 8 * 1 + 2 * 6 + 11 + 4 + 4 + 7 + 4);
}

static void a_cut_stream_is_an_error_everywhere(void **state)
{
    static struct x86_vm_state in, out;
    struct err e = ERR_INIT;
    struct buf b;

    memset(&in, 0x5a, sizeof(in));
    buf_init(&b, 1 << 20);
    assert_int_equal(state_encode(&x86_vm_state_desc, 0, &in, &b), 0);
    for (size_t len = 0; len < b.len; len++) {
        struct buf cut = {.data = b.data, .len = len};

        assert_true(decode(&x86_vm_state_desc, &cut, &out, &e) < 0);
    }
    buf_fini(&b);
}

static void a_stream_shows_its_fields_by_name(void **state)
{
    static struct x86_vcpu_state in;
    struct state_section s;
    struct err e = ERR_INIT;
    struct buf b, text;
    struct reader r;

    in.regs.rip = 0xffffffff81000123;
    in.events.nmi_masked = 1;
    buf_init(&b, 1 << 20);
    buf_init(&text, 1 << 20);
    assert_int_equal(state_encode(&x86_vcpu_state_desc, 0, &in, &b), 0);
    reader_init(&r, b.data, b.len);
    assert_int_equal(state_section_next(&r, &s, &e), 0);
    assert_int_equal(state_print(&s, &r, &text, &e), 0);
    assert_int_equal(buf_append(&text, "", 1), 0);
    assert_non_null(strstr((char *)text.data, "rip = 0xffffffff81000123"));
    assert_non_null(strstr((char *)text.data, "nmi_masked = 0x1"));
    buf_fini(&text);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_comes_back),
        cmocka_unit_test(a_cut_stream_is_an_error_everywhere),
        cmocka_unit_test(a_stream_shows_its_fields_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
