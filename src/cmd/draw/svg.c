#include "cmd/draw/svg.h"

#include <stdarg.h>

static const char sheet[] =
    "text{font:12px sans-serif;fill:#222}.title{font-size:18px;font-weight:bold}"
    ".small{font-size:10px;fill:#555}.head{font-weight:bold}.frame{fill:none;stroke:#999}"
    ".grid{stroke:#e4e4e4}.sent{fill:#7fb2d6}.sent-other{fill:#a9cbe4}.dirty{fill:none;"
    "stroke:#c0392b;stroke-width:2}.throttle{fill:none;stroke:#8e44ad;stroke-width:1.5;"
    "stroke-dasharray:4 3}.mark{stroke:#e67e22}.dot{fill:#e67e22}.limit{stroke:#c0392b;"
    "stroke-dasharray:5 4}.p0{fill:#355c7d}.p1{fill:#6c5b7b}.p2{fill:#c06c84}.p3{fill:#f67280}"
    ".p4{fill:#f8b195}.p5{fill:#99b898}.stage{fill:#dfe6e9;stroke:#fff}.paper{fill:#fff}";

void svg_begin(FILE *f, double width, double height)
{
    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" height=\"%g\" "
            "viewBox=\"0 0 %g %g\">\n<style>%s</style>\n",
            width, height, width, height, sheet);
    svg_rect(f, 0, 0, width, height, "paper");
}

void svg_end(FILE *f)
{
    fputs("</svg>\n", f);
}

void svg_rect(FILE *f, double x, double y, double w, double h, const char *style)
{
    fprintf(f, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" class=\"%s\"/>\n", x, y,
            w > 0 ? w : 0, h > 0 ? h : 0, style);
}

void svg_line(FILE *f, double x1, double y1, double x2, double y2, const char *style)
{
    fprintf(f, "<line x1=\"%.2f\" y1=\"%.2f\" x2=\"%.2f\" y2=\"%.2f\" class=\"%s\"/>\n", x1, y1, x2,
            y2, style);
}

void svg_path(FILE *f, const double *xy, size_t n, const char *style)
{
    fprintf(f, "<polyline class=\"%s\" points=\"", style);
    for (size_t i = 0; i < n; i++)
        fprintf(f, "%.2f,%.2f ", xy[2 * i], xy[2 * i + 1]);
    fputs("\"/>\n", f);
}

static void put_escaped(FILE *f, const char *s)
{
    for (; *s; s++) {
        switch (*s) {
        case '&':
            fputs("&amp;", f);
            break;
        case '<':
            fputs("&lt;", f);
            break;
        case '>':
            fputs("&gt;", f);
            break;
        default: /* what XML forbids becomes a space */
            fputc((unsigned char)*s < 0x20 ? ' ' : *s, f);
        }
    }
}

void svg_text(FILE *f, double x, double y, enum svg_anchor anchor, const char *style,
              const char *fmt, ...)
{
    static const char *const anchors[] = {"start", "middle", "end"};
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    fprintf(f, "<text x=\"%.2f\" y=\"%.2f\" text-anchor=\"%s\" class=\"%s\">", x, y,
            anchors[anchor], style);
    put_escaped(f, text);
    fputs("</text>\n", f);
}
