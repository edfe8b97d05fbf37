/* godwit-draw: one migration's record as one SVG. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/draw/figure.h"

static int usage(void)
{
    fputs("usage: godwit-draw RECORD.json [OUT.svg]\n"
          "Draws the record that godwit-vmm leaves of a migration (records/ID-source.json below its "
          "state folder). Without OUT.svg: to standard output.\n",
          stderr);
    return 2;
}

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "godwit-draw: %s: %s\n", what, why);
    return 1;
}

int main(int argc, char **argv)
{
    const char *name = argc == 3 ? argv[2] : "standard output";
    struct err e = ERR_INIT;
    struct story *s;
    FILE *out;
    int ret;

    if (argc < 2 || argc > 3 || argv[1][0] == '-')
        return usage();
    s = malloc(sizeof(*s));
    if (!s)
        return fail(argv[1], "no memory");
    if (story_read(argv[1], s, &e)) {
        free(s);
        return fail("cannot draw", e.text);
    }
    out = argc == 3 ? fopen(argv[2], "w") : stdout;
    ret = out ? figure_draw(out, s) : -errno;
    if (out && argc == 3 && fclose(out) && !ret)
        ret = -errno;
    free(s);
    return ret ? fail(name, strerror(-ret)) : 0;
}
