#include "machine/acpi_aml.h"

#include <string.h>

#define OP_NAME    0x08
#define OP_BYTE    0x0a
#define OP_WORD    0x0b
#define OP_DWORD   0x0c
#define OP_STRING  0x0d
#define OP_QWORD   0x0e
#define OP_SCOPE   0x10
#define OP_BUFFER  0x11
#define OP_PACKAGE 0x12
#define OP_METHOD  0x14
#define OP_EXT     0x5b
#define OP_EXT_DEV 0x82
#define OP_RETURN  0xa4
#define OP_ARG0    0x68
#define SEGMENT    4

#define RES_IRQ      0x22
#define RES_IO       0x47
#define RES_END      0x79
#define RES_MEM32    0x86
#define RES_DWORD    0x87
#define RES_WORD     0x88
#define RES_EXT_IRQ  0x89
#define RES_QWORD    0x8a
#define WINDOW_MEM   0
#define WINDOW_IO    1
#define WINDOW_BUS   2
#define WINDOW_FIXED 0x0c /* minimum and maximum; passed on, not consumed */

void aml_init(struct aml *a)
{
    buf_init(&a->code, 0);
    writer_init(&a->w, &a->code);
}

void aml_fini(struct aml *a)
{
    buf_fini(&a->code);
}

bool aml_failed(const struct aml *a)
{
    return a->w.failed;
}

static void put_name(struct aml *a, const char *name)
{
    if (*name == '\\')
        writer_u8(&a->w, (uint8_t)*name++);
    for (size_t i = 0, len = strlen(name); i < SEGMENT; i++)
        writer_u8(&a->w, i < len ? (uint8_t)name[i] : '_');
}

/* Makes room for n bytes at `at` and fills them. */
static void insert(struct aml *a, size_t at, const uint8_t *bytes, size_t n)
{
    size_t tail = a->code.len - at;

    writer_bytes(&a->w, bytes, n);
    if (a->w.failed)
        return;
    memmove(a->code.data + at + n, a->code.data + at, tail);
    memcpy(a->code.data + at, bytes, n);
}

size_t aml_scope(struct aml *a, const char *name)
{
    size_t mark;

    writer_u8(&a->w, OP_SCOPE);
    mark = a->code.len;
    put_name(a, name);
    return mark;
}

size_t aml_device(struct aml *a, const char *name)
{
    size_t mark;

    writer_u8(&a->w, OP_EXT);
    writer_u8(&a->w, OP_EXT_DEV);
    mark = a->code.len;
    put_name(a, name);
    return mark;
}

size_t aml_method(struct aml *a, const char *name, uint8_t args)
{
    size_t mark;

    writer_u8(&a->w, OP_METHOD);
    mark = a->code.len;
    put_name(a, name);
    writer_u8(&a->w, args); /* not serialized */
    return mark;
}

size_t aml_package(struct aml *a, uint8_t elements)
{
    size_t mark;

    writer_u8(&a->w, OP_PACKAGE);
    mark = a->code.len;
    writer_u8(&a->w, elements);
    return mark;
}

/* PkgLength (sec. 20.2.4) counts itself: 6 bits in one byte, else 4 bits and up to 3 bytes more. */
void aml_end(struct aml *a, size_t mark)
{
    size_t len = a->code.len - mark;
    uint8_t bytes[4];
    size_t n = len + 1 < 1U << 6 ? 1 : len + 2 < 1U << 12 ? 2 : len + 3 < 1U << 20 ? 3 : 4;

    len += n;
    bytes[0] = (uint8_t)(n == 1 ? len : (n - 1) << 6 | (len & 0x0f));
    for (size_t i = 1; i < n; i++)
        bytes[i] = (uint8_t)(len >> (8 * i - 4));
    insert(a, mark, bytes, n);
}

void aml_name(struct aml *a, const char *name)
{
    writer_u8(&a->w, OP_NAME);
    put_name(a, name);
}

void aml_int(struct aml *a, uint64_t v)
{
    if (v <= 1) {
        writer_u8(&a->w, (uint8_t)v); /* ZeroOp, OneOp */
    } else if (v <= UINT8_MAX) {
        writer_u8(&a->w, OP_BYTE);
        writer_u8(&a->w, (uint8_t)v);
    } else if (v <= UINT16_MAX) {
        writer_u8(&a->w, OP_WORD);
        writer_u16(&a->w, (uint16_t)v);
    } else if (v <= UINT32_MAX) {
        writer_u8(&a->w, OP_DWORD);
        writer_u32(&a->w, (uint32_t)v);
    } else {
        writer_u8(&a->w, OP_QWORD);
        writer_u64(&a->w, v);
    }
}

void aml_string(struct aml *a, const char *s)
{
    writer_u8(&a->w, OP_STRING);
    writer_bytes(&a->w, s, strlen(s) + 1);
}

static uint32_t hex(char c)
{
    return (uint32_t)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* Three letters of 5 bits and four hexadecimal digits, most significant byte first. */
void aml_eisa_id(struct aml *a, const char *id)
{
    uint32_t v = (uint32_t)(id[0] - '@') << 26 | (uint32_t)(id[1] - '@') << 21 |
                 (uint32_t)(id[2] - '@') << 16 | hex(id[3]) << 12 | hex(id[4]) << 8 |
                 hex(id[5]) << 4 | hex(id[6]);

    writer_u8(&a->w, OP_DWORD);
    writer_u32(&a->w, __builtin_bswap32(v));
}

void aml_return_arg(struct aml *a, uint8_t arg)
{
    writer_u8(&a->w, OP_RETURN);
    writer_u8(&a->w, OP_ARG0 + arg);
}

size_t aml_resources(struct aml *a)
{
    aml_name(a, "_CRS");
    writer_u8(&a->w, OP_BUFFER);
    return a->code.len;
}

void aml_resources_end(struct aml *a, size_t mark)
{
    uint8_t size[3];
    size_t len;

    writer_u8(&a->w, RES_END);
    writer_u8(&a->w, 0); /* checksum not used */
    len = a->code.len - mark;
    size[0] = len > UINT8_MAX ? OP_WORD : OP_BYTE;
    size[1] = (uint8_t)len;
    size[2] = (uint8_t)(len >> 8);
    insert(a, mark, size, len > UINT8_MAX ? 3 : 2);
    aml_end(a, mark);
}

void aml_io(struct aml *a, uint16_t port, uint8_t len)
{
    writer_u8(&a->w, RES_IO);
    writer_u8(&a->w, 1); /* decodes 16 bits */
    writer_u16(&a->w, port);
    writer_u16(&a->w, port);
    writer_u8(&a->w, 1);
    writer_u8(&a->w, len);
}

void aml_irq(struct aml *a, uint8_t irq)
{
    writer_u8(&a->w, RES_IRQ);
    writer_u16(&a->w, (uint16_t)(1U << irq));
}

void aml_interrupt(struct aml *a, uint32_t gsi)
{
    writer_u8(&a->w, RES_EXT_IRQ);
    writer_u16(&a->w, 6);
    writer_u8(&a->w, 1); /* consumer; level, active high, exclusive */
    writer_u8(&a->w, 1);
    writer_u32(&a->w, gsi);
}

void aml_memory32(struct aml *a, uint32_t base, uint32_t len)
{
    writer_u8(&a->w, RES_MEM32);
    writer_u16(&a->w, 9);
    writer_u8(&a->w, 1); /* read-write */
    writer_u32(&a->w, base);
    writer_u32(&a->w, len);
}

static void window_head(struct aml *a, uint8_t op, uint8_t type, uint8_t flags, uint16_t width)
{
    writer_u8(&a->w, op);
    writer_u16(&a->w, 3 + 5 * width);
    writer_u8(&a->w, type);
    writer_u8(&a->w, WINDOW_FIXED);
    writer_u8(&a->w, flags);
}

static void window16(struct aml *a, uint8_t type, uint8_t flags, uint16_t first, uint16_t last)
{
    window_head(a, RES_WORD, type, flags, 2);
    writer_u16(&a->w, 0); /* granularity */
    writer_u16(&a->w, first);
    writer_u16(&a->w, last);
    writer_u16(&a->w, 0); /* translation */
    writer_u16(&a->w, (uint16_t)(last - first + 1));
}

void aml_window_bus(struct aml *a, uint16_t first, uint16_t last)
{
    window16(a, WINDOW_BUS, 0, first, last);
}

void aml_window_io(struct aml *a, uint16_t first, uint16_t last)
{
    window16(a, WINDOW_IO, 3, first, last); /* ISA and other addresses */
}

void aml_window_memory32(struct aml *a, uint32_t base, uint32_t len)
{
    window_head(a, RES_DWORD, WINDOW_MEM, 1, 4); /* read-write, not cacheable */
    writer_u32(&a->w, 0);
    writer_u32(&a->w, base);
    writer_u32(&a->w, base + len - 1);
    writer_u32(&a->w, 0);
    writer_u32(&a->w, len);
}

void aml_window_memory64(struct aml *a, uint64_t base, uint64_t len)
{
    window_head(a, RES_QWORD, WINDOW_MEM, 7, 8); /* read-write, prefetchable */
    writer_u64(&a->w, 0);
    writer_u64(&a->w, base);
    writer_u64(&a->w, base + len - 1);
    writer_u64(&a->w, 0);
    writer_u64(&a->w, len);
}
