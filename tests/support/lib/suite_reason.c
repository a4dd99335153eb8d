/*
 * tests/support/lib/suite_reason.c - the map of labels onto classes, for runners of collections.
 */
#include "suite_reason.h"
#include "suite_file.h"

#define REASONS_MAX 128u

static struct suite_reason reasons[REASONS_MAX];
static unsigned nreasons;

bool
suite_reason_read(const char *path)
{
    static struct buf text; /* what the rows point into */
    struct str rest, line;

    if (!suite_read(path, &text)) {
        fprintf(stderr, "%s cannot be read\n", path);
        return false;
    }
    for (rest = buf_view(&text); rest.n;) {
        struct suite_reason r;

        line = str_cut(rest, '\n', &rest);
        if (!line.n || line.p[0] == '#')
            continue;
        r.set = str_cut(line, '\t', &line);
        r.label = str_cut(line, '\t', &line);
        r.block = str_eq(str_cut(line, '\t', &line), STR("block"));
        r.classes = line;
        if (nreasons < REASONS_MAX)
            reasons[nreasons++] = r;
    }
    return true;
}

const struct suite_reason *
suite_reason_of(const char *set, const char *label)
{
    for (unsigned i = 0; i < nreasons; i++)
        if (str_eq(reasons[i].set, str_c(set)) && str_eq(reasons[i].label, str_c(label)))
            return &reasons[i];
    return NULL;
}

bool
suite_reason_agrees(const struct suite_reason *r, const char *class)
{
    struct str rest = r ? r->classes : STR_NONE, word;

    while ((word = str_word(&rest)).n)
        if (str_eq(word, str_c(class)))
            return true;
    return false;
}
