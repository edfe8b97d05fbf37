/*
 * A small pen for SVG: shapes and texts in a file, nothing hidden.  Coordinates are user units, y
 * grows downwards.  Texts are escaped here and nowhere else.
 */
#ifndef GODWIT_CMD_DRAW_SVG_H
#define GODWIT_CMD_DRAW_SVG_H

#include <stddef.h>
#include <stdio.h>

enum svg_anchor { SVG_START, SVG_MIDDLE, SVG_END };

void svg_begin(FILE *f, double width, double height);
void svg_end(FILE *f);
/* style: the name of a class in the sheet that svg_begin writes. */
void svg_rect(FILE *f, double x, double y, double w, double h, const char *style);
void svg_line(FILE *f, double x1, double y1, double x2, double y2, const char *style);
/* n points of x and y in turn. */
void svg_path(FILE *f, const double *xy, size_t n, const char *style);
void svg_text(FILE *f, double x, double y, enum svg_anchor anchor, const char *style,
              const char *fmt, ...) __attribute__((format(printf, 6, 7)));

#endif
